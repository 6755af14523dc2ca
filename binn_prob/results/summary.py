"""Posteriors in tables: means, standard deviations and quantiles by site."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from binn_prob.results.distance import spread
from binn_prob.results.posterior import group, pooled

__all__ = ["OF", "QUANTILES", "STATISTICS", "averaged", "by_site", "processes", "statistics"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Ends of the central 90 % and 50 % intervals, and the median."""

STATISTICS = ("mean", "sd", *(f"q{100 * at:02.0f}" for at in QUANTILES))
"""What :func:`statistics` returns."""

OF = {"parameters": "parameter", "processes": "process", "soc_layer": "layer"}
"""Variables that are summarised, and the dimension of each beside the site."""


def by_site(tree: xr.DataTree) -> pd.DataFrame:
    """Summarise what is known of every site.

    Parameters
    ----------
    tree : xarray.DataTree
        A posterior or a prediction, see :mod:`binn_prob.results.posterior`.

    Returns
    -------
    pandas.DataFrame
        One row for each site and each parameter, process and layer, with the columns ``site``, ``longitude``,
        ``latitude``, ``variable`` (``parameters``, ``processes``, ``soc_layer``), ``name`` (of a layer the depth of its
        node [m]), ``unit``, ``mean``, ``sd`` and, for example, ``q05`` for the quantile 0.05.
    """
    posterior = group(tree, "posterior")
    frames = [_frame(posterior, variable, dimension) for variable, dimension in OF.items()]
    return pd.concat(frames, ignore_index=True)


def processes(tree: xr.DataTree) -> pd.DataFrame:
    """Return the six processes, averaged over the sites.

    Returns
    -------
    pandas.DataFrame
        One row a process, with the columns ``process``, ``unit``, ``mean`` and ``sd`` (posterior mean and standard
        deviation, averaged over the sites) and ``sd_over_sites`` (standard deviation of the posterior means).
    """
    return averaged(*spread(tree))


def averaged(mean: xr.DataArray, deviation: xr.DataArray) -> pd.DataFrame:
    """Return what :func:`processes` does, from the posterior means and standard deviations, each (site, process)."""
    columns = {"mean": mean.mean("site"), "sd": deviation.mean("site"), "sd_over_sites": mean.std("site")}
    names = {"process": mean["process"].to_numpy(), "unit": mean["process_unit"].to_numpy()}
    return pd.DataFrame(names | {name: values.to_numpy() for name, values in columns.items()})


def _frame(posterior: xr.Dataset, variable: str, dimension: str) -> pd.DataFrame:
    """Return the rows of one variable, by site and name."""
    values = posterior[variable].transpose("chain", "draw", "site", dimension)
    draws, (sites, names) = pooled(values), values.shape[2:]
    units = posterior[f"{dimension}_unit"].to_numpy() if f"{dimension}_unit" in posterior else values.attrs["units"]
    columns = {
        name: np.repeat(posterior[name], names) for name in ("site", "longitude", "latitude") if name in posterior
    }
    described: dict[str, Any] = {
        "variable": variable,
        "name": np.tile(posterior[dimension].to_numpy(), sites),
        "unit": np.tile(np.broadcast_to(units, names), sites),
    }
    found = dict(zip(STATISTICS, statistics(draws), strict=True))
    return pd.DataFrame(columns | described | {name: values.ravel() for name, values in found.items()})


def statistics(draws: np.ndarray) -> np.ndarray:
    """Return the statistics of :data:`STATISTICS` over draws, (draw, …) → (statistic, …); no sd of a single draw."""
    deviation = draws.std(axis=0, ddof=1) if len(draws) > 1 else np.full(draws.shape[1:], np.nan)
    return np.stack([draws.mean(axis=0), deviation, *np.quantile(draws, QUANTILES, axis=0)])
