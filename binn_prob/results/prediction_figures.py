"""Figures of what posteriors predict: observed against predicted carbon, coverage of intervals, depth profiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from binn_prob.errors import InputError
from binn_prob.results import calibration, skill
from binn_prob.results.drawing import PART_LABELS, SOC_UNIT, colours, in_thousands, label, legend, lines, panels, styled
from binn_prob.results.posterior import group, parts, pooled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["coverage_curves", "observed_predicted", "profiles"]

Trees = Mapping[str, xr.DataTree]

_INTERVALS = ((0.05, 0.95, 0.13), (0.25, 0.75, 0.25))
"""Lower and upper quantile of each band, and its opacity."""


@styled
def observed_predicted(trees: Trees) -> Figure:
    """Draw the posterior median against each observation: a column per method, a row for fitted and held-out sites.

    Both axes are logarithmic; the line is that of equality.
    """
    shown = list(parts(_first(trees)))
    figure, axes = panels(len(shown), len(trees), (2.7, 2.8), sharex=True, sharey=True)
    ends: list[float] = []
    for row, part in enumerate(shown):
        for axis, (name, tree) in zip(axes[row], trees.items(), strict=True):
            observed = group(parts(tree)[part], "observed_data")["soc"].to_numpy()
            there = np.isfinite(observed)
            observed, predicted = observed[there], calibration.point_prediction(parts(tree)[part]).to_numpy()[there]
            axis.scatter(observed, predicted, s=10, alpha=0.5, color=colours(trees)[name], linewidths=0)
            scores = skill.scores(skill.pointwise(parts(tree)[part]))
            numbers = f"NSE {scores['nse'].value:.2f}, of log SOC {scores['log_nse'].value:.2f}"
            axis.set(xscale="log", yscale="log", title=f"{label(name)}, {PART_LABELS[part]}\n{numbers}")
            ends += [*observed, *predicted]
    drawn = np.array(ends)[np.isfinite(ends) & (np.array(ends) > 0)]
    low, high = (drawn.min() / 1.3, drawn.max() * 1.3) if drawn.size else (1.0, 10.0)
    for axis in axes.flat:
        axis.plot([low, high], [low, high], color="0.4", linewidth=0.8, zorder=0)
        axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        in_thousands(axis.xaxis)
        in_thousands(axis.yaxis)
    figure.supxlabel(f"observed SOC ({SOC_UNIT})")
    figure.supylabel(f"predicted SOC, posterior median ({SOC_UNIT})")
    return figure


@styled
def coverage_curves(trees: Trees) -> Figure:
    """Draw the share of observations inside their central predictive interval against its probability.

    A calibrated method lies on the diagonal; below it the intervals are too narrow, above it too wide.
    """
    shown = list(parts(_first(trees)))
    levels = np.linspace(0.01, 0.99, 99)
    figure, axes = panels(1, len(shown), (3.3, 3.5), sharex=True, sharey=True)
    for axis, part in zip(axes[0], shown, strict=True):
        axis.plot([0, 1], [0, 1], color="0.4", linewidth=0.8)
        for name, style in lines(trees).items():
            transform = calibration.observed_transform(parts(trees[name])[part])
            axis.plot(levels, [calibration.coverage_at(transform, level) for level in levels], linewidth=1.8, **style)
        axis.set(
            xlim=(0, 1), ylim=(0, 1), aspect="equal", title=PART_LABELS[part], xlabel="probability of the interval"
        )
        axis.text(0.97, 0.05, "intervals too narrow", ha="right", color="0.35", fontsize=8)
        axis.text(0.03, 0.92, "intervals too wide", color="0.35", fontsize=8)
    axes[0, 0].set_ylabel("share of observations inside")
    legend(figure, axes[0, 0])
    return figure


@styled
def profiles(trees: Trees, count: int = 6) -> Figure:
    """Draw carbon over depth at up to ``count`` sites: observations, posterior median, 50 % and 90 % intervals.

    The sites are held-out ones where there are any, spread evenly from the poorest in carbon to the richest.  The
    intervals are those of the modelled profile, down to bedrock; an observation scatters about it.

    Raises
    ------
    InputError
        If there are no observations.
    """
    observed_parts = [name for name, each in parts(_first(trees)).items() if calibration.observed_transform(each).size]
    if not observed_parts:
        raise InputError("sites without observations", "at least one observed profile", "add observations")
    part = observed_parts[-1]
    shown = {name: parts(tree)[part] for name, tree in trees.items()}
    observed, constant = (group(_first(shown), name) for name in ("observed_data", "constant_data"))
    sites = _from_poor_to_rich(observed["soc"], count)
    deepest = 1.1 * max(float(constant["depth"].sel(site=sites).max()), 0.1)
    columns = min(3, len(sites))
    figure, axes = panels(-(-len(sites) // columns), columns, (2.9, 2.8), sharex=True, sharey=True)
    for axis, site in zip(axes.flat, sites, strict=False):
        for name, style in lines(trees).items():
            _band(axis, shown[name], site, deepest, style)
        soc, depth = observed["soc"].sel(site=site), constant["depth"].sel(site=site)
        axis.plot(soc, depth, "o", color="black", markersize=4.5, label="observed")
        axis.set(xscale="log", title=f"site {site}")
        in_thousands(axis.xaxis)
    for axis in axes.flat[len(sites) :]:
        axis.set_axis_off()
    axes[0, 0].set_ylim(deepest, 0)
    axes[0, 0].set_xlim(left=_least(axes[0, 0].get_xlim()[0], observed["soc"].sel(site=sites)))
    figure.suptitle(f"Modelled profiles at {PART_LABELS[part]}: median, 50 % and 90 % intervals")
    for axis in axes[-1]:
        axis.set_xlabel(f"SOC ({SOC_UNIT})")
    figure.supylabel("depth (m)")
    legend(figure, axes[0, 0])
    return figure


def _band(axis: Axes, tree: xr.DataTree, site: Any, deepest: float, style: Mapping[str, Any]) -> None:
    """Draw the profile of one method at one site, down to bedrock or to the first layer below what is shown."""
    carbon = group(tree, "posterior")["soc_layer"].sel(site=site)
    below = int((carbon["layer"] <= deepest).sum()) + 1
    bedrock = int(group(tree, "constant_data")["bedrock_layer"].sel(site=site))
    carbon = carbon.isel(layer=slice(min(below, bedrock)))
    draws, depth = pooled(carbon), carbon["layer"].to_numpy()
    for low, high, opacity in _INTERVALS:
        edges = np.quantile(draws, (low, high), axis=0)
        axis.fill_betweenx(depth, *edges, color=style["color"], alpha=opacity, linewidth=0)
    axis.plot(np.median(draws, axis=0), depth, linewidth=1.6, **style)


def _least(drawn: float, soc: xr.DataArray) -> float:
    """Return where the axis of carbon begins: a decade below the poorest observation, or where the drawing begins."""
    poorest = soc.where(soc > 0).min()
    return max(drawn, float(poorest) / 10) if poorest.notnull() else drawn


def _from_poor_to_rich(soc: xr.DataArray, count: int) -> list[Any]:
    """Return up to ``count`` sites with observations, evenly spread over the rank of their mean carbon."""
    means = soc.mean("observation").dropna("site").sortby("site")
    enough = means.where(soc.count("observation") >= 3, drop=True)
    ranked = (enough if enough.size >= count else means).to_series().sort_values().index
    places = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    return [ranked[place] for place in places]


def _first(trees: Trees) -> xr.DataTree:
    return next(iter(trees.values()))
