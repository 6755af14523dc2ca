"""What would a study of the conterminous United States cost?

    python examples/studies/national_rehearsal.py             25,925 synthetic sites: under an hour on two idle cores
    python examples/studies/national_rehearsal.py --small     48 sites and short runs; its times say nothing

The profiles of the conterminous United States are not at hand, so as many sites of a synthetic landscape take their
place.  Each method that fits on a small machine goes the whole way: the sites are made and read, split by location,
fitted, those held out are predicted and compared with their known truth, and a grid is mapped.  A step of training by
one process, by two and by two devices, and sites by themselves on one worker and on two, say what more machines would
bring (:mod:`step_model`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from step_model import (
    ALONE,
    BOTH,
    CORES_OF_ONE,
    DAY,
    DEVICES,
    HOUR,
    MODELLED,
    NUTS_GRADIENTS,
    OF_MODEL,
    Steps,
    draw_range,
    extrapolated,
    model_of,
    scaling,
    step_range,
    steps_of,
    steps_table,
)
from study import Case, Page, Study, main, share, value
from training_task import together
from ways import SMALL, fitted, frame, known, predictive, way

import binn_prob as bp
from binn_prob import streaming
from binn_prob.data.landscape import Landscape
from binn_prob.farm import ClusterSettings, fit_sites
from binn_prob.memory import watched
from binn_prob.results.drawing import legend, panels, styled
from binn_prob.results.recovery import TRUTH_INSIDE
from binn_prob.results.scores import Score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SITES, CELLS = 25_925, 20_000
"""Profiles of the conterminous United States in BINN's study, and cells of a grid of 0.3 degrees"""
THIRD = 3
"""Part of the sites whose steps are timed; what a step takes is in proportion to them"""
METHODS = ("MC dropout, batches", "VI, batches", "deep ensemble, batches")
DRAWS = {"mc_dropout": 200, "vi": 200}
"""Method → its draws; an ensemble has 20 members"""
STAGES = {
    "data": "made and written",
    "read": "read and split",
    "fit": "fit",
    "predict": "held-out sites",
    "map": "map",
}
"""Stage → what is done in it"""
UNITS = (8, 32)
"""Sites that a worker fits together"""
TOGETHER = {
    ALONE: {"processes": 1, "cores": 1, "devices": 1},
    BOTH: {"processes": 2, "cores": 1, "devices": 1},
    CORES_OF_ONE: {"processes": 1, "cores": 2, "devices": 1},
    DEVICES: {"processes": 1, "cores": 2, "devices": 2},
}
"""How a step is shared out → processes, and cores and devices of each"""


