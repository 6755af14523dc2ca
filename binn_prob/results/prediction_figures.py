"""Figures of what posteriors predict: observed against predicted carbon, coverage of intervals, depth profiles."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from binn_prob.errors import InputError
from binn_prob.results import calibration, skill
from binn_prob.results.drawing import PART_LABELS, SOC_UNIT, colours, in_thousands, label, legend, lines, panels, styled
from binn_prob.results.posterior import group, parts, pooled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["GRID", "coverage_curves", "from_uniform", "observed_predicted", "profiles", "transforms", "uniform_band"]

Trees = Mapping[str, xr.DataTree]

GRID = np.linspace(0.01, 0.99, 99)
"""Where distribution functions are compared with the uniform one."""

_OPACITY = {0.9: 0.25, 0.5: 0.45}
"""Of the interval of each probability."""


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

    A calibrated method lies on the diagonal; below it the intervals are too narrow, above it too wide.  Bars are
    standard errors, from a bootstrap over sites.
    """
    shown = list(parts(_first(trees)))
    levels = np.linspace(0.01, 0.99, 99)
    figure, axes = panels(1, len(shown), (3.3, 3.5), sharex=True, sharey=True)
    for axis, part in zip(axes[0], shown, strict=True):
        axis.plot([0, 1], [0, 1], color="0.4", linewidth=0.8)
        for name, style in lines(trees).items():
            tree = parts(trees[name])[part]
            transform = calibration.observed_transform(tree)
            axis.plot(levels, [calibration.coverage_at(transform, level) for level in levels], linewidth=1.8, **style)
            found = skill.scores(skill.pointwise(tree))
            values = np.array([found[f"coverage_{level * 100:g}"] for level in calibration.LEVELS])
            # The bars of methods at the same place would hide each other.
            offset = 0.006 * (list(trees).index(name) - (len(trees) - 1) / 2)
            places = np.array(calibration.LEVELS) + offset
            axis.errorbar(places, values[:, 0], values[:, 1], fmt="none", color=style["color"], elinewidth=1.0)
        axis.set(
            xlim=(0, 1), ylim=(0, 1), aspect="equal", title=PART_LABELS[part], xlabel="probability of the interval"
        )
        axis.text(0.97, 0.05, "intervals too narrow", ha="right", color="0.35", fontsize=8)
        axis.text(0.03, 0.92, "intervals too wide", color="0.35", fontsize=8)
    axes[0, 0].set_ylabel("share of observations inside")
    legend(figure, axes[0, 0])
    return figure


@styled
def transforms(trees: Trees) -> Figure:
    """Draw how the places of observations in their predictive distributions differ from uniform.

    The lines are the empirical distribution functions of the probability integral transforms minus those of the uniform
    distribution.  A calibrated method stays inside the bands, which hold a whole line with a probability of 95 %: the
    dark one if all observations were independent, the light one if those of a profile were all one.

    Source: Säilynoja, Bürkner and Vehtari 2022, Graphical test for discrete uniformity and its applications in
    goodness-of-fit evaluation and multiple sample comparison, Statistics and Computing 32, 32.
    """
    shown = list(parts(_first(trees)))
    figure, axes = panels(1, len(shown), (3.6, 3.0), sharex=True, sharey=True)
    for axis, part in zip(axes[0], shown, strict=True):
        observed = group(parts(_first(trees))[part], "observed_data")["soc"]
        for count, colour in (
            (int((observed.count("observation") > 0).sum()), "0.92"),
            (int(observed.count()), "0.82"),
        ):
            uniform_band(axis, count, colour)
        for name, style in lines(trees).items():
            places = calibration.observed_transform(parts(trees[name])[part])
            axis.plot(GRID, from_uniform(places), linewidth=1.6, **style)
        axis.set(xlim=(0, 1), title=PART_LABELS[part], xlabel="place in the predictive distribution")
    axes[0, 0].set_ylabel("distribution function - uniform")
    legend(figure, axes[0, 0])
    return figure


