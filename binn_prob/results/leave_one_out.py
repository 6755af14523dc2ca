"""What a posterior would predict of an observation that it had not seen, from the draws of the one that has seen it.

Pareto-smoothed importance sampling weighs the draws as if the observation were left out (Vehtari, Gelman and Gabry
2017, Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC, Statistics and Computing 27,
1413–1432).  It takes the draws for those of the posterior: of an approximation that is too narrow it learns too little.
The other observations of the same profile stay in, so this asks less than a held-out site does.

All numbers are densities of the natural logarithm of carbon, in the sign and without the rounding of none of ArviZ's
generations: differences are 0 for the best method and negative for the others.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy as np
import xarray as xr

from binn_prob.results.posterior import group, is_markov_chain
from binn_prob.results.scores import Array, Measure, Score, from_sums

__all__ = ["MEASURES", "by_observation", "differences", "scores"]

_FEWEST_DRAWS = 25
"""The tail of the weights is their largest fifth, to which a distribution with two parameters is fitted."""

MEASURES: dict[str, Measure] = {
    "loo_log_score": Measure("log score of log SOC, each observation left out", "{:.3f}", "calibration"),
    "loo_unreliable": Measure("observations whose k-hat is too large", "{:.1%}", "calibration"),
    "loo_difference": Measure("log density of all left out, against the best", "{:.1f}", "calibration", "nat"),
}


def by_observation(tree: xr.DataTree) -> xr.Dataset:
    """Return the log predictive density of each observation, left out, and how far it can be relied on.

    Returns
    -------
    xarray.Dataset
        With the dimensions (site, observation), NaN where there is no observation: ``log_density`` of log carbon and
        ``pareto_k``; NaN throughout where a log likelihood is not finite, there are fewer than 25 draws, or those that
        count most are all the same.  The attribute ``good_k`` says up to which k-hat the weights of an observation can
        be relied on, which is less with fewer draws (Vehtari, Simpson, Gelman, Yao and Gabry 2024, Pareto smoothed
        importance sampling, Journal of Machine Learning Research 25, 72, section 3.2).
    """
    import arviz_stats

    likely = group(tree, "log_likelihood")["soc"].transpose("chain", "draw", "site", "observation")
    observed = group(tree, "observed_data")["soc"].transpose("site", "observation").to_numpy()
    there = np.isfinite(observed)
    values = likely.to_numpy()[:, :, there].astype(np.float64)
    good = math.nan
    found = {name: np.full(observed.shape, math.nan) for name in ("log_density", "pareto_k")}
    if _can_be_weighed(values) and (observed[there] > 0).all():
        flat = xr.DataTree.from_dict({"log_likelihood": xr.Dataset({"soc": (("chain", "draw", "seen"), values)})})
        with warnings.catch_warnings():  # weights that cannot be relied on are counted, by their k-hat
            warnings.filterwarnings("ignore", category=UserWarning, module="arviz_stats")
            loo = arviz_stats.loo(flat, pointwise=True, reff=_independent(values) if is_markov_chain(tree) else 1.0)
        found["log_density"][there] = np.asarray(loo.elpd_i) + np.log(observed[there])
        found["pareto_k"][there] = np.asarray(loo.pareto_k)
        good = float(loo.good_k)
    variables = {name: (("site", "observation"), held) for name, held in found.items()}
    return xr.Dataset(variables, {"site": likely["site"]}, {"good_k": good})


def scores(points: xr.Dataset, seed: int = 0) -> dict[str, Score]:
    """Return ``loo_log_score`` and ``loo_unreliable`` of :data:`MEASURES` from :func:`by_observation`."""
    number = points["log_density"].notnull().to_numpy().sum(axis=1)
    sums = {
        "number": number.astype(np.float64),
        "score": -np.nansum(points["log_density"].to_numpy(), axis=1),
        "unreliable": (points["pareto_k"] > points.attrs["good_k"]).to_numpy().sum(axis=1).astype(np.float64),
    }
    by_site = {name: values[number > 0] for name, values in sums.items()}
    return from_sums(
        by_site,
        {
            "loo_log_score": lambda s: s["score"] / s["number"],
            "loo_unreliable": lambda s: s["unreliable"] / s["number"],
        },
        seed,
    )


def differences(points: Mapping[str, xr.Dataset], seed: int = 0) -> dict[str, Score]:
    """Return for each method the log density of all observations minus that of the best method, and its error.

    Parameters
    ----------
    points : mapping of xarray.Dataset
        From :func:`by_observation`, by method.
    seed : int
        Of the bootstrap over sites.
    """
    by_method = {name: _of_sites(each) for name, each in points.items()}
    totals = {name: float(values.sum()) for name, values in by_method.items()}
    finite = {name: total for name, total in totals.items() if math.isfinite(total)}
    if not finite:
        return dict.fromkeys(points, Score(math.nan))
    best = max(finite, key=lambda name: finite[name])
    apart = {name: values - by_method[best] for name, values in by_method.items()}
    return from_sums(apart, {name: lambda sums, name=name: sums[name] for name in apart}, seed)  # type: ignore[misc]


def _of_sites(points: xr.Dataset) -> Array:
    """Return the log density of all observations of each site, in the order of the sites; NaN if there is none."""
    density = points["log_density"].sortby("site")
    values: Array = density.sum("observation").to_numpy()
    return values if density.notnull().any() else np.full(len(values), math.nan)


def _can_be_weighed(values: Array) -> bool:
    """Say whether there are finite log densities (chain, draw, observation) with a tail of weights to smooth.

    Draws by dropout or of an ensemble can be the same for so many that the tail, their largest fifth, is but one value.
    """
    draws = values.reshape(-1, values.shape[2])
    if len(draws) < _FEWEST_DRAWS or not values.size or not np.isfinite(values).all():
        return False
    tail = np.sort(draws, axis=0)[: math.ceil(min(0.2 * len(draws), 3.0 * math.sqrt(len(draws))))]
    return bool((np.ptp(tail, axis=0) > 0).all())


def _independent(values: Array) -> float:
    """Return the share of draws (chain, draw, observation) that counts, given how they depend on each other."""
    import arviz_stats

    draws = xr.Dataset({"value": (("chain", "draw", "seen"), np.exp(values - values.max(axis=(0, 1))))})
    effective = arviz_stats.ess(draws, method="mean")["value"].to_numpy()
    usable = effective[np.isfinite(effective)]
    return float(min(np.mean(usable) / (values.shape[0] * values.shape[1]), 1.0)) if len(usable) else 1.0
