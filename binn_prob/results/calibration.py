"""How well a posterior predicts soil organic carbon, and whether its intervals can be believed.

The point prediction is the posterior median of the modelled carbon at the observed depths.  The predictive distribution
adds the noise of an observation.  Every measure pools the observations of all sites, each with the same weight.

A score that does not exist (no observations, observations that are all equal, the logarithm of zero) is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from binn_prob.results.posterior import group, pooled

__all__ = [
    "LEVELS",
    "continuous_ranked_probability_score",
    "coverage",
    "coverage_at",
    "log_nash_sutcliffe",
    "nash_sutcliffe",
    "observed_transform",
    "parameter_coverage",
    "point_prediction",
    "probability_integral_transform",
    "r_squared",
    "scores",
]

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Probabilities of the central predictive intervals whose coverage is reported."""

_Array = NDArray[np.float64]


def nash_sutcliffe(observed: _Array, predicted: _Array) -> float:
    """Return the Nash–Sutcliffe efficiency, ``1 - SSE / SST``; 1 is perfect, 0 no better than the mean observation.

    SSE is the sum of squared errors, SST the sum of squared deviations of the observations from their mean.

    Source: Nash and Sutcliffe 1970, River flow forecasting through conceptual models, part I, Journal of Hydrology 10,
    282–290, eq. 3.
    """
    deviations = float(np.sum((observed - observed.mean()) ** 2)) if observed.size else 0.0
    return 1.0 - float(np.sum((observed - predicted) ** 2)) / deviations if deviations > 0 else math.nan


def log_nash_sutcliffe(observed: _Array, predicted: _Array) -> float:
    """Return the Nash–Sutcliffe efficiency of the logarithms, on which a few carbon-rich layers do not decide alone."""
    if not ((observed > 0).all() and (predicted > 0).all()):
        return math.nan
    return nash_sutcliffe(np.log(observed), np.log(predicted))


def r_squared(observed: _Array, predicted: _Array) -> float:
    """Return the squared Pearson correlation: how linear the relation is, whatever its bias and slope."""
    if observed.size < 2 or np.ptp(observed) == 0 or np.ptp(predicted) == 0 or not np.isfinite(predicted).all():
        return math.nan
    return float(np.corrcoef(observed, predicted)[0, 1] ** 2)


def point_prediction(tree: xr.DataTree) -> xr.DataArray:
    """Return the posterior median of the modelled carbon at the observed depths, (site, observation) [g C m-3]."""
    draws = group(tree, "posterior")["soc_at_depth"]
    median = np.full(draws.isel(chain=0, draw=0).shape, math.nan)
    observed = _observed_mask(tree)
    median[observed] = np.median(pooled(draws)[:, observed], axis=0)
    return draws.isel(chain=0, draw=0, drop=True).copy(data=median)


def probability_integral_transform(tree: xr.DataTree) -> xr.DataArray:
    """Return where each observation lies in its predictive distribution, (site, observation), between 0 and 1.

    With ``r`` of ``n`` draws below the observation it is ``(r + 1/2) / (n + 1)``: were the observation one more draw,
    ``r`` would take each of ``n + 1`` values equally often.  Values are then uniform if the prediction is calibrated.

    Source: Dawid 1984, Statistical theory: the prequential approach, Journal of the Royal Statistical Society A 147,
    278–292; Gneiting, Balabdaoui and Raftery 2007, Journal of the Royal Statistical Society B 69, 243–268.
    """
    observations = group(tree, "observed_data")["soc"]
    observed = _observed_mask(tree)
    draws = pooled(group(tree, "posterior_predictive")["soc"])[:, observed]
    below = (draws < observations.to_numpy()[observed]).sum(axis=0)
    below = np.where(np.isfinite(draws).all(axis=0), below, math.nan)
    values = np.full(observations.shape, math.nan)
    values[observed] = (below + 0.5) / (len(draws) + 1)
    return observations.copy(data=values).drop_attrs()


