"""Figures of the posteriors themselves: parameters and processes, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from binn_prob.clm5.parameters import PARAMETERS
from binn_prob.clm5.processes import PROCESSES
from binn_prob.errors import InputError
from binn_prob.results.drawing import colours, label, legend, lines, panels, styled, unit
from binn_prob.results.posterior import group, parameter_ranges, pooled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["correlations", "forest", "marginals"]

Trees = Mapping[str, xr.DataTree]

_BINS = 32

_TICKS = (0, 1, 4, 9, 16, 25)
"""Densities, relative to a uniform one, that are marked."""


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
    axes[0, 0].set_yscale("function", functions=(lambda value: np.sqrt(np.maximum(value, 0)), np.square))
    axes[0, 0].set(ylim=(0, None), yticks=[tick for tick in _TICKS if tick <= axes[0, 0].get_ylim()[1]])
    figure.suptitle(f"Posterior of the parameters at fitted site {chosen}")
    figure.supylabel("density / uniform density (square root scale)")
    legend(figure, axes[0, 0])
    return figure


@styled
def forest(trees: Trees) -> Figure:
    """Draw the mean of each process over the fitted sites: median, 50 % and 90 % intervals by method.

    Processes that are the same in every draw, as the plant carbon input, are left out.  Where the truth is known a
    dashed line shows it.

    Raises
    ------
    InputError
        If no process varies.
    """
    means = {name: _site_means(tree) for name, tree in trees.items()}
    rows = [row for row in PROCESSES if any(np.ptp(draws[row.name]) > 0 for draws in means.values())]
    if not rows:
        raise InputError("processes that are the same in every draw", "processes that vary", "free some parameters")
    truth = group(next(iter(trees.values())), "constant_data").get("true_processes")
    figure, axes = panels(1, len(rows), (2.0, 0.35 * len(trees) + 0.8), sharey=True)
    for axis, row in zip(axes[0], rows, strict=True):
        for place, (name, colour) in enumerate(colours(trees).items()):
            low, lower, middle, upper, high = np.quantile(means[name][row.name], (0.05, 0.25, 0.5, 0.75, 0.95))
            axis.plot([low, high], [place, place], color=colour, linewidth=1.4)
            axis.plot([lower, upper], [place, place], color=colour, linewidth=4.0, solid_capstyle="butt")
            axis.plot([middle], [place], "o", color="white", markeredgecolor=colour, markersize=5)
        if truth is not None:
            axis.axvline(float(truth.sel(process=row.name).mean()), color="0.2", linestyle="--", linewidth=1.0)
        axis.set_title(f"{row.name.replace('_', ' ')}{unit(row.unit)}", fontsize=8)
        axis.locator_params(axis="x", nbins=4)
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(trees)), [label(name) for name in trees])
    axes[0, 0].set_ylim(len(trees) - 0.5, -0.5)
    known = "; dashed: the truth" if truth is not None else ""
    figure.supxlabel(f"mean over the fitted sites: median, 50 % and 90 % intervals{known}")
    return figure


@styled
def correlations(trees: Trees) -> Figure:
    """Draw the posterior correlations of the parameters, averaged over the fitted sites, by method."""
    from binn_prob.results.joint import correlations as of

    figure, axes = panels(1, len(trees), (3.3, 3.3), sharey=True)
    for axis, (name, tree) in zip(axes[0], trees.items(), strict=True):
        matrix = of(tree)
        image = axis.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
        axis.set_title(label(name))
        axis.set_xticks(range(matrix.shape[1]), matrix["parameter"].values, rotation=90, fontsize=6.5)
        axis.set_yticks(range(matrix.shape[0]), matrix["parameter"].values, fontsize=6.5)
        axis.grid(visible=False)
    figure.colorbar(image, ax=axes, shrink=0.8, label="posterior correlation, mean over sites")
    return figure


def _site_means(tree: xr.DataTree) -> dict[str, NDArray[np.float64]]:
    """Return the draws of the mean of each process over the sites, each (draw,)."""
    means = group(tree, "posterior")["processes"].mean("site")
    return {str(name): pooled(means.sel(process=name)) for name in means["process"].values}


def _widest_ranges(trees: Trees) -> NDArray[np.float64]:
    """Return the ranges of the parameters, (parameter, 2); of models with different ranges the widest."""
    every = np.stack([parameter_ranges(tree) for tree in trees.values()])
    return np.stack([every[..., 0].min(axis=0), every[..., 1].max(axis=0)], axis=-1)
