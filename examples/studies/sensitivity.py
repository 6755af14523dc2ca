"""Which of the 21 parameters matter?

    python examples/studies/sensitivity.py             64 New York profiles: minutes on two cores
    python examples/studies/sensitivity.py --small     4 of them and few samples

The variance of soil organic carbon, and of each process, is shared out among the parameters, all of them uniform over
BINN's ranges, and slopes are taken at CLM5's own defaults where these lie inside the ranges, else at the nearer end.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from study import Case, Page, Study, main, value

import binn_prob as bp
from binn_prob import clm5
from binn_prob.results.drawing import styled

VARIANCE, SLOPES = "Sobol indices", "local slopes"
SHALLOW = {"whole column": None, "upper metre": 1.0, "upper 0.3 m": 0.3}
"""How deep carbon is counted [m]"""
CARBON = "soil_organic_carbon"
LEAST = 5e-4
"""Shares below this are written as 0"""
PUBLISHED = ("w-scaling", "tau4s3", "fs1s3", "efolding")
"""The published ranking for soil organic carbon"""


def cases(small: bool) -> list[Case]:
    """Return the variance and the slopes at the same profiles."""
    sites = {"sites": 4 if small else 64, "seed": 0}
    samples = {"samples": 16 if small else 1024, "repeats": 2 if small else 4}
    return [
        *(
            Case(f"{VARIANCE}, {name}", variance, {**sites, **samples, "depth": depth})
            for name, depth in SHALLOW.items()
        ),
        Case(SLOPES, slopes, sites),
    ]


def _forcing(sites: int, seed: int) -> clm5.Forcing:
    return clm5.Forcing.from_dataset(bp.data.load("new-york", sites=sites, seed=seed))


def variance(folder: Path, sites: int, samples: int, repeats: int, depth: float | None, seed: int) -> pd.DataFrame:
    """Share out the variance among the parameters: of carbon down to a depth, or of the whole column and processes."""
    found = clm5.sobol_indices(_forcing(sites, seed), samples, repeats, seed, depth=depth or math.inf)
    return (found if depth is None else _of_carbon(found)).to_dataframe().reset_index()


def slopes(folder: Path, sites: int, seed: int) -> pd.DataFrame:
    """Return the slopes at the defaults."""
    defaults = np.clip(clm5.DEFAULTS, *clm5.RANGES["binn"].T)
    found = clm5.sensitivity(np.tile(defaults, (sites, 1)), _forcing(sites, seed))
    return _of_carbon(found[["local"]]).to_dataframe().reset_index()


def _of_carbon(found: xr.Dataset) -> xr.Dataset:
    return found.sel(quantity=[CARBON])


def page(rows: pd.DataFrame) -> Page:
    """Rank the parameters."""
    found = {case: _labelled(some) for case, some in rows.groupby("case")}
    by_depth = {name: found[f"{VARIANCE}, {name}"].mean("site") for name in SHALLOW}
    whole = next(iter(by_depth.values()))
    order = _order(whole)
    slopes = found[SLOPES]["local"].sel(quantity=CARBON).mean("site")
    carbon = pd.DataFrame(
        {
            "whole column, first order": [_cell(whole, "first_order", CARBON, name) for name in order],
            **{
                f"{depth}, total order": [_cell(of, "total_order", CARBON, name) for name in order]
                for depth, of in by_depth.items()
            },
            "slope at the defaults": [value(float(slopes.sel(parameter=name))) for name in order],
        },
        pd.Index(order, name="parameter"),
    )
    processes = pd.DataFrame(
        {
            process.replace("_", " "): [_cell(whole, "total_order", process, name) for name in order]
            for process in clm5.PROCESS_NAMES[1:]
        },
        pd.Index(order, name="parameter"),
    )
    ranks = "; ".join(f"{depth}: {', '.join(_order(of)[:6])}" for depth, of in by_depth.items())
    findings = [
        f"By their share of the variance of the logarithm of soil organic carbon, total order: {ranks}.",
        f"Published: {', '.join(PUBLISHED)}.",
    ]
    tables = {
        "Soil organic carbon: shares of the variance of its logarithm, and the slope of that of the whole column over "
        "the range of the parameter, means over the profiles": carbon,
        "Processes: shares of the variance of the logarithm, total order": processes,
    }
    figure = draw(found[f"{VARIANCE}, {next(iter(SHALLOW))}"])
    return Page(tables, {"Shares of the variance, total order": figure}, findings)


@styled
def draw(found: xr.Dataset) -> Figure:
    """Draw the shares on one scale, and name the parameters that have one."""
    figure = bp.plot.sensitivity(found)
    for axis in figure.axes:
        names = [label.get_text() for label in axis.get_yticklabels()]
        there = [place for place, bar in enumerate(axis.patches) if bar.get_width() >= LEAST]
        axis.set_yticks(there, [names[place] for place in there])
        axis.set_xlim(0.0, 1.0)
    shares = "share of the variance of the logarithm, total order"
    figure.supxlabel(f"{shares} (bars: mean over the profiles; lines: 5 to 95 % of the profiles)")
    return figure


def _labelled(rows: pd.DataFrame) -> xr.Dataset:
    """Return the rows of a case as what they were made of."""
    made = xr.Dataset.from_dataframe(rows.drop(columns="case").set_index(["site", "quantity", "parameter"]))
    return made.sel(parameter=list(clm5.NAMES))


def _order(means: xr.Dataset) -> list[str]:
    """Return the parameters by their share of the variance of carbon."""
    shares = means["total_order"].sel(quantity=CARBON).to_series()
    return [str(name) for name in shares.sort_values(ascending=False, kind="stable").index]


def _cell(means: xr.Dataset, name: str, quantity: str, parameter: str) -> str:
    """Return a share and its error: that of a profile, for the same samples serve all profiles."""
    at = {"quantity": quantity, "parameter": parameter}
    mean, error = float(means[name].sel(at)), float(means[f"{name}_error"].sel(at))
    return "0" if abs(mean) < LEAST else f"{mean:.3f} ± {error:.3f}"


STUDY = Study("sensitivity", "Which of the 21 parameters matter?", cases, page)

if __name__ == "__main__":
    main(STUDY)
