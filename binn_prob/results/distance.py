"""How far a posterior lies from a reference posterior of the same sites."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from binn_prob.errors import InputError
from binn_prob.results.posterior import group

__all__ = ["MEASURES", "agreement", "same_sites", "spread"]

MEASURES = ("correlation", "bias", "sd_ratio")
"""What :func:`agreement` says of each process."""

_FEWEST_SITES = 3
"""Any two points lie on a line, so a correlation says something from three sites on."""

_DRAWN = ("chain", "draw")

_SAME = 1e-12
"""A standard deviation below this fraction of the mean is rounding: the process does not depend on the parameters."""


def agreement(tree: xr.DataTree, reference: xr.DataTree) -> xr.Dataset:
    """Compare the six processes of a posterior with those of a reference posterior.

    Parameters
    ----------
    tree, reference : xarray.DataTree
        Posteriors of the same sites, in any order.

    Returns
    -------
    xarray.Dataset
        With the dimension ``process``: ``correlation``, the Pearson correlation over sites of the posterior means;
        ``bias``, the median over sites of the difference of the means in standard deviations of the reference; and
        ``sd_ratio``, the median over sites of the posterior standard deviation divided by that of the reference (below
        1: more certain than the reference).  All are NaN for a process that the reference knows exactly, as it does
        the plant carbon input, which is forcing, and where fewer than three sites remain.

    Raises
    ------
    InputError
        If the sites are not the same.

    Notes
    -----
    The correlation of mean processes over sites is BINN's measure of its agreement with PRODA (Xu et al. 2025,
    arXiv:2502.00672).
    """
    same_sites(tree, reference)
    mean, deviation = spread(tree)
    reference_mean, reference_deviation = (values.sel(site=mean["site"]) for values in spread(reference))
    uncertain = (reference_deviation > 0).to_numpy()
    columns = [values.to_numpy() for values in (mean, deviation, reference_mean, reference_deviation)]
    rows = [_compared(*(values[chosen, process] for values in columns)) for process, chosen in enumerate(uncertain.T)]
    measures = zip(MEASURES, np.array(rows).T, strict=True)
    return xr.Dataset(
        {name: ("process", values) for name, values in measures},
        {"process": mean["process"].to_numpy()},
    )


def spread(tree: xr.DataTree) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the posterior mean and standard deviation of the six processes, each (site, process).

    The standard deviation is 0 where all draws are the same but for rounding, and NaN of a single draw.
    """
    processes = group(tree, "posterior")["processes"].astype(np.float64)
    mean = processes.mean(_DRAWN)
    if processes["chain"].size * processes["draw"].size < 2:
        return mean, xr.full_like(mean, math.nan)
    deviation = processes.std(_DRAWN, ddof=1)
    rounding = deviation <= _SAME * np.abs(mean)
    return mean, deviation.where(~rounding, 0.0)


def same_sites(tree: xr.DataTree, reference: xr.DataTree) -> None:
    """Raise :class:`InputError` unless two trees have the same sites, in any order."""
    sites, others = (set(group(each, "posterior")["site"].values) for each in (tree, reference))
    if sites != others:
        example = min(map(str, sites ^ others))
        got = f"posteriors of {len(sites)} and {len(others)} sites, where site {example} is not in both"
        raise InputError(got, "posteriors of the same sites", "fit all methods to the same dataset")


def _compared(
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
    reference_mean: NDArray[np.float64],
    reference_deviation: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Return the measures of one process over the sites where it is uncertain."""
    if len(mean) < _FEWEST_SITES:
        return math.nan, math.nan, math.nan
    varied = np.ptp(mean) > 0 and np.ptp(reference_mean) > 0
    correlation = float(np.corrcoef(mean, reference_mean)[0, 1]) if varied else math.nan
    bias = float(np.median((mean - reference_mean) / reference_deviation))
    return correlation, bias, float(np.median(deviation / reference_deviation))
