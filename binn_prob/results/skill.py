"""How well a posterior predicts soil organic carbon, on the whole, by depth and by region, with standard errors.

The point prediction is the posterior median of the modelled carbon at the observed depths.  The predictive distribution
adds the noise of an observation; it is scored on the natural logarithm of carbon, for the likelihoods have such heavy
tails that carbon itself has no finite expectation.  Every observation counts alike, whatever its site.

Sources
-------
NSE: Nash and Sutcliffe 1970, River flow forecasting through conceptual models, part I, Journal of Hydrology 10,
282–290, eq. 3.
Scores: Gneiting and Raftery 2007, Strictly proper scoring rules, prediction, and estimation, Journal of the
American Statistical Association 102, 359–378, section 4.1 (logarithmic), eq. 21 (CRPS) and eq. 43 (interval score).
Coverage and sharpness: Gneiting, Balabdaoui and Raftery 2007, Probabilistic forecasts, calibration and sharpness,
Journal of the Royal Statistical Society B 69, 243–268, section 3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import xarray as xr

from binn_prob.results import calibration
from binn_prob.results.posterior import group, pooled
from binn_prob.results.scores import Array, Measure, Score, Sums, from_sums, of_share

__all__ = ["DEPTH_CLASSES", "LEVEL", "MEASURES", "by_depth", "by_region", "pointwise", "scores"]

LEVEL = 0.9
"""Probability of the interval whose score and width are reported."""

DEPTH_CLASSES = (0.0, 0.3, 1.0, math.inf)
"""Bounds of the depth classes: topsoil, subsoil, and what lies below one metre [m]."""


def _efficiency(kind: str) -> Callable[[Sums], Array]:
    """Return the Nash–Sutcliffe efficiency, ``1 - SSE / SST``."""

    def of(sums: Sums) -> Array:
        about_mean = sums[f"{kind}_squared"] - sums[kind] ** 2 / sums["number"]
        return 1.0 - sums[f"{kind}_error_squared"] / about_mean

    return of


def _mean(name: str) -> Callable[[Sums], Array]:
    return lambda sums: sums[name] / sums["number"]


_FUNCTIONS: dict[str, Callable[[Sums], Array]] = {
    "nse": _efficiency("carbon"),
    "log_nse": _efficiency("log"),
    "rmse": lambda sums: np.sqrt(sums["carbon_error_squared"] / sums["number"]),
    "bias": _mean("carbon_error"),
    "log_bias": _mean("log_error"),
    "crps": _mean("crps"),
    "log_score": _mean("log_score"),
    "interval_score": _mean("interval_score"),
    "width": _mean("width"),
    **{f"coverage_{level * 100:g}": _mean(f"inside_{level}") for level in calibration.LEVELS},
}

MEASURES: dict[str, Measure] = {
    "nse": Measure("NSE", "{:.3f}", "skill"),
    "log_nse": Measure("NSE of log SOC", "{:.3f}", "skill"),
    "rmse": Measure("RMSE", "{:.0f}", "skill", "g C m-3"),
    "bias": Measure("bias", "{:+.0f}", "skill", "g C m-3"),
    "log_bias": Measure("bias of log SOC", "{:+.3f}", "skill"),
    "crps": Measure("CRPS of log SOC", "{:.3f}", "calibration"),
    "log_score": Measure("log score of log SOC", "{:.3f}", "calibration"),
    "interval_score": Measure(f"interval score of log SOC, {LEVEL:.0%}", "{:.3f}", "calibration"),
    "width": Measure(f"width of {LEVEL:.0%} intervals of log SOC", "{:.3f}", "calibration"),
    **{
        f"coverage_{level * 100:g}": Measure(f"coverage of {level:.0%} intervals", "{:.1%}", "calibration")
        for level in calibration.LEVELS
    },
}
"""Every measure.

NSE
    1 is perfect, 0 no better than the mean of the observations; that of log SOC is not decided by a few rich layers.
RMSE, bias
    Of the point prediction; a positive bias predicts too much.
CRPS
    ``E|X - y| - E|X - X'| / 2`` with independent X, X' from the predictive distribution, estimated without bias in the
    number of draws (Zamo and Naveau 2018, Mathematical Geosciences 50, 209–234); 0 is perfect.
log score
    Minus the log of the predictive density, the mean over draws of the density given the draw; lower is better.
interval score
    Width of the central interval plus ``2 / 0.1`` times the distance of what lies outside; lower is better.
width
    Of the central interval; of two calibrated predictions the sharper one is better.
coverage
    Share of the observations inside their central interval; that of a calibrated prediction is the probability.
