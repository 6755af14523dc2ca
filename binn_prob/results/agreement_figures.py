"""Figures of posteriors against a reference, against the truth, and against what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from binn_prob.clm5.processes import PROCESSES, Process
from binn_prob.errors import InputError
from binn_prob.results import distance, measures, recovery
from binn_prob.results.distance import DIMENSION, Kind
from binn_prob.results.drawing import colours, label, legend, lines, panels, plain, styled, unit
from binn_prob.results.posterior import group, parts, pooled
from binn_prob.results.prediction_figures import GRID, from_uniform, uniform_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "can_compare_processes", "cost", "deviations_against_reference", "processes_against_reference", "ranks", "recovered"
]  # fmt: skip

Trees = Mapping[str, xr.DataTree]


@styled
def processes_against_reference(trees: Trees, reference: str) -> Figure:
    """Draw the mean of each process at each fitted site, with its standard deviation, against the reference method.

    Processes that are the same in every draw, as the plant carbon input, are left out.

    Raises
    ------
    InputError
        If no other method than the reference is there, or no process varies.
    """
    figure, axes, others, rows = _against(trees, reference)
    x, x_error = distance.spread(trees[reference])
    for line, name in enumerate(others):
        agreement = distance.agreement(trees[name], trees[reference])
        y, y_error = (values.sel(site=x["site"]) for values in distance.spread(trees[name]))
        for axis, row in zip(axes[line], rows, strict=True):
            chosen = {"process": row.name}
            axis.errorbar(
                x.sel(chosen), y.sel(chosen), xerr=x_error.sel(chosen), yerr=y_error.sel(chosen),
                fmt="o", markersize=2.5, elinewidth=0.4, alpha=0.6, color=colours(trees)[name],
            )  # fmt: skip
            _squared(axis)
            title = f"r = {agreement[row.name]['correlation'].value:.2f}"
            axis.set_title(_titled(row, title) if line == 0 else title, fontsize=8)
        axes[line, 0].set_ylabel(label(name))
    figure.supxlabel(f"{label(reference)}: posterior mean, with the standard deviation as a bar, at each site")
    return figure


@styled
def deviations_against_reference(trees: Trees, reference: str) -> Figure:
    """Draw the posterior standard deviation of each process at each fitted site against that of the reference method.

    Raises
    ------
    InputError
        As :func:`processes_against_reference`.
    """
    figure, axes, others, rows = _against(trees, reference)
    _, x = distance.spread(trees[reference])
    for line, name in enumerate(others):
        agreement = distance.agreement(trees[name], trees[reference])
        y = distance.spread(trees[name])[1].sel(site=x["site"])
        for axis, row in zip(axes[line], rows, strict=True):
            chosen = {"process": row.name}
            both = (x.sel(chosen) > 0) & (y.sel(chosen) > 0)
            axis.plot(
                x.sel(chosen)[both], y.sel(chosen)[both], "o", markersize=3, alpha=0.6, color=colours(trees)[name]
            )
            axis.set(xscale="log", yscale="log")
            _squared(axis)
            plain(axis.xaxis)
            plain(axis.yaxis)
            title = f"ratio {agreement[row.name]['sd_ratio'].value:.2f}"
            axis.set_title(_titled(row, title) if line == 0 else title, fontsize=8)
        axes[line, 0].set_ylabel(label(name))
    figure.supxlabel(f"{label(reference)}: posterior standard deviation at each site")
    return figure


@styled
def ranks(trees: Trees, kind: Kind = "parameters") -> Figure:
    """Draw how the ranks of the true parameters, or processes, among their draws differ from uniform.

    The lines are distribution functions over the fitted sites minus the uniform one.  Where the truth is a draw from
    the prior, a right posterior stays inside the band, which holds a whole line with a probability of 95 %.  A line
    that rises above 0 and then falls below it shows intervals that are too narrow.

    Raises
    ------
    InputError
        If the truth is not known.
    """
    places = {name: recovery.ranks(tree, kind) for name, tree in trees.items()}
    first = next(iter(places.values()))
    names = [str(name) for name in first.indexes[DIMENSION[kind]] if _known_to_some_degree(trees, kind, str(name))]
    columns = 7 if kind == "parameters" else 5
    figure, axes = panels(-(-len(names) // columns), columns, (1.5, 1.3), sharex=True, sharey=True)
    for axis, quantity in zip(axes.flat, names, strict=False):
        uniform_band(axis, first.sizes["site"], "0.88")
        for name, style in lines(trees).items():
            axis.plot(GRID, from_uniform(places[name].sel({DIMENSION[kind]: quantity}).to_numpy()), **style)
        axis.set_title(quantity.replace("_", " "), fontsize=8)
        axis.set(xlim=(0, 1), xticks=(0, 0.5, 1))
    figure.supxlabel("rank of the truth among the draws")
    figure.supylabel("distribution function - uniform")
    legend(figure, axes[0, 0], above=True)
    return figure


def _known_to_some_degree(trees: Trees, kind: Kind, name: str) -> bool:
    """Say whether a parameter or process is other than the same in all draws of all methods, as what is forced is."""
    return any(bool((distance.spread(tree, kind)[1].sel({DIMENSION[kind]: name}) > 0).any()) for tree in trees.values())


@styled
def recovered(trees: Trees, part: str = "train") -> Figure:
    """Draw the posterior mean of each process at each site, with its 90 % interval, against the truth.

    Parameters
    ----------
    trees : mapping of xarray.DataTree
        Posteriors by method.
    part : str
        ``train`` or ``held_out``: which sites.

    Raises
    ------
    InputError
        If the truth is not known.
    """
    shown = {name: parts(tree)[part] for name, tree in trees.items()}
    if not all(recovery.truth_known(tree, "processes") for tree in shown.values()):
        raise InputError("sites whose true processes are not known", "synthetic sites", "simulate some, and fit them")
    rows = _uncertain(next(iter(shown.values())))
    figure, axes = panels(len(shown), len(rows), (2.15, 2.2))
    for line, (name, tree) in enumerate(shown.items()):
        found = recovery.recovery(tree, "processes")
        draws = group(tree, "posterior")["processes"]
        truth = group(tree, "constant_data")["true_processes"]
        for axis, row in zip(axes[line], rows, strict=True):
            chosen = {"process": row.name}
            drawn = pooled(draws.sel(chosen))
            middle, (low, high) = drawn.mean(axis=0), np.quantile(drawn, (0.05, 0.95), axis=0)
            bars = np.maximum([middle - low, high - middle], 0.0)
            axis.errorbar(
                truth.sel(chosen), middle, yerr=bars, fmt="o", markersize=2.5, elinewidth=0.5, alpha=0.6,
                color=colours(trees)[name],
            )  # fmt: skip
            _squared(axis)
            inside = found[row.name][recovery.TRUTH_INSIDE].value if row.name in found else math.nan
            remark = "" if math.isnan(inside) else f"{inside:.0%} inside"
            axis.set_title(_titled(row, remark) if line == 0 else remark, fontsize=8)
        axes[line, 0].set_ylabel(label(name))
    figure.supxlabel("truth; bars: 90 % intervals")
    return figure


@styled
def cost(scores: pd.DataFrame) -> Figure:
    """Draw how often 90 % intervals hold what they should against the wall time of the method.

    Parameters
    ----------
    scores : pandas.DataFrame
        Of a comparison, see :func:`binn_prob.results.measures.frame`.

    Raises
    ------
    InputError
        If no method has a wall time, or no coverage is known.
    """
    values, errors = measures.wide(scores), measures.wide(scores, "error")
    known = set(values.columns[values.notna().any()])
    shown = {title: column for title, column in _COVERAGES.items() if column in known}
    if not shown or "wall_seconds" not in known:
        raise InputError("methods without wall time or coverage", "a comparison of fits", "compare fits, not files")
    figure, axes = panels(1, len(shown), (3.0, 2.8), sharex=True, sharey=True)
    for axis, (title, column) in zip(axes[0], shown.items(), strict=True):
        axis.axhline(recovery.LEVEL, color="0.4", linestyle="--", linewidth=1.0)
        for name, style in lines([str(name) for name in values.index]).items():
            axis.errorbar(
                values.loc[name, "wall_seconds"], values.loc[name, column], errors.loc[name, column], fmt="o",
                color=style["color"], markersize=6, capsize=2, label=style["label"],
            )  # fmt: skip
        axis.set(xscale="log", ylim=(-0.03, 1.03), title=title)
        plain(axis.xaxis)
    axes[0, 0].set_ylabel(f"share inside {recovery.LEVEL:.0%} intervals")
    figure.supxlabel("wall time (s)")
    legend(figure, axes[0, 0], above=True)
    return figure


_COVERAGES = {
    "observations, held-out sites": "held_out_coverage_90",
    "true processes, held-out sites": f"held_out_processes_{recovery.TRUTH_INSIDE}",
    "true parameters, fitted sites": f"train_parameters_{recovery.TRUTH_INSIDE}",
}


def can_compare_processes(trees: Trees, reference: str | None) -> bool:
    """Say whether there is a method beside the reference, and a process that the reference does not know exactly."""
    return reference is not None and len(trees) > 1 and bool(_uncertain(trees[reference]))


def _against(trees: Trees, reference: str) -> tuple[Figure, np.ndarray, list[str], list[Process]]:
    """Return panels for each other method (row) and each process that varies (column), with the names of both."""
    if not can_compare_processes(trees, reference):
        expected = "another method than the reference, and processes that vary"
        raise InputError("processes that cannot be compared", expected, "compare other fits")
    others, rows = [name for name in trees if name != reference], _uncertain(trees[reference])
    figure, axes = panels(len(others), len(rows), (2.15, 2.2))
    return figure, axes, others, rows


def _squared(axis: Axes) -> None:
    """Give both axes of a panel the same ends, and draw the line of equality."""
    low, high = (choose(*axis.get_xlim(), *axis.get_ylim()) for choose in (min, max))
    axis.plot([low, high], [low, high], color="0.4", linewidth=0.8, zorder=0)
    axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    if axis.get_xscale() == "linear":
        axis.locator_params(nbins=4)


def _titled(row: Process, text: str) -> str:
    return f"{row.name.replace('_', ' ')}{unit(row.unit)}\n{text}"


def _uncertain(reference: xr.DataTree) -> list[Process]:
    """Return the processes that the reference does not know exactly."""
    ratio = distance.by_site(reference, reference)["sd_ratio"]
    return [row for row in PROCESSES if (ratio.sel(process=row.name) > 0).any()]
