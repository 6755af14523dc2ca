"""Figures of how a posterior was reached: Markov chains and training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from binn_prob.clm5.parameters import PARAMETERS
from binn_prob.clm5.processes import PROCESSES
from binn_prob.errors import InputError
from binn_prob.results import convergence
from binn_prob.results.diagnostics import statistic
from binn_prob.results.drawing import CHAIN_COLOURS, label, legend, lines, panels, styled, unit
from binn_prob.results.posterior import group, scalar_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["chains", "energies", "has_energy", "has_loss", "losses"]

Trees = Mapping[str, xr.DataTree]

_SMOOTHED = 50
"""The loss is shown with its mean over one in so many of the steps."""


@styled
def chains(tree: xr.DataTree, shown: Iterable[str], name: str = "") -> Figure:
    """Draw the trace and the ranks of quantities of Markov chains; chains that mix have level ranks.

    Parameters
    ----------
    tree : xarray.DataTree
        A posterior from Markov chains.
    shown : iterable of str
        Labels of quantities, such as the ``worst`` of :func:`binn_prob.results.convergence.summarise`; the first four
        are drawn, and up to two scalars.
    name : str, optional
        The method, for the title.

    Raises
    ------
    InputError
        If the draws are not at least two Markov chains.

    Notes
    -----
    Rank plots: Vehtari et al. 2021, Bayesian Analysis 16(2), 667–718, section 4.2.
    """
    if not convergence.has_chains(tree):
        raise InputError(
            "draws without two Markov chains", "a posterior by NUTS with several chains", "plot another method"
        )
    worst = _one_of_each(shown)[:4]
    shared = [scalar for scalar in scalar_names(tree) if group(tree, "posterior")[scalar].ndim == 2]
    quantities = worst + [scalar for scalar in shared if scalar not in worst][:2]
    figure, axes = panels(len(quantities), 2, (4.4, 1.25), sharex="col")
    for (left, right), quantity in zip(axes, quantities, strict=True):
        draws = convergence.draws_of(tree, quantity).to_numpy()
        ranks = draws.ravel().argsort().argsort().reshape(draws.shape)
        for chain, (values, places) in enumerate(zip(draws, ranks, strict=True)):
            colour = CHAIN_COLOURS[chain % len(CHAIN_COLOURS)]
            left.plot(values, linewidth=0.5, alpha=0.8, color=colour)
            right.hist(places, bins=20, range=(0, draws.size), histtype="step", color=colour)
        right.axhline(draws.shape[1] / 20, color="0.3", linewidth=0.8, linestyle="--")
        left.set_title(quantity + _unit_of(quantity), loc="left")
        right.set_ylabel("draws")
    axes[-1, 0].set_xlabel("draw")
    axes[-1, 1].set_xlabel("rank among the draws of all chains")
    figure.suptitle(f"{label(name)}: quantities with the largest R-hat, and scalars; one colour per chain")
    return figure


@styled
def energies(tree: xr.DataTree, name: str = "") -> Figure:
    """Draw the energies of Hamiltonian chains: how they scatter, and how far they move from one draw to the next.

    Where the moves are much narrower than the scatter, the chains take long to reach the tails.

    Raises
    ------
    InputError
        If the energies were not recorded draw by draw.

    Notes
    -----
    Betancourt 2016, Diagnosing suboptimal cotangent disintegrations in Hamiltonian Monte Carlo, arXiv:1604.00695.
    """
    if not has_energy(tree):
        raise InputError("draws without energies", "a posterior by NUTS on the whole model", "plot another method")
    energy = statistic(tree, "energy").transpose("chain", "draw").to_numpy()
    moves, scatter = np.diff(energy, axis=1), energy - energy.mean(axis=1, keepdims=True)
    figure, axes = panels(1, len(energy), (1.9, 1.7), sharex=True, sharey=True)
    ends = np.quantile(np.concatenate([moves.ravel(), scatter.ravel()]), (0.001, 0.999))
    for chain, axis in enumerate(axes[0]):
        shown = (("energy - mean", scatter[chain], "0.35"), ("change of a draw", moves[chain], CHAIN_COLOURS[0]))
        for words, values, colour in shown:
            axis.hist(values, 30, range=tuple(ends), density=True, histtype="step", label=words, color=colour)
        fraction = (moves[chain] ** 2).mean() / scatter[chain].var()
        axis.set_title(f"chain {chain}: E-BFMI {fraction:.2f}", fontsize=8)
    axes[0, 0].set_ylabel("density")
    figure.supxlabel(f"{label(name)}: energy (nats)")
    legend(figure, axes[0, 0], above=True)
    return figure


@styled
def losses(trees: Trees) -> Figure:
    """Draw the loss over the training steps of the methods that have one, each in its own panel.

    Raises
    ------
    InputError
        If no method has one.
    """
    trained = {name: tree for name, tree in trees.items() if has_loss(tree)}
    if not trained:
        raise InputError("posteriors without a loss", "at least one method that trains", "plot the chains instead")
    figure, axes = panels(1, len(trained), (3.6, 2.4))
    for axis, (name, style) in zip(axes[0], lines(trained).items(), strict=True):
        loss = group(trained[name], "sample_stats")["loss"]
        step, values = loss["step"].to_numpy(), loss.to_numpy()
        axis.plot(step, values, linewidth=0.5, alpha=0.35, color=style["color"])
        width = max(1, len(values) // _SMOOTHED)
        smooth = np.convolve(values, np.full(width, 1 / width), mode="valid")
        axis.plot(step[width // 2 :][: len(smooth)], smooth, linewidth=1.5, color=style["color"])
        # The first steps fall by orders of magnitude; what matters is whether the last ones still do.
        settled = values[len(values) // 10 :]
        low, high = np.quantile(settled[np.isfinite(settled)], (0.0, 0.99)) if np.isfinite(settled).any() else (0, 0)
        if high > low:
            axis.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        axis.set(title=label(name), xlabel="training step", ylabel="loss (nats)")
    return figure


def has_loss(tree: xr.DataTree) -> bool:
    """Say whether the posterior comes with the loss of its training."""
    return "sample_stats" in tree.children and "loss" in tree.children["sample_stats"].data_vars


def has_energy(tree: xr.DataTree) -> bool:
    """Say whether the energy of every draw of the whole model was recorded."""
    return set(statistic(tree, "energy").dims) == {"chain", "draw"}


def _one_of_each(labels: Iterable[str]) -> list[str]:
    """Return the first label of each quantity, whatever its site."""
    first: dict[str, str] = {}
    for quantity in labels:
        first.setdefault(quantity.split("[")[0], quantity)
    return list(first.values())


def _unit_of(quantity: str) -> str:
    """Return the unit of a quantity by its label, such as ``q10[site 3]``."""
    units = {row.name: row.unit for row in PARAMETERS} | {row.name: row.unit for row in PROCESSES}
    return unit(units.get(quantity.split("[")[0], "1"))