"""


def pointwise(tree: xr.DataTree) -> xr.Dataset:
    """Score every observation by itself.

    Returns
    -------
    xarray.Dataset
        With the dimensions (site, observation), NaN where there is no observation: ``observed`` and ``predicted``
        [g C m-3], ``depth`` [m], the probability integral ``transform`` and, of the predictive distribution of log
        carbon, ``crps``, ``log_score``, ``interval_score`` and ``width``.
    """
    import scoringrules
    from scipy.special import logsumexp

    observed = group(tree, "observed_data")["soc"]
    there = observed.notnull().to_numpy()
    likely = pooled(group(tree, "log_likelihood")["soc"])[:, there]
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = np.ascontiguousarray(np.log(pooled(group(tree, "posterior_predictive")["soc"])[:, there]).T)
        truth = np.log(observed.to_numpy()[there])
        low, high = np.quantile(draws, ((1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0), axis=1)
        found = {
            "crps": scoringrules.crps_ensemble(truth, draws, estimator="pwm", backend="numpy"),
            "log_score": math.log(len(likely)) - logsumexp(likely, axis=0) - truth,
            "interval_score": scoringrules.interval_score(truth, low, high, 1.0 - LEVEL, backend="numpy"),
            "width": high - low,
        }
    columns = {
        "observed": observed,
        "depth": group(tree, "constant_data")["depth"].where(there),
        "predicted": calibration.point_prediction(tree).where(there),
        "transform": calibration.probability_integral_transform(tree),
    }
    for name, values in found.items():
        filled = np.full(observed.shape, math.nan)
        filled[there] = values
        columns[name] = observed.copy(data=filled).drop_attrs()
    return xr.Dataset(columns)


def scores(points: xr.Dataset, seed: int = 0) -> dict[str, Score]:
    """Return every measure of some observations.

    Parameters
    ----------
    points : xarray.Dataset
        From :func:`pointwise`; with ``observed`` NaN where an observation is not to count.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        By the names of :data:`MEASURES`; NaN where a measure does not exist: no observations, none that differ, the
        logarithm of zero.
    """
    terms = _terms(points)
    with_observations = terms["number"].any(axis=1)
    by_site = {name: values[with_observations].sum(axis=1) for name, values in terms.items()}
    found = from_sums(by_site, _FUNCTIONS, seed)
    sites = int(with_observations.sum())
    return {name: of_share(one, sites) if name.startswith("coverage_") else one for name, one in found.items()}


def by_depth(
    points: xr.Dataset, bounds: tuple[float, ...] = DEPTH_CLASSES, seed: int = 0
) -> dict[str, dict[str, Score]]:
    """Return the scores of every depth class by a label such as ``0-0.3 m``; classes without observations are left out.

    An observation on a bound belongs to the class below it.
    """
    classes = {}
    for upper, lower in itertools.pairwise(bounds):
        label = f"{upper:g}-{lower:g} m" if math.isfinite(lower) else f"below {upper:g} m"
        classes[label] = (points["depth"] >= upper) & (points["depth"] < lower)
    return _within(points, classes, seed)


def by_region(points: xr.Dataset, seed: int = 0) -> dict[str, dict[str, Score]]:
    """Return the scores of the four quarters about the median longitude and latitude of these sites.

    Returns
    -------
    dict
        North-west, north-east, south-west and south-east, those without observations left out; empty where the
        coordinates of the sites are not known.
    """
    if not {"longitude", "latitude"} <= set(points.coords):
        return {}
    north = points["latitude"] >= points["latitude"].median()
    east = points["longitude"] >= points["longitude"].median()
    quarters = {"north-west": north & ~east, "north-east": north & east, "south-west": ~north & ~east}
    return _within(points, quarters | {"south-east": ~north & east}, seed)


def _within(points: xr.Dataset, classes: dict[str, xr.DataArray], seed: int) -> dict[str, dict[str, Score]]:
    """Return the scores of the observations of each class that has any."""
    parts = {label: points.where(inside) for label, inside in classes.items()}
    return {label: scores(part, seed) for label, part in parts.items() if part["observed"].notnull().any()}


def _terms(points: xr.Dataset) -> dict[str, Array]:
    """Return what every observation adds to the sums, each (site, observation), 0 where there is none."""
    there = points["observed"].notnull().to_numpy()
    held = {name: values.transpose("site", "observation").to_numpy() for name, values in points.data_vars.items()}
    distance = 2.0 * np.abs(held["transform"] - 0.5)
    terms = {name: held[name] for name in ("crps", "log_score", "interval_score", "width")}
    terms |= {
        f"inside_{level}": np.where(np.isnan(distance), math.nan, distance <= level) for level in calibration.LEVELS
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = {"carbon": (held["observed"], held["predicted"])}
        scales["log"] = np.log(held["observed"]), np.log(held["predicted"])
        for kind, (observed, predicted) in scales.items():
            about = observed - (observed[there].mean() if there.any() else 0.0)  # small numbers lose no digits
            terms |= {kind: about, f"{kind}_squared": about**2}
            terms |= {f"{kind}_error": predicted - observed, f"{kind}_error_squared": (predicted - observed) ** 2}
    return {name: np.where(there, values, 0.0) for name, values in terms.items()} | {"number": there.astype(float)}
