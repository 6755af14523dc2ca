"""How far a posterior lies from a reference posterior of the same sites, quantity by quantity."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import xarray as xr

from binn_prob.errors import InputError
from binn_prob.results.posterior import group
from binn_prob.results.scores import Measure, Score, correlation, mean_correlation, median

__all__ = [
    "DIMENSION", "MEASURES", "Kind", "agreement", "beyond_rounding", "by_site", "overall", "same_sites", "spread",
]  # fmt: skip

Kind = Literal["processes", "parameters"]
"""What is compared"""

MEASURES: dict[str, Measure] = {
    "correlation": Measure("correlation", "{:.3f}", "agreement"),
    "mean_difference": Measure("difference of means / reference sd", "{:+.2f}", "agreement"),
    "sd_ratio": Measure("sd ratio", "{:.2f}", "agreement"),
}
"""What :func:`agreement` says of each process or parameter.

correlation
    Pearson's, over sites, of the posterior means: BINN's measure of its agreement with PRODA (Xu et al. 2025,
    arXiv:2502.00672).
mean_difference
    Median over sites of the difference of the means in standard deviations of the reference.
sd_ratio
    Median over sites of the posterior standard deviation divided by that of the reference; below 1 the method is more
    certain than the reference.
"""

_FEWEST_SITES = 3
"""Any two points lie on a line, so a correlation says something from three sites on."""

_DRAWN = ("chain", "draw")
DIMENSION = {"processes": "process", "parameters": "parameter"}

_SAME = 1e-12
"""A standard deviation below this fraction of the mean is rounding: the quantity does not depend on the parameters."""


def agreement(
    tree: xr.DataTree, reference: xr.DataTree, kind: Kind = "processes", seed: int = 0
) -> dict[str, dict[str, Score]]:
    """Compare the processes, or the parameters, of a posterior with those of a reference posterior.

    Parameters
    ----------
    tree, reference : xarray.DataTree
        Posteriors of the same sites, in any order.
    kind : "processes" or "parameters"
        What to compare.
    seed : int
        Of the bootstrap over sites.

    Returns
    -------
    dict
        Process or parameter → measure of :data:`MEASURES` → score.  NaN for what the reference knows exactly, as it
        does the plant carbon input, which is forcing, and where fewer than three sites remain.

    Raises
    ------
    InputError
        If the sites are not the same.
    """
    sites = by_site(tree, reference, kind)
    found = {}
    for name in sites[DIMENSION[kind]].values:
        one = sites.sel({DIMENSION[kind]: name}).dropna("site", subset=["mean_difference"])
        enough = one.sizes["site"] >= _FEWEST_SITES
        columns = {key: one[key].to_numpy() if enough else np.empty(0) for key in sites.data_vars}
        found[str(name)] = {
            "correlation": correlation(columns["mean"], columns["reference_mean"], seed),
            "mean_difference": median(columns["mean_difference"], seed),
            "sd_ratio": median(columns["sd_ratio"], seed),
        }
    return found


def overall(tree: xr.DataTree, reference: xr.DataTree, kind: Kind = "processes", seed: int = 0) -> dict[str, Score]:
    """Compare all processes, or all parameters, at once.

    The parameters are those of :func:`agreement`.

    Returns
    -------
    dict
        ``correlation``, the mean over processes or parameters; ``mean_difference``, the median over sites of the root
        mean square of the standardised differences; and ``sd_ratio``, the median over sites of the geometric mean.
        What the reference knows exactly is left out.

    Raises
    ------
    InputError
        If the sites are not the same.
    """
    sites = by_site(tree, reference, kind).dropna(DIMENSION[kind], how="any", subset=["mean_difference"])
    if sites.sizes["site"] < _FEWEST_SITES or not sites.sizes[DIMENSION[kind]]:
        return dict.fromkeys(MEASURES, Score(math.nan))
    columns = {key: values.transpose("site", ...).to_numpy() for key, values in sites.data_vars.items()}
    with np.errstate(divide="ignore"):
        ratio = np.exp(np.log(columns["sd_ratio"]).mean(axis=1))
    return {
        "correlation": mean_correlation(columns["mean"], columns["reference_mean"], seed),
        "mean_difference": median(np.sqrt((columns["mean_difference"] ** 2).mean(axis=1)), seed),
        "sd_ratio": median(ratio, seed),
    }


def by_site(tree: xr.DataTree, reference: xr.DataTree, kind: Kind = "processes") -> xr.Dataset:
    """Compare a posterior with a reference posterior site by site.

    Parameters
    ----------
    tree, reference : xarray.DataTree
        Posteriors of the same sites, in any order.
    kind : "processes" or "parameters"
        What to compare.

    Returns
    -------
    xarray.Dataset
        With the dimensions (site, process) or (site, parameter): the posterior ``mean`` and ``reference_mean``, in the
        unit of the quantity; their ``mean_difference`` in standard deviations of the reference; and ``sd_ratio``, of
        the standard deviations.  The last two are NaN where the reference knows the quantity exactly.

    Raises
    ------
    InputError
        If the sites are not the same, or there is no such kind.
    """
    if kind not in get_args(Kind):
        raise InputError(f"a comparison of {kind!r}", " or ".join(get_args(Kind)), "choose one of them")
    same_sites(tree, reference)
    mean, deviation = spread(tree, kind)
    reference_mean, reference_deviation = (values.sel(site=mean["site"]) for values in spread(reference, kind))
    scale = reference_deviation.where(reference_deviation > 0)
    return xr.Dataset(
        {
            "mean": mean,
            "reference_mean": reference_mean,
            "mean_difference": (mean - reference_mean) / scale,
            "sd_ratio": deviation / scale,
        }
    ).transpose("site", ...)


def spread(tree: xr.DataTree, kind: Kind = "processes") -> tuple[xr.DataArray, xr.DataArray]:
    """Return the posterior mean and standard deviation of the processes or parameters, each (site, quantity).

    The standard deviation is 0 where all draws are the same but for rounding, and NaN of a single draw.
    """
    draws = group(tree, "posterior")[kind].astype(np.float64)
    mean = draws.mean(_DRAWN)
    if draws["chain"].size * draws["draw"].size < 2:
        return mean, xr.full_like(mean, math.nan)
    return mean, beyond_rounding(draws.std(_DRAWN, ddof=1), mean)


def beyond_rounding(deviation: xr.DataArray, mean: xr.DataArray) -> xr.DataArray:
    """Return standard deviations, 0 where they are the rounding of numbers as large as the mean."""
    return deviation.where(~(deviation <= _SAME * np.abs(mean)), 0.0)


def same_sites(tree: xr.DataTree, reference: xr.DataTree) -> None:
    """Raise :class:`InputError` unless two trees have the same sites, in any order."""
    sites, others = (set(group(each, "posterior")["site"].values) for each in (tree, reference))
    if sites != others:
        example = min(map(str, sites ^ others))
        got = f"posteriors of {len(sites)} and {len(others)} sites, where site {example} is not in both"
        raise InputError(got, "posteriors of the same sites", "fit all methods to the same dataset")