def coverage_at(transform: _Array, level: float) -> float:
    """Return the share of observations inside their central interval of probability ``level``.

    The interval runs from the quantile ``(1 - level) / 2`` to ``(1 + level) / 2`` of the predictive distribution, so an
    observation lies inside if its probability integral transform does.  Calibrated intervals have a coverage of
    ``level``; too narrow ones less.

    Source: Gneiting, Balabdaoui and Raftery 2007, section 3.
    """
    if not transform.size or not np.isfinite(transform).all():
        return math.nan
    return float(np.mean(np.abs(transform - 0.5) <= level / 2))


def observed_transform(tree: xr.DataTree) -> _Array:
    """Return the probability integral transform of every observation, without the padding."""
    values: _Array = probability_integral_transform(tree).to_numpy()[_observed_mask(tree)]
    return values


def coverage(tree: xr.DataTree, levels: tuple[float, ...] = LEVELS) -> dict[float, float]:
    """Return the coverage of the central predictive intervals by their probability; see :func:`coverage_at`."""
    transform = observed_transform(tree)
    return {level: coverage_at(transform, level) for level in levels}


def parameter_coverage(tree: xr.DataTree, level: float = 0.9) -> float:
    """Return the share of the true parameters, over sites and parameters, inside their central posterior intervals.

    Observation noise hides in predictive intervals what a method does not know about parameters; here nothing hides it.
    NaN where the true parameters are not known, as at real sites.
    """
    truth = group(tree, "constant_data").get("true_parameters")
    if truth is None:
        return math.nan
    draws = pooled(group(tree, "posterior")["parameters"])
    low, high = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2), axis=0)
    true = truth.transpose("site", "parameter").to_numpy()
    return float(np.mean((low <= true) & (true <= high)))


def continuous_ranked_probability_score(tree: xr.DataTree) -> float:
    """Return the mean continuous ranked probability score on log carbon; lower is better, 0 perfect.

    ``CRPS(F, y) = E|X - y| - E|X - X'| / 2`` with independent X, X' from the predictive distribution F, here of the
    natural logarithm of soil organic carbon.  The likelihood is a Student distribution of log carbon, so carbon itself
    has no finite expectation and the score of carbon would be infinite.  The estimator is unbiased in the number of
    draws, so methods with different numbers can be compared.

    Source: Gneiting and Raftery 2007, Strictly proper scoring rules, prediction, and estimation, Journal of the
    American Statistical Association 102, 359–378, eq. 21; Zamo and Naveau 2018, Mathematical Geosciences 50, 209–234
    (the estimator with probability-weighted moments).
    """
    import scoringrules

    observed = _observed_mask(tree)
    values = group(tree, "observed_data")["soc"].to_numpy()[observed]
    draws = pooled(group(tree, "posterior_predictive")["soc"])[:, observed]
    if not values.size or not ((values > 0).all() and (draws > 0).all()):
        return math.nan
    logarithms = np.ascontiguousarray(np.log(draws).T)
    return float(scoringrules.crps_ensemble(np.log(values), logarithms, estimator="pwm", backend="numpy").mean())


def scores(tree: xr.DataTree) -> dict[str, float]:
    """Return every score of one tree: ``nse``, ``log_nse``, ``r2``, ``coverage_50`` … ``coverage_95``, ``crps``."""
    observed = _observed_mask(tree)
    observations = group(tree, "observed_data")["soc"].to_numpy()[observed]
    prediction = point_prediction(tree).to_numpy()[observed]
    skill: dict[str, Callable[[_Array, _Array], float]] = {
        "nse": nash_sutcliffe, "log_nse": log_nash_sutcliffe, "r2": r_squared
    }  # fmt: skip
    return (
        {name: function(observations, prediction) for name, function in skill.items()}
        | {f"coverage_{level * 100:g}": share for level, share in coverage(tree).items()}
        | {"crps": continuous_ranked_probability_score(tree)}
    )


def _observed_mask(tree: xr.DataTree) -> NDArray[np.bool_]:
    """Return where there is an observation, (site, observation)."""
    mask: NDArray[np.bool_] = group(tree, "observed_data")["soc"].notnull().to_numpy()
    return mask
