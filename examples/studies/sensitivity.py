"""Which of the 21 parameters matter?

    python examples/studies/sensitivity.py             64 New York profiles: minutes on two cores
    python examples/studies/sensitivity.py --small     4 of them and few samples

The variance of soil organic carbon, and of each process, is shared out among the parameters, all of them uniform over
BINN's ranges, and slopes are taken at CLM5's own defaults where these lie inside the ranges, else at the nearer end.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from study import Case, Page, Study, main, value

import binn_prob as bp
from binn_prob import clm5

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIANCE, SLOPES = "Sobol indices", "local slopes"
CARBON = "soil_organic_carbon"
LEAST = 5e-4
"""Shares below this are written as 0"""
PUBLISHED = ("w-scaling", "tau4s3", "fs1s3", "efolding")
"""The published ranking for soil organic carbon"""


def cases(small: bool) -> list[Case]:
    """Return the variance and the slopes at the same profiles."""
    sites = {"sites": 4 if small else 64, "seed": 0}
    return [
        Case(VARIANCE, variance, {**sites, "samples": 16 if small else 1024, "repeats": 2 if small else 4}),
        Case(SLOPES, slopes, sites),
    ]


def _forcing(sites: int, seed: int) -> clm5.Forcing:
    return clm5.Forcing.from_dataset(bp.data.load("new-york", sites=sites, seed=seed))


def variance(folder: Path, sites: int, samples: int, repeats: int, seed: int) -> pd.DataFrame:
    """Share out the variance of every quantity among the parameters."""
    return clm5.sobol_indices(_forcing(sites, seed), samples, repeats, seed).to_dataframe().reset_index()


def slopes(folder: Path, sites: int, seed: int) -> pd.DataFrame:
    """Return the slopes at the defaults."""
    defaults = np.clip(clm5.DEFAULTS, *clm5.RANGES["binn"].T)
    found = clm5.sensitivity(np.tile(defaults, (sites, 1)), _forcing(sites, seed))
    return found["local"].to_dataframe().reset_index()


def page(rows: pd.DataFrame) -> Page:
    """Rank the parameters."""
    key = ["site", "quantity", "parameter"]
    indices = xr.Dataset.from_dataframe(rows[rows["case"] == VARIANCE].set_index(key)).sel(parameter=list(clm5.NAMES))
    local = xr.Dataset.from_dataframe(rows[rows["case"] == SLOPES].set_index(key)).sel(parameter=list(clm5.NAMES))
    shown = list(clm5.QUANTITIES[:1] + clm5.QUANTITIES[2:])
    order = _order(indices["total_order"].sel(quantity=CARBON).mean("site"))
    errors = np.sqrt((indices[["first_order_error", "total_order_error"]] ** 2).mean("site") / indices.sizes["site"])
    means = indices.mean("site")
    carbon = pd.DataFrame(
        {
            "first order": [_cell(means, errors, "first_order", CARBON, name) for name in order],
            "total order": [_cell(means, errors, "total_order", CARBON, name) for name in order],
            "slope at the defaults": [
                value(float(local["local"].sel(quantity=CARBON, parameter=name).mean())) for name in order
            ],
        },
        pd.Index(order, name="parameter"),
    )
    of_all = pd.DataFrame(
        {
            quantity.replace("_", " "): [_cell(means, errors, "total_order", quantity, name) for name in order]
            for quantity in shown[1:]
        },
        pd.Index(order, name="parameter"),
    )
    findings = [
        (
            "By their share of the variance of the logarithm of soil organic carbon, total order: "
            f"{', '.join(order[:6])}; published: {', '.join(PUBLISHED)}."
        ),
    ]
    tables = {
        "Soil organic carbon of the column: shares of the variance of its logarithm, and slope over the range of the "
        "parameter, means over the profiles": carbon,
        "Processes: total order": of_all,
    }
    return Page(tables, {"Shares of the variance, total order": bp.plot.sensitivity(indices)}, findings)


def _order(values: xr.DataArray) -> list[str]:
    ranked: Iterable[str] = values.to_series().sort_values(ascending=False, kind="stable").index
    return [str(name) for name in ranked]


def _cell(means: xr.Dataset, errors: xr.Dataset, name: str, quantity: str, parameter: str) -> str:
    at = {"quantity": quantity, "parameter": parameter}
    mean, error = float(means[name].sel(at)), float(errors[f"{name}_error"].sel(at))
    return "0" if abs(mean) < LEAST else f"{mean:.3f} ± {error:.3f}"


STUDY = Study("sensitivity", "Which of the 21 parameters matter?", cases, page)

if __name__ == "__main__":
    main(STUDY)