def cases(small: bool) -> list[Case]:
    """Return the way of each method from end to end, steps of training together, and farms."""
    sites, cells, seed = (48, 20, 0) if small else (SITES, CELLS, 0)
    few = {"few": 100, "more": 200, "repeats": 1 if small else 2, "seed": seed}
    farmed = {"sites": 4 if small else 64, "options": SMALL["site_nuts"] if small else {}, "seed": seed}
    ways = ((name, way(name, small)) for name in METHODS[: 1 if small else None])
    found = [
        Case(name, end_to_end, {**_of_few_draws(how), "sites": sites, "cells": cells, "seed": seed})
        for name, how in ways
    ]
    shared = tuple(OF_MODEL.values())[1:] if small else tuple(TOGETHER)
    timed = sites // THIRD // 2 * 2  # two devices divide them: else they exchange parameters in every step
    found += [
        Case(f"step of {number:,} sites, {name}", step, {"sites": number, **TOGETHER[name], **few})
        for name, number in ((ALONE, timed // 2), *((name, timed) for name in shared))
    ]
    return found + [
        Case(f"farm of {workers}, units of {unit}", farm, {"workers": workers, "sites_per_unit": unit, **farmed})
        for workers, unit in ([(2, 2)] if small else [(1, UNITS[-1]), *((2, unit) for unit in UNITS)])
    ]


def _of_few_draws(how: dict[str, Any]) -> dict[str, Any]:
    method = how["method"]
    return {**how, "method": {**({"draws": DRAWS[method["method"]]} if method["method"] in DRAWS else {}), **method}}


def landscape(path: Path, sites: int, seed: int, grid: bool = False) -> Path:
    """Write a landscape, if it has not been written yet."""
    return path if path.exists() else Landscape(sites, seed, grid).write(path)


def end_to_end(
    folder: Path, model: dict[str, Any], method: dict[str, Any], sites: int, cells: int, seed: int
) -> pd.DataFrame:
    """Return what every stage of a study takes, and how near its predictions come to the truth."""
    found: dict[tuple[str, str], Score] = {}
    with stage(found, "data"):
        profiles = landscape(folder / "sites.zarr", sites, seed)
        grid = landscape(folder / "cells.zarr", cells, seed, grid=True)
    with stage(found, "read"):
        train, test = bp.data.split(bp.data.load(str(profiles)), test_fraction=0.1, seed=seed)
    with stage(found, "fit"):
        fit = fitted(train, model, method, seed, folder / "fit")
    found["fit", "seconds"] = Score(fit.wall_seconds)
    found["fit", "memory"] = Score(max(found["fit", "memory"].value, fit.attributes["peak_memory"]))
    with stage(found, "predict"):
        tree = fit.predict(test)
        found |= predictive(tree) | _shared(tree)
    with stage(found, "map"):
        predicted = streaming.predict(fit, grid, folder / "map.zarr", resume=True, progress=False)
    with xr.open_zarr(predicted, chunks=None) as mapped:
        complete = bool(mapped.attrs["complete"]) and bool(np.isfinite(mapped["soc_layer"][:, :, 0]).all())
    found["map", "complete"] = Score(float(complete))
    found["", "converged"] = Score(float(fit.verdict.converged))
    return frame(found, sites=sites, cells=cells)


def _shared(tree: xr.DataTree) -> dict[tuple[str, str], Score]:
    """Return what is known of all parameters together, and of all processes."""
    return {key: score for key, score in known(tree).items() if key[0] in ("parameters", "processes")}


@contextmanager
def stage(found: dict[tuple[str, str], Score], name: str) -> Iterator[None]:
    """Note how long something takes, and the largest memory of the process while it does."""
    began = time.perf_counter()
    with watched() as peak:
        yield
    found[name, "seconds"] = Score(time.perf_counter() - began)
    found[name, "memory"] = Score(peak.gibibytes)


def step(folder: Path, processes: int, cores: int, sites: int, repeats: int, seed: int, **how: int) -> pd.DataFrame:
    """Return the time of a step of training over all of some sites."""
    data = str(landscape(folder / "sites.zarr", sites, seed))
    taken = np.array(together(processes, data=data, sites=sites, cores=cores, repeats=repeats, seed=seed, **how))
    error = taken.std(ddof=1) / np.sqrt(repeats) if repeats > 1 else math.nan
    return frame({("", "step_seconds"): Score(float(taken.mean()), error)}, sites=sites)


def farm(
    folder: Path, workers: int, sites_per_unit: int, sites: int, options: dict[str, Any], seed: int
) -> pd.DataFrame:
    """Return how long a farm takes, its workers' start included, and what all its units take together."""
    profiles = bp.data.load(str(landscape(folder / "sites.zarr", sites, seed)))
    cluster = ClusterSettings(workers=workers, sites_per_unit=sites_per_unit)
    how: dict[str, Any] = {"seed": seed, "cluster": cluster, "resume": True, "progress": False}
    began = time.perf_counter()
    done = fit_sites("site", profiles, folder / "farm", **how, **options)
    spent = time.perf_counter() - began
    fit = done.fit()
    found = {
        ("", "seconds"): Score(spent),
        ("", "unit_seconds"): Score(fit.wall_seconds),
        ("", "converged"): Score(float(done.convergence.sites["converged"].mean())),
    }
    return frame(found, sites=sites, workers=workers, sites_per_unit=sites_per_unit)


def page(rows: pd.DataFrame) -> Page:
    """Tabulate the stages, the steps and the farms, and extrapolate."""
    ways = [name for name in METHODS if (rows["case"] == name).any()]
    steps, sites = steps_of(rows), int(rows["sites"].max())
    model = model_of(steps)
    of_farm = rows[rows["workers"].notna() & (rows["measure"] == "unit_seconds")]
    a_site = float((of_farm["value"] / of_farm["sites"]).median())
    tables = {
        f"{sites:,} sites from end to end: seconds, and the largest memory of the process": stages(rows, ways),
        "Held-out sites, against their known truth": qualities(rows, ways),
        "A step of training over a third of the sites, and over half of that": steps_table(steps),
        "Sites by themselves, by default settings, on the workers of one machine": farms_of(rows),
        MODELLED: extrapolated(model, a_site, sites),
    }
    low, high = (NUTS_GRADIENTS * float(one) / DAY for one in step_range(model, 1, 2, sites))
    findings = [
        scaling(steps, BOTH, "Two processes with a core each"),
        scaling(steps, DEVICES, "Two devices of one process"),
        (
            f"What does not fit: NUTS would take up to {NUTS_GRADIENTS:,} gradients over all sites, {low:.1f} to "
            f"{high:.1f} days on two cores; every site by itself {a_site * sites / 2 / HOUR:,.0f} hours on them."
        ),
    ]
    return Page(tables, {"Time by stage, and modelled steps": draw(rows, ways, steps, model, sites)}, findings)


def _of(rows: pd.DataFrame, name: str) -> pd.Series:
    return rows[rows["case"] == name].set_index(["of", "measure"])["value"]


def stages(rows: pd.DataFrame, ways: list[str]) -> pd.DataFrame:
    """Return seconds by stage and the largest memory."""
    lines = {}
    for name in ways:
        found = _of(rows, name)
        seconds = [found[one, "seconds"] for one in STAGES]
        memory = max(found[one, "memory"] for one in STAGES)
        lines[name] = [*(f"{one:.0f}" for one in seconds), f"{sum(seconds):.0f}", f"{memory:.1f} GiB"]
    columns = [*STAGES.values(), "together", "memory"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns).rename_axis("method")


def qualities(rows: pd.DataFrame, ways: list[str]) -> pd.DataFrame:
    """Return skill, coverage, what is recovered, and whether the fit has converged."""
    measures = {
        "NSE of log SOC": ("", "log_nse"),
        "coverage of 90 %": ("", "coverage_90"),
        "true parameters in their 90 %": ("parameters", TRUTH_INSIDE),
        "true processes in theirs": ("processes", TRUTH_INSIDE),
    }
    lines = {}
    for name in ways:
        found = _of(rows, name)
        shown = [value(found["", "log_nse"]), *(share(found[key]) for key in list(measures.values())[1:])]
        lines[name] = [*shown, "yes" if found["", "converged"] else "no"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=[*measures, "converged"]).rename_axis("method")


def farms_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the throughput of every farm."""
    lines = {}
    for case, found in rows[rows["workers"].notna()].groupby("case", sort=False):
        of, first = found.set_index("measure")["value"], found.iloc[0]
        lines[case] = [
            f"{first['workers']:.0f}", f"{first['sites_per_unit']:.0f}", f"{first['sites']:.0f}",
            f"{of['seconds']:.0f}", f"{of['unit_seconds'] / first['sites']:.2f}",
            f"{3600 * first['sites'] / of['seconds']:,.0f}", share(of["converged"]),
        ]  # fmt: skip
    columns = [
        "sites a unit", "sites", "seconds, with the start of the workers", "seconds of a core for a site",
        "sites an hour", "converged",
    ]  # fmt: skip
    table = pd.DataFrame.from_dict(lines, orient="index", columns=["workers", *columns])
    return table.set_index("workers")


@styled
def draw(rows: pd.DataFrame, ways: list[str], steps: pd.DataFrame, model: list[Steps], sites: int) -> Figure:
    """Draw the seconds of every stage, and the modelled time of a step over all sites."""
    figure, axes = panels(1, 2, (4.2, 2.8))
    left, right = axes[0]
    shades = np.linspace(0.85, 0.25, len(STAGES))
    for place, name in enumerate(ways):
        found, begin = _of(rows, name), 0.0
        for shade, (one, what) in zip(shades, STAGES.items(), strict=True):
            seconds = float(found[one, "seconds"])
            left.barh(place, seconds, left=begin, color=str(shade), label=what if place == 0 else None)
            begin += seconds
    left.set_yticks(range(len(ways)), ways)
    left.invert_yaxis()
    left.set_xlabel("seconds")
    legend(figure, left)
    draw_range(right, steps, model, sites)
    return figure


STUDY = Study("national_rehearsal", "What would a national study cost?", cases, page, alone=True)

if __name__ == "__main__":
    main(STUDY)
