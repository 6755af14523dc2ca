"""Figures of a comparison, in plain matplotlib: every function takes posteriors by method and returns a Figure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import xarray as xr

from binn_prob.results.agreement_figures import (
    can_compare_processes,
    cost,
    deviations_against_reference,
    processes_against_reference,
    ranks,
    recovered,
)
from binn_prob.results.chain_figures import chains, energies, has_energy, has_loss, losses
from binn_prob.results.drawing import PART_LABELS, RESOLUTION, colours, label, pdf, png
from binn_prob.results.map_figures import can_be_mapped, maps, maps_of_summaries
from binn_prob.results.posterior import HELD_OUT, parts
from binn_prob.results.posterior_figures import correlations, forest, marginals
from binn_prob.results.prediction_figures import coverage_curves, observed_predicted, profiles, transforms
from binn_prob.results.recovery import truth_known
from binn_prob.results.sensitivity_figures import sensitivity

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "CAPTIONS", "PART_LABELS", "RESOLUTION", "chains", "colours", "correlations", "cost", "coverage_curves",
    "deviations_against_reference", "energies", "every", "forest", "label", "losses", "maps", "maps_of_summaries",
    "marginals", "observed_predicted", "pdf", "png", "processes_against_reference", "profiles", "ranks", "recovered",
    "sensitivity", "transforms",
]  # fmt: skip

CAPTIONS = {
    "observed_predicted": "Observed soil organic carbon and the posterior median at the same depth; the line is "
    "equality.",
    "coverage": "Share of observations inside their central predictive interval, against the probability of the "
    "interval. Below the diagonal the intervals are too narrow.",
    "transforms": "Distribution of the places of the observations in their predictive distributions, minus the uniform "
    "one. A calibrated method stays inside the bands with a probability of 95 %: the dark one if all observations were "
    "independent, the light one if those of a profile were all one.",
    "profiles": "Modelled carbon over depth with its 50 % and 90 % intervals, and the observations (dots), at sites "
    "from the poorest in carbon to the richest. The noise of an observation is not part of the intervals.",
    "marginals": "Posterior density of each parameter at the site with the most observations, relative to a "
    "uniform density over its range (1), on a square root scale; that is the prior of independent sites, and nearly "
    "that of a network with its default options; a triangle marks the true value where it is known.",
    "correlations": "Posterior correlations of the parameters, averaged over the fitted sites.",
    "forest": "Mean of each process over the fitted sites: posterior median (dot), 50 % interval (thick) and 90 % "
    "interval (thin) by method, and the truth (dashed) where it is known.",
    "processes": "Posterior mean of each process at each fitted site, with its standard deviation, against the "
    "reference method; the line is equality.",
    "deviations": "Posterior standard deviation of each process at each fitted site against that of the reference "
    "method; below the line of equality a method is more certain than the reference.",
    "recovered": "Posterior mean of each process at each site, with its 90 % interval, against the truth; the line is "
    "equality, and the number the share of the intervals that hold the truth.",
    "ranks": "Distribution of the ranks of the true parameters among their draws, minus the uniform one. Where the "
    "truth is a draw from the prior, a right posterior stays inside the grey band with a probability of 95 %; a line "
    "that rises above zero and then falls below it shows intervals that are too narrow.",
    "cost": "Share of what lies inside 90 % intervals, with its standard error, against the wall time of the method; "
    "a calibrated method lies on the dashed line.",
    "maps": "Posterior mean (above) and standard deviation (below) of each process at the fitted sites.",
    "energies": "Energies of each chain about their mean, and their change from one draw to the next. Where the "
    "changes are much narrower, the chains take long to reach the tails.",
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
    scores: pd.DataFrame | None = None,
    unconverged: Collection[str] = (),
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
    scores : pandas.DataFrame, optional
        Of the comparison, for the figure of the cost.
    unconverged : collection of str, optional
        Methods whose entries in legends say that they have not converged.
    """
    first, by_method = next(iter(trees.values())), trees
    marked = {name: f"{name} (not converged)" if name in unconverged else name for name in trees}
    trees = {marked[name]: tree for name, tree in trees.items()}
    reference = None if reference is None else marked[reference]
    figures = {
        "observed_predicted": observed_predicted(trees),
        "coverage": coverage_curves(trees),
        "transforms": transforms(trees),
        "profiles": profiles(trees),
        "forest": forest(trees),
        "marginals": marginals(trees),
        "correlations": correlations(trees),
    }
    if reference is not None and can_compare_processes(trees, reference):
        figures["processes"] = processes_against_reference(trees, reference)
        figures["deviations"] = deviations_against_reference(trees, reference)
    if truth_known(first, "processes"):
        figures["recovered"] = recovered(trees, HELD_OUT if HELD_OUT in parts(first) else "train")
    if truth_known(first):
        figures["ranks"] = ranks(trees)
    if scores is not None:
        figures["cost"] = cost(scores.assign(method=scores["method"].map(marked)))
    for name, tree in by_method.items():
        if can_be_mapped(tree):
            figures[f"maps_{name}"] = maps(tree, marked[name])
    for name, shown in (worst or {}).items():
        figures[f"chains_{name}"] = chains(by_method[name], shown, marked[name])
    for name, tree in by_method.items():
        if has_energy(tree):
            figures[f"energies_{name}"] = energies(tree, marked[name])
    if any(has_loss(tree) for tree in trees.values()):
        figures["losses"] = losses(trees)
    return figures
