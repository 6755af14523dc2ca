"""Figures of the posteriors themselves: parameters, processes, chains, training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from binn_prob.clm5.parameters import PARAMETERS
from binn_prob.clm5.processes import PROCESSES, Process
from binn_prob.errors import InputError
from binn_prob.results import convergence, distance
from binn_prob.results.drawing import CHAIN_COLOURS, colours, label, legend, lines, panels, styled, unit
from binn_prob.results.posterior import group, parameter_ranges, pooled, scalar_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["can_compare_processes", "chains", "has_loss", "losses", "marginals", "processes_against_reference"]

Trees = Mapping[str, xr.DataTree]

_BINS = 32

_HIGHEST = 6.0
"""Density, relative to the prior, at which the panels of the marginals end, so that broad posteriors can be seen."""

_SMOOTHED = 50
"""The loss is shown with its mean over one in so many of the steps."""


@styled
def marginals(trees: Trees, site: Any = None) -> Figure:
    """Draw the posterior of the 21 parameters at one site by method, relative to a uniform density over their ranges.

    Parameters
    ----------
    trees : mapping of xarray.DataTree
        Posteriors by method.
    site : optional
        One of the fitted sites; default: the one with the most observations.

    Raises
    ------
    InputError
        If it is not a fitted site.
    """
    first = next(iter(trees.values()))
    observed = group(first, "observed_data")["soc"].count("observation")
    chosen = observed["site"].values[int(observed.argmax("site"))] if site is None else site
    if chosen not in observed["site"].values:
        raise InputError(f"site {chosen!r}", "one of the fitted sites", "choose a site of the posterior")
    truth = group(first, "constant_data").get("true_parameters")
    figure, axes = panels(3, 7, (1.75, 1.75), sharey=True)
    for axis, row, ends in zip(axes.flat, PARAMETERS, _widest_ranges(trees), strict=True):
        axis.axhline(1.0, color="0.5", linewidth=1.0, label="uniform over the range")
        for name, style in lines(trees).items():
            draws = pooled(group(trees[name], "posterior")["parameters"].sel(site=chosen, parameter=row.name))
            heights, edges = np.histogram(draws, bins=_BINS, range=ends)
            axis.stairs(heights * _BINS / draws.size, edges, linewidth=1.3, **style)
        if truth is not None:
            value = float(truth.sel(site=chosen, parameter=row.name))
            axis.plot([value], [0], "^", color="black", markersize=6, clip_on=False, zorder=5, label="true value")
        axis.set(title=f"{row.name}, ${row.symbol}${unit(row.unit)}", xlim=ends, xticks=ends)
        axis.set_xticklabels([f"{end:.3g}" for end in ends])
        for text, side in zip(axis.get_xticklabels(), ("left", "right"), strict=True):
            text.set_horizontalalignment(side)
    axes[0, 0].set_ylim(0, min(_HIGHEST, axes[0, 0].get_ylim()[1]))
    figure.suptitle(f"Posterior of the parameters at fitted site {chosen} (densities above {_HIGHEST:g} are cut)")
    figure.supylabel("density / uniform density")
    legend(figure, axes[0, 0])
    return figure


@styled
def processes_against_reference(trees: Trees, reference: str) -> Figure:
    """Draw mean and standard deviation of each process at each fitted site against those of the reference method.

    Processes that are the same in every draw, as the plant carbon input, are left out.

    Raises
    ------
    InputError
        If no other method than the reference is there, or no process varies.
    """
    if not can_compare_processes(trees, reference):
        expected = "another method than the reference, and processes that vary"
        raise InputError("processes that cannot be compared", expected, "compare other fits")
    others = {name: distance.agreement(tree, trees[reference]) for name, tree in trees.items() if name != reference}
    rows = _uncertain(trees[reference])
    figure, axes = panels(len(others), len(rows), (2.15, 2.2))
    for line, (name, agreement) in enumerate(others.items()):
        for axis, row in zip(axes[line], rows, strict=True):
            _scatter(axis, trees[name], trees[reference], row.name, colours(trees)[name])
            numbers = agreement[row.name]
            numbers_text = f"r {numbers['correlation'].value:.2f}, sd ratio {numbers['sd_ratio'].value:.2f}"
            name_text = f"{row.name.replace('_', ' ')}{unit(row.unit)}\n" if line == 0 else ""
            axis.set_title(name_text + numbers_text, fontsize=8)
        axes[line, 0].set_ylabel(label(name))
    figure.supxlabel(f"{label(reference)} (reference); each cross: posterior mean and standard deviation at a site")
    return figure


def can_compare_processes(trees: Trees, reference: str | None) -> bool:
    """Say whether there is a method beside the reference, and a process that the reference does not know exactly."""
    return reference is not None and len(trees) > 1 and bool(_uncertain(trees[reference]))


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
    worst = list(shown)[:4]
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


def _widest_ranges(trees: Trees) -> NDArray[np.float64]:
    """Return the ranges of the parameters, (parameter, 2); of models with different ranges the widest."""
    every = np.stack([parameter_ranges(tree) for tree in trees.values()])
    return np.stack([every[..., 0].min(axis=0), every[..., 1].max(axis=0)], axis=-1)


def _uncertain(reference: xr.DataTree) -> list[Process]:
    """Return the processes that the reference does not know exactly."""
    ratio = distance.by_site(reference, reference)["sd_ratio"]
    return [row for row in PROCESSES if ratio.sel(process=row.name).notnull().any()]


def _unit_of(quantity: str) -> str:
    """Return the unit of a quantity by its label, such as ``q10[site 3]``."""
    units = {row.name: row.unit for row in PARAMETERS} | {row.name: row.unit for row in PROCESSES}
    return unit(units.get(quantity.split("[")[0], "1"))


def _scatter(axis: Axes, tree: xr.DataTree, reference: xr.DataTree, process: str, colour: str) -> None:
    """Draw one process of a method against the reference, with the line of equality."""
    x, x_error = (values.sel(process=process) for values in distance.spread(reference))
    y, y_error = (values.sel(process=process, site=x["site"]) for values in distance.spread(tree))
    axis.errorbar(
        x, y, xerr=x_error, yerr=y_error, fmt="o", markersize=2.5, elinewidth=0.4, alpha=0.6, color=colour
    )  # fmt: skip
    low, high = (choose(*axis.get_xlim(), *axis.get_ylim()) for choose in (min, max))
    axis.plot([low, high], [low, high], color="0.4", linewidth=0.8, zorder=0)
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axis.locator_params(nbins=4)
