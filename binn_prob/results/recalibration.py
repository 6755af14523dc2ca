"""Predictive intervals made as wide as held-out sites ask for, after the fact.

Both ways look at how far the observations of some sites lie from the predicted median, in predictive standard
deviations of log carbon, and change the widths at others accordingly:

variance-scaled
    All draws are moved away from their median, or towards it, by the factor that makes the mean square of these
    distances one (Laves, Ihler, Fast, Kahrs and Ortmaier 2020, Well-calibrated regression uncertainty in medical
    imaging with deep learning, PMLR 121, 393–412).
conformal
    An interval of probability p reaches as far as the p-quantile of these distances, in a mixture of places in which
    each has the same weight and the new one an infinite distance (Lee, Barber and Willett 2023, Distribution-free
    inference with hierarchical data, arXiv:2306.06342).  For an observation at a new place, exchangeable with those
    held out, its coverage is at least p whatever the model; with fewer than p / (1 - p) places it is infinitely wide.

Sites of the same longitude and latitude are one place, as in a split by location; without coordinates each is its own.

They mend the coverage of observations alone.  What a method believes of parameters and processes stays as it was.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from binn_prob.errors import InputError
from binn_prob.results.calibration import LEVELS
from binn_prob.results.posterior import group, pooled
from binn_prob.results.scores import Array, Measure, Score, Sums, from_sums, of_share

__all__ = ["FOLDS", "MEASURES", "WAYS", "observed_places", "recalibrated"]

FOLDS = 5
"""Into which the sites are divided."""

AS_PREDICTED, SCALED, CONFORMAL = WAYS = ("as predicted", "variance-scaled", "conformal")
"""How widths are changed, the first not at all."""

MEASURES: dict[str, Measure] = {
    f"width_{level * 100:g}": Measure(f"mean width of {level:.0%} intervals of log SOC", "{:.2f}", "calibration")
    for level in LEVELS
} | {"widened": Measure("factor on the spread of the draws", "{:.2f}", "calibration")}


def recalibrated(tree: xr.DataTree, folds: int = FOLDS, seed: int = 0) -> dict[str, dict[str, Score]]:
    """Return what recalibration would do at sites like those of a tree, which the fit must not have seen.

    The places are divided at random into folds; each is judged with what the others ask for.

    Parameters
    ----------
    tree : xarray.DataTree
        The prediction at held-out sites: the child ``held_out``.
    folds : int
        How many.
    seed : int
        Of the folds, and of the bootstrap over sites.

    Returns
    -------
    dict
        Each of :data:`WAYS` → ``coverage_<level>`` and ``width_<level>`` → score, and for
        ``variance-scaled`` also ``widened``, the mean of the factor over the observations.  A width that is infinite
        is NaN.

    Raises
    ------
    InputError
        If there are fewer places with observations than folds, or fewer than two folds.
    """
    seen = _Seen.of(tree)
    places = np.unique(seen.place)
    if folds < 2 or len(places) < folds:
        got = f"{folds} folds of {len(places)} places with observations"
        raise InputError(got, "at least two folds, and a place for each", "hold out more sites, or take fewer folds")
    fold = np.random.default_rng(seed).permutation(len(places)) % folds
    fold_of = fold[np.searchsorted(places, seen.place)]
    factor = np.empty(len(seen.site))
    for number in range(folds):
        factor[fold_of == number] = math.sqrt(np.mean(seen.distance[fold_of != number] ** 2))
    found: dict[str, dict[str, Score]] = {way: {} for way in WAYS}
    for level in LEVELS:
        low, high = seen.ends(level)
        reach = np.empty(len(seen.site))
        for number in range(folds):
            others = fold_of != number
            reach[fold_of == number] = _quantile(np.abs(seen.distance[others]), seen.place[others], level)
        intervals = {AS_PREDICTED: (low, high), SCALED: (factor * low, factor * high), CONFORMAL: (-reach, reach)}
        for way, (below, above) in intervals.items():
            known = ~np.isnan(below) & ~np.isnan(above) & ~np.isnan(seen.distance)
            inside = np.where(known, (below <= seen.distance) & (seen.distance <= above), math.nan)
            found[way][f"coverage_{level * 100:g}"] = of_share(seen.mean(inside, seed), len(np.unique(seen.site)))
            found[way][f"width_{level * 100:g}"] = seen.mean((above - below) * seen.spread, seed)
    found[SCALED]["widened"] = seen.mean(factor, seed)
    return found


def observed_places(tree: xr.DataTree) -> int:
    """Return the number of places where something was observed."""
    observed = group(tree, "observed_data")["soc"]
    return len(np.unique(_places(observed)[observed.notnull().any("observation").to_numpy()]))


class _Seen(NamedTuple):
    """Observations of log carbon against their predictive distributions, each (observation,)."""

    site: NDArray[np.generic]
    place: NDArray[np.int_]
    """Number of the place of the site"""
    distance: Array
    """From the predicted median, in predictive standard deviations"""
    spread: Array
    """Predictive standard deviation"""
    standard: Array
    """(draw, observation) of the draws from their median, in predictive standard deviations"""

    @classmethod
    def of(cls, tree: xr.DataTree) -> _Seen:
        observed = group(tree, "observed_data")["soc"].transpose("site", "observation")
        there = observed.notnull().to_numpy()
        predicted = group(tree, "posterior_predictive")["soc"].transpose("chain", "draw", "site", "observation")
        with np.errstate(divide="ignore", invalid="ignore"):  # draws of zero or infinity: there is no such number then
            draws, truth = np.log(pooled(predicted)[:, there]), np.log(observed.to_numpy()[there])
            middle, spread = np.median(draws, axis=0), draws.std(axis=0, ddof=1)
            distance, standard = (truth - middle) / spread, (draws - middle) / spread
        number = np.nonzero(there)[0]
        return cls(observed["site"].to_numpy()[number], _places(observed)[number], distance, spread, standard)

    def ends(self, level: float) -> tuple[Array, Array]:
        """Return the ends of the central intervals, from the median, in predictive standard deviations."""
        low, high = np.quantile(self.standard, ((1.0 - level) / 2.0, (1.0 + level) / 2.0), axis=0)
        return low, high

    def mean(self, values: Array, seed: int) -> Score:
        """Return the mean over the observations, with its error by the bootstrap over sites."""
        _, at = np.unique(self.site, return_inverse=True)
        by_site = {"sum": np.bincount(at, values), "number": np.bincount(at).astype(np.float64)}
        return from_sums(by_site, {"mean": _mean}, seed)["mean"]


def _places(observed: xr.DataArray) -> NDArray[np.int_]:
    """Return the number of the place of each site, (site,)."""
    if not {"longitude", "latitude"} <= set(observed.coords):
        return np.arange(observed.sizes["site"])
    located = np.column_stack([observed["longitude"], observed["latitude"]])
    return np.asarray(np.unique(located, axis=0, return_inverse=True)[1]).ravel()


def _mean(sums: Sums) -> Array:
    return sums["sum"] / sums["number"]


def _quantile(distance: Array, place: NDArray[np.int_], level: float) -> float:
    """Return the quantile of distances in a mixture of places of equal weight, to which the new one adds infinity."""
    _, at, counts = np.unique(place, return_inverse=True, return_counts=True)
    weight = 1.0 / counts[at] / (len(counts) + 1)
    order = np.argsort(distance)
    reached = np.cumsum(weight[order])
    rank = int(np.searchsorted(reached, level - 1e-12))
    return float(distance[order[rank]]) if rank < len(distance) else math.inf