@styled
def profiles(trees: Trees, count: int = 4) -> Figure:
    """Draw carbon over depth: a row for each of up to ``count`` sites, a column for each method.

    The sites are held-out ones where there are any, spread evenly from the poorest in carbon to the richest.  Shown are
    the observations, and the median and the 50 % and 90 % intervals of the modelled profile, down to bedrock; an
    observation scatters about it.

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
    figure, axes = panels(len(sites), len(trees), (2.2, 2.0), sharex=True, sharey=True)
    for row, site in zip(axes, sites, strict=True):
        soc, depth = observed["soc"].sel(site=site), constant["depth"].sel(site=site)
        for axis, (name, style) in zip(row, lines(trees).items(), strict=True):
            _band(axis, shown[name], site, deepest, style["color"])
            axis.plot(soc, depth, "o", color="black", markersize=4.0, label="observed")
            axis.set(xscale="log")
            in_thousands(axis.xaxis)
        row[0].set_ylabel(f"site {site}\ndepth (m)")
    for axis, name in zip(axes[0], trees, strict=True):
        axis.set_title(label(name))
    axes[0, 0].set_ylim(deepest, 0)
    axes[0, 0].set_xlim(left=_least(axes[0, 0].get_xlim()[0], observed["soc"].sel(site=sites)))
    figure.supxlabel(f"SOC ({SOC_UNIT}) at {PART_LABELS[part]}")
    axes[0, 0].plot([], [], color="0.3", linewidth=1.6, label="median")
    for probability, opacity in _OPACITY.items():
        axes[0, 0].fill_between([], [], color="0.3", alpha=opacity, linewidth=0, label=f"{probability:.0%} interval")
    legend(figure, axes[0, 0], above=True)
    return figure


def uniform_band(axis: Axes, count: int, colour: str) -> None:
    """Fill the band that holds the whole distribution function of ``count`` uniform numbers with probability 95 %."""
    if not count:
        return
    axis.fill_between(GRID, *_uniform_ends(count), color=colour, linewidth=0, zorder=0)
    axis.axhline(0.0, color="0.4", linewidth=0.8, zorder=1)


@lru_cache(maxsize=8)  # of the parameters, each has the same
def _uniform_ends(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower and the upper end of the band on the grid, from which the uniform one is subtracted."""
    from arviz_stats.ecdf_utils import get_pointwise_confidence_band, simulate_confidence_bands

    inside = simulate_confidence_bands(count, 1, GRID, 0.95, 1000, np.random.default_rng(0))
    low, high = get_pointwise_confidence_band(inside, count, GRID)
    return low - GRID, high - GRID


def from_uniform(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distribution function of numbers between 0 and 1 minus that of the uniform distribution, on a grid."""
    ordered = np.sort(places[np.isfinite(places)])
    return np.searchsorted(ordered, GRID, side="right") / max(len(ordered), 1) - GRID


def _band(axis: Axes, tree: xr.DataTree, site: Any, deepest: float, colour: str) -> None:
    """Draw the profile of one method at one site, down to bedrock or to the first layer below what is shown."""
    carbon = group(tree, "posterior")["soc_layer"].sel(site=site)
    below = int((carbon["layer"] <= deepest).sum()) + 1
    bedrock = int(group(tree, "constant_data")["bedrock_layer"].sel(site=site))
    carbon = carbon.isel(layer=slice(min(below, bedrock)))
    draws, depth = pooled(carbon), carbon["layer"].to_numpy()
    for probability, opacity in _OPACITY.items():
        edges = np.quantile(draws, ((1 - probability) / 2, (1 + probability) / 2), axis=0)
        axis.fill_betweenx(depth, *edges, color=colour, alpha=opacity, linewidth=0)
    axis.plot(np.median(draws, axis=0), depth, linewidth=1.6, color=colour)


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
