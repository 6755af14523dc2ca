"""Figures of a comparison, in plain matplotlib: every function takes posteriors by method and returns a Figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import xarray as xr

from binn_prob.results.drawing import PART_LABELS, RESOLUTION, colours, label, png
from binn_prob.results.posterior_figures import (
    can_compare_processes,
    chains,
    has_loss,
    losses,
    marginals,
    processes_against_reference,
)
from binn_prob.results.prediction_figures import coverage_curves, observed_predicted, profiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "CAPTIONS",
    "PART_LABELS",
    "RESOLUTION",
    "chains",
    "colours",
    "coverage_curves",
    "every",
    "label",
    "losses",
    "marginals",
    "observed_predicted",
    "png",
    "processes_against_reference",
    "profiles",
]

CAPTIONS = {
    "observed_predicted": "Observed soil organic carbon and the posterior median at the same depth; the line is "
    "equality.",
    "coverage": "Share of observations inside their central predictive interval, against the probability of the "
    "interval. Below the diagonal the intervals are too narrow.",
    "profiles": "Modelled carbon over depth with its 50 % and 90 % intervals, and the observations (dots), at sites "
    "from the poorest in carbon to the richest. The noise of an observation is not part of the intervals.",
    "marginals": "Posterior density of each parameter at the site with the most observations, relative to a "
    "uniform density over its range (1), with high peaks cut; that is the prior of independent sites, and nearly that "
    "of a network with its default options; a triangle marks the true value where it is known.",
    "processes": "Posterior mean and standard deviation of each process at each fitted site against the reference "
    "method; the line is equality.",
    "chains": "Trace and ranks of the quantities with the largest R-hat; chains that have mixed have level ranks "
    "(dashed).",
    "losses": "Loss at each training step and its running mean; the fall of the first steps is cut. That of a second "
    "stage is at the sites left out, where each member keeps the weights of its lowest loss, though it may rise later.",
}
"""What each figure of :func:`every` shows, by the name of the figure up to the method in it."""


def every(
    trees: Mapping[str, xr.DataTree],
    reference: str | None = None,
    worst: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, Figure]:
    """Return every figure that the posteriors allow, by name.

    Parameters
    ----------
    trees : mapping of xarray.DataTree
        Posteriors by method.
    reference : str, optional
        The method that the others are held against.
    worst : mapping of tuples of labels, optional
        By method: the quantities whose chains to show, see :func:`binn_prob.results.convergence.summarise`.
    """
    figures = {
        "observed_predicted": observed_predicted(trees),
        "coverage": coverage_curves(trees),
        "profiles": profiles(trees),
        "marginals": marginals(trees),
    }
    if reference is not None and can_compare_processes(trees, reference):
        figures["processes"] = processes_against_reference(trees, reference)
    figures |= {f"chains_{name}": chains(trees[name], shown, name) for name, shown in (worst or {}).items()}
    if any(has_loss(tree) for tree in trees.values()):
        figures["losses"] = losses(trees)
    return figures
