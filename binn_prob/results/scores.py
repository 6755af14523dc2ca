"""Numbers on posteriors, each with its standard error by a bootstrap over sites.

The observations of one profile are not independent, nor are the posteriors of its parameters, so sites are drawn again,
with all that belongs to them (Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "REPLICATES", "Measure", "Score", "correlation", "from_sums", "mean", "mean_correlation", "median", "of_share",
    "resampled", "root_mean_square",
]  # fmt: skip

REPLICATES = 2000
"""Of the bootstrap: a standard error is then known to about 2 %."""

_ROUNDING = 1e-12
"""Errors up to which all sites agree but for rounding."""

Array = NDArray[np.float64]
Sums = Mapping[str, Array]
"""Sums over sites by name, each (replicate,)"""


class Score(NamedTuple):
    """A number, and how well it is known."""

    value: float
    error: float = math.nan
    """Standard error; NaN where there is none, as of a single site"""


class Measure(NamedTuple):
    """What a number is called, and how it is printed."""

    label: str
    form: str
    section: str
    """Where a report shows it"""
    unit: str = "1"


def from_sums(
    by_site: Mapping[str, Array], of: Mapping[str, Callable[[Sums], Array]], seed: int = 0
) -> dict[str, Score]:
    """Return functions of sums over sites.

    Parameters
    ----------
    by_site : mapping of arrays (site,)
        What every site adds to the sums.
    of : mapping of callables
        The functions, by name, of arrays of sums (replicate,).
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        Name → score; NaN where the function of the sums is not finite.
    """
    sites = len(next(iter(by_site.values())))
    if not sites:
        return dict.fromkeys(of, Score(math.nan))
    counts = _counts(sites, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        once = {name: np.atleast_1d(values.sum()) for name, values in by_site.items()}
        sums = counts @ np.stack(list(by_site.values()), axis=1)
        again = dict(zip(by_site, sums.T, strict=True))
        return {name: _score(float(each(once)[0]), each(again), sites) for name, each in of.items()}


def of_share(score: Score, sites: int) -> Score:
    """Return a share with an error also where the bootstrap sees none, because all sites agree or there is but one.

    It is then that of the share with two successes and two failures more (Agresti and Coull 1998, Approximate is better
    than "exact" for interval estimation of binomial proportions, The American Statistician 52, 119–126), of as many
    trials as there are sites.
    """
    if math.isnan(score.value) or score.error > _ROUNDING:
        return score
    share = (sites * score.value + 2.0) / (sites + 4.0)
    return Score(score.value, math.sqrt(share * (1.0 - share) / (sites + 4.0)))


def mean(values: Array, seed: int = 0) -> Score:
    """Return the mean of one number per site, (site,)."""
    return from_sums({"value": values, "number": np.ones(len(values))}, {"mean": _ratio}, seed)["mean"]


def median(values: Array, seed: int = 0) -> Score:
    """Return the median of one number per site, (site,); NaN of none."""
    return resampled(values, _middle, seed)


def resampled(values: Array, of: Callable[[Array], Array], seed: int = 0) -> Score:
    """Return a function of one number per site, (site,); NaN of no site.

    The function is one of numbers in ascending order, along the last axis, which it reduces.
    """
    if not len(values):
        return Score(math.nan)
    ordered = np.sort(values)
    return _score(float(of(ordered)), of(ordered[_places(len(values), seed)]), len(values))


def root_mean_square(values: Array, seed: int = 0) -> Score:
    """Return the root mean square of one number per site, (site,)."""
    by_site = {"square": values**2, "number": np.ones(len(values))}
    return from_sums(by_site, {"value": lambda sums: np.sqrt(sums["square"] / sums["number"])}, seed)["value"]


def correlation(first: Array, second: Array, seed: int = 0) -> Score:
    """Return Pearson's correlation of two numbers per site, (site,) each; NaN where one of them does not vary."""
    return mean_correlation(first[:, None], second[:, None], seed)


def mean_correlation(first: Array, second: Array, seed: int = 0) -> Score:
    """Return the mean over quantities of Pearson's correlation over sites, (site, quantity) each.

    NaN where a quantity does not vary over sites.
    """
    if not (len(first) and np.ptp(first, axis=0).all() and np.ptp(second, axis=0).all()):
        return Score(math.nan)
    x, y = ((values - values.mean(axis=0)) / values.std(axis=0) for values in (first, second))
    products = {"x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}
    by_site = {f"{name}{place}": values[:, place] for name, values in products.items() for place in range(x.shape[1])}

    def mean_pearson(sums: Sums) -> Array:
        return np.mean([_pearson(sums, str(place)) for place in range(x.shape[1])], axis=0)

    return from_sums(by_site | {"number": np.ones(len(x))}, {"mean": mean_pearson}, seed)["mean"]


def _pearson(sums: Sums, place: str) -> Array:
    """Return Pearson's correlation of one quantity from its sums."""

    def moment(one: str, other: str) -> Array:
        return sums["number"] * sums[one + other + place] - sums[one + place] * sums[other + place]

    return np.clip(moment("x", "y") / np.sqrt(moment("x", "x") * moment("y", "y")), -1.0, 1.0)


def _ratio(sums: Sums) -> Array:
    return sums["value"] / sums["number"]


def _middle(ordered: Array) -> Array:
    """Return the median of ordered numbers, (…, site); NaN if one is, which comes last."""
    sites = ordered.shape[-1]
    middle = 0.5 * (ordered[..., (sites - 1) // 2] + ordered[..., sites // 2])
    return np.where(np.isnan(ordered[..., -1]), math.nan, middle)


@lru_cache(maxsize=4)  # of 1,000 sites some 10 MB each
def _places(sites: int, seed: int) -> NDArray[np.int32]:
    """Return the sites that are drawn in each replicate, in ascending order, (replicate, site)."""
    drawn = np.random.default_rng(seed).integers(sites, size=(REPLICATES, sites), dtype=np.int32)
    return np.sort(drawn, axis=1)


@lru_cache(maxsize=4)  # twice that
def _counts(sites: int, seed: int) -> Array:
    """Return how often each site is drawn in each replicate, (replicate, site)."""
    shares = np.full(sites, 1.0 / sites)
    return np.random.default_rng(seed).multinomial(sites, shares, REPLICATES).astype(np.float64)


def _score(value: float, again: Array, sites: int) -> Score:
    """Return a value with the spread of the bootstrap; what is not finite does not exist."""
    if not math.isfinite(value):
        return Score(math.nan)
    finite = again[np.isfinite(again)]
    return Score(value, float(finite.std(ddof=1)) if sites > 1 and len(finite) > 1 else math.nan)
