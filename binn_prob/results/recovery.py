"""What is learnt of parameters and processes: how far the posterior narrows, and how near it comes to a known truth."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from binn_prob.errors import InputError
from binn_prob.results.distance import DIMENSION, Kind
from binn_prob.results.posterior import group, parameter_ranges, pooled
from binn_prob.results.scores import (
    Array,
    Measure,
    Score,
    correlation,
    mean,
    median,
    of_share,
    resampled,
    root_mean_square,
)

__all__ = ["LEVEL", "MEASURES", "TRUTH_INSIDE", "contraction", "ranks", "recovery", "truth_inside", "truth_known"]

LEVEL = 0.9
"""Probability of the intervals whose coverage of the truth is reported."""

TRUTH_INSIDE = f"true_{LEVEL * 100:g}"
"""Name of the measure of that coverage."""

MEASURES: dict[str, Measure] = {
    "contraction": Measure("contraction", "{:.3f}", "recovery"),
    "recovery_correlation": Measure("correlation with the truth", "{:.3f}", "recovery"),
    "recovery_rmse": Measure("RMSE / sd of the truth", "{:.3f}", "recovery"),
    "rank_distance": Measure("distance of the ranks of the truth from uniform", "{:.3f}", "recovery"),
    TRUTH_INSIDE: Measure(f"truth in {LEVEL:.0%} intervals", "{:.1%}", "recovery"),
}
"""By parameter or process, over sites.

contraction
    Median of ``1 - variance / variance of the uniform density over the range``: 0 where nothing is learnt, 1 where all
    is (Schad, Betancourt and Vasishth 2021, Toward a principled Bayesian workflow, Psychological Methods 26, 103–126).
    The uniform density is the prior of independent sites, and nearly that of a network with its default prior.  Of
    parameters only.
recovery_correlation, recovery_rmse
    Of the posterior means with the true values, the error in standard deviations of the truth over sites: 1 is what one
    gets who knows the mean of the truth alone.
rank_distance
    Kolmogorov's distance of the ranks of the true values among the draws from uniform (Talts, Betancourt, Simpson,
    Vehtari and Gelman 2018, Validating Bayesian inference algorithms with simulation-based calibration,
    arXiv:1804.06788).  Ranks are uniform if the truth is a draw from the model's prior and the posterior is right.
true_90
    Share of the true values inside their central intervals.  Observation noise hides in predictive intervals what a
    method does not know; here nothing hides it.  NaN of fewer than 10 draws, which have no such intervals.
"""


def contraction(tree: xr.DataTree, seed: int = 0) -> dict[str, Score]:
    """Return the contraction of every parameter that is not held at a given value; empty of a single draw."""
    draws = _draws(tree, "parameters")
    if len(draws) < 2:
        return {}
    shrunk = 1.0 - draws.var(axis=0, ddof=1) / (np.ptp(parameter_ranges(tree), axis=1) ** 2 / 12.0)
    names = group(tree, "posterior")["parameter"].values
    return {str(names[place]): median(shrunk[:, place], seed) for place in _free(draws)}


def recovery(tree: xr.DataTree, kind: Kind = "parameters", seed: int = 0) -> dict[str, dict[str, Score]]:
    """Return for each parameter or process how near the posterior comes to the truth.

    Returns
    -------
    dict
        Parameter or process → measure of :data:`MEASURES`, but the contraction; without those that are the same in all
        draws.  Empty where the truth is not known.
    """
    if not truth_known(tree, kind):
        return {}
    draws, truth, places = _draws(tree, kind), _truth(tree, kind).to_numpy(), ranks(tree, kind).to_numpy()
    names, means, found = _truth(tree, kind)[DIMENSION[kind]].values, draws.mean(axis=0), {}
    for place in _free(draws):
        true, off = truth[:, place], means[:, place] - truth[:, place]
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = off / true.std()
        found[str(names[place])] = {
            "recovery_correlation": correlation(means[:, place], true, seed),
            "recovery_rmse": root_mean_square(relative, seed),
            "rank_distance": resampled(places[:, place], _from_uniform, seed),
            TRUTH_INSIDE: of_share(mean(_inside(places[:, place], len(draws)), seed), len(places)),
        }
    return found


def truth_inside(tree: xr.DataTree, kind: Kind = "parameters", seed: int = 0) -> Score:
    """Return the share of the truths, over sites and parameters or processes, inside their central 90 % intervals.

    NaN where the truth is not known, as at real sites, and of draws too few for such an interval.
    """
    if not truth_known(tree, kind):
        return Score(math.nan)
    draws = _draws(tree, kind)
    free = _free(draws)
    if not len(free):
        return Score(math.nan)
    inside = _inside(ranks(tree, kind).to_numpy()[:, free], len(draws)).mean(axis=1)
    return of_share(mean(inside, seed), len(inside))


def truth_known(tree: xr.DataTree, kind: Kind = "parameters") -> bool:
    """Say whether the true parameters, or processes, of the sites are known."""
    return f"true_{kind}" in group(tree, "constant_data")


def ranks(tree: xr.DataTree, kind: Kind = "parameters") -> xr.DataArray:
    """Return where each truth lies among its draws, (site, parameter) or (site, process), between 0 and 1.

    With ``r`` of ``n`` draws below the truth it is ``(r + 1/2) / (n + 1)``.

    Raises
    ------
    InputError
        If the truth is not known.
    """
    if not truth_known(tree, kind):
        raise InputError(f"sites whose true {kind} are not known", "synthetic sites", "simulate some, and fit them")
    draws, truth = _draws(tree, kind), _truth(tree, kind)
    below = (draws < truth.to_numpy()).sum(axis=0)
    return truth.copy(data=(below + 0.5) / (len(draws) + 1)).drop_attrs()


def _truth(tree: xr.DataTree, kind: Kind) -> xr.DataArray:
    """Return the truth, (site, parameter) or (site, process)."""
    return group(tree, "constant_data")[f"true_{kind}"].transpose("site", DIMENSION[kind])


def _draws(tree: xr.DataTree, kind: Kind) -> Array:
    """Return the draws of all chains, (draw, site, parameter) or (draw, site, process)."""
    drawn: Array = pooled(group(tree, "posterior")[kind].transpose("chain", "draw", "site", DIMENSION[kind]))
    return drawn


def _free(draws: Array) -> NDArray[np.int_]:
    """Return the places of what is not the same in all draws, but for rounding."""
    varied = np.ptp(draws, axis=0) > 1e-12 * np.abs(draws).max(axis=0)
    return np.flatnonzero(varied.any(axis=0))


def _inside(places: Array, draws: int) -> Array:
    """Return 1 where a rank lies inside the central interval, 0 elsewhere; NaN if even that below all draws would."""
    if abs(0.5 / (draws + 1) - 0.5) <= LEVEL / 2.0:
        return np.full(places.shape, math.nan)
    return (np.abs(places - 0.5) <= LEVEL / 2.0).astype(np.float64)


def _from_uniform(ordered: Array) -> Array:
    """Return Kolmogorov's distance of ordered numbers between 0 and 1, (…, site), from uniform."""
    sites = ordered.shape[-1]
    steps = np.arange(sites) / sites
    apart: Array = np.maximum(ordered - steps, steps + 1.0 / sites - ordered).max(axis=-1)
    return apart
