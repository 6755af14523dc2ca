"""Can the uncertainty of MC dropout be trusted?

    python examples/studies/mc_dropout.py             hours on two cores
    python examples/studies/mc_dropout.py --small     few sites and short fits

Truths are drawn from the prior of the model that most methods fit, likelihood included, so that its posterior itself
covers as it says; networks of 3 × 128 units and NeuralPrior are other models.  Methods learn from 32, 128 and 512 sites
of a cool climate and predict others of it, and sites warmer than any that they have seen.  New York's profiles, whose
truth nobody knows, are held against NUTS.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from study import Case, Page, Study, averaged, main, share, value
from ways import about, devices, fitted, frame, known, predictive, some, way

import binn_prob as bp
from binn_prob.results import recovery
from binn_prob.results.drawing import legend, panels, plain, styled

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr
    from matplotlib.figure import Figure

SIZES = (32, 128, 512)
_EVERYWHERE = (
    "MC dropout, rate 0.05", "MC dropout", "MC dropout, rate 0.4", "MC dropout, rate learned",
    "MC dropout, 3 × 128 units",
    "deep ensemble, batches", "Laplace, last layer", "Laplace", "VI",
)  # fmt: skip
METHODS = {
    **dict.fromkeys(_EVERYWHERE, SIZES),
    **dict.fromkeys(("VI, low rank", "SGHMC", "NeuralPrior, VI"), SIZES[:2]),
    **dict.fromkeys(("VI, full rank", "VI, flow", "NUTS"), SIZES[:1]),
}
"""Method → numbers of sites that it can afford to learn from"""
WORLDS = {"synthetic": SIZES, "new-york": (SIZES[0], SIZES[-1])}
"""World → numbers of sites that are learnt from there"""
TRUTHS = 3
POOL = 1600
"""Synthetic sites that training and test sites are taken from"""
COOL, WARM = 0.7, 0.9
"""Shares of the sites that are cooler than the warmest to learn from, and than the coolest of those far away"""
TESTED = 100
"""Sites that are predicted, near and far"""
KEY = ["world", "size", "name", "part", "of", "measure"]
"""Columns of the rows over whose truths are averaged"""


def cases(small: bool) -> list[Case]:
    """Return every method at the sizes that it can afford, for each world and truth."""
    methods = dict.fromkeys(("MC dropout", "NUTS"), (8,)) if small else METHODS
    pool, tested, truths = (80, 6, 1) if small else (POOL, TESTED, TRUTHS)
    found = []
    for world, measured in {"synthetic": (8,)}.items() if small else WORLDS.items():
        for truth in range(truths if world == "synthetic" else 1):
            for name, sizes in methods.items():
                for size in sorted({*sizes} & {*measured}):
                    which = {"world": world, "size": size, "pool": pool, "tested": tested, "seed": truth}
                    case = f"{name}, {world}, {size} sites, {truth}"
                    found.append(Case(case, measure, {**way(name, small), **which}, devices=devices(name)))
    return found


def sites(world: str, size: int, pool: int, tested: int, seed: int) -> dict[str, xr.Dataset]:
    """Return sites to learn from, sites like them and, if they are synthetic, sites warmer than all of them."""
    if world == "new-york":
        learnt, near = bp.data.split(bp.data.load(world), by="location", test_fraction=0.2, seed=seed)
        return {"train": some(learnt, size, seed), "near": some(near, tested, seed)}
    everything = bp.data.load(world, sites=pool, seed=seed)
    temperature = everything["soil_temperature"].mean(("layer", "month"))
    cool, warm = (float(temperature.quantile(at)) for at in (COOL, WARM))
    learnt, near = bp.data.split(
        everything.isel(site=(temperature <= cool).to_numpy()), by="location", test_fraction=0.4, seed=seed
    )
    far = everything.isel(site=(temperature > warm).to_numpy())
    chosen = {
        part: some(these, most, seed)
        for part, (these, most) in {"train": (learnt, size), "near": (near, tested), "far": (far, tested)}.items()
    }
    simulated = bp.simulate("binn", everything, seed=seed, like=chosen["train"])
    return {part: simulated.sel(site=these["site"]) for part, these in chosen.items()}


def measure(
    folder: Path,
    model: dict[str, Any],
    method: dict[str, Any],
    world: str,
    size: int,
    pool: int,
    tested: int,
    seed: int,
) -> pd.DataFrame:
    """Learn from some sites, and return what is known of others."""
    parts = sites(world, size, pool, tested, seed)
    fit = fitted(parts["train"], model, method, seed, folder)
    found = []
    for part in ("near", "far"):
        if part in parts:
            tree = fit.predict(parts[part])
            found.append(frame(known(tree) | predictive(tree), part=part))
    return pd.concat([*found, frame(about(fit), part="")]).assign(world=world, size=size, truth=seed)


def page(rows: pd.DataFrame) -> Page:
    """Average over the truths."""
    rows = rows.assign(name=rows["case"].str.extract(r"^(.+), (?:synthetic|new-york), \d+ sites, \d+$")[0])
    summary = averaged(pd.concat([rows, averages(rows), relative_widths(rows)]), KEY)
    names, sizes = list(rows["name"].unique()), sorted(rows["size"].unique())

    def table(world: str, part: str, *shown: tuple[str, str, str, Callable[..., str]]) -> pd.DataFrame:
        cells = {
            f"{size} sites: {title}": [form(*_of(summary, world, size, name, part, of, measure)) for name in names]
            for title, of, measure, form in shown
            for size in sizes
        }
        listed = pd.DataFrame(cells, pd.Index(names, name="method"))
        return listed.loc[:, (listed != "–").any()]

    inside = [(f"true {kind}", kind, recovery.TRUTH_INSIDE, share) for kind in ("processes", "parameters")]
    width = ("sd over that of NUTS", "processes", "relative_sd", value)
    cost = (("seconds", "", "seconds", _seconds), ("converged", "", "converged", _fits))
    few, many = sizes[0], sizes[-1]
    held_against = f"where NUTS has converged ({_converged(rows)} fits)"
    tables = {
        "Sites like those learnt from: share of the truth in 90 % intervals": table("synthetic", "near", *inside),
        "Sites warmer than any learnt from: share of the truth in 90 % intervals": table("synthetic", "far", *inside),
        "Sites like those learnt from: contraction of the parameters (0: nothing learnt, 1: all), and distance of the "
        "ranks of the true processes from uniform (about 0.09 if they are, for 100 sites)": table(
            "synthetic",
            "near",
            ("contraction", "parameters", "contraction", value),
            ("ranks", "processes", "rank_distance", value),
        ),
        f"Widths of the posteriors of the processes, near and far, {held_against}": pd.concat(
            [table("synthetic", part, width).add_suffix(f", {part}") for part in ("near", "far")], axis=1
        ),
        "Seconds on one core, beside another fit, and share of the fits that have converged": table(
            "synthetic", "", *cost
        ),
        "New York: held-out observations in 90 % intervals, their CRPS, and widths of the processes": table(
            "new-york",
            "near",
            ("in 90 %", "", "coverage_90", share),
            ("CRPS", "", "crps", value),
            width,
        ),
        "New York: contraction of the parameters": table(
            "new-york", "near", ("contraction", "parameters", "contraction", value)
        ),
        "New York: seconds on one core, and whether the fits have converged": table("new-york", "", *cost),
    }

    def held(name: str, size: int) -> str:
        found = share(*_of(summary, "synthetic", size, name, "near", "processes", recovery.TRUTH_INSIDE))
        return f"{found} with {name} at {size} sites"

    findings = [
        (
            f"90 % intervals hold so many of the true processes (± standard error over the truths): "
            f"{held('MC dropout', few)}, {held('MC dropout', many)}, {held('NUTS', few)}."
        ),
        f"NUTS has converged in {_converged(rows)} fits of synthetic sites.",
    ]
    tables = {caption: one for caption, one in tables.items() if one.size}
    return Page(tables, {"Share of the truth in 90 % intervals by number of sites": draw(summary, sizes)}, findings)


def _converged(rows: pd.DataFrame) -> str:
    """Return in how many fits of synthetic sites NUTS has converged, of how many."""
    chosen = (rows["name"] == "NUTS") & (rows["measure"] == "converged") & (rows["world"] == "synthetic")
    fits = rows.loc[chosen, "value"]
    return f"{fits.sum():.0f} of {len(fits)}"


def averages(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means over parameters or processes of what each of them has."""
    kinds = {"parameters": (bp.clm5.NAMES, "contraction"), "processes": (bp.clm5.PROCESS_NAMES, "rank_distance")}
    found = []
    for kind, (of, measure) in kinds.items():
        chosen = rows[rows["of"].isin(of) & (rows["measure"] == measure)].assign(of=kind)
        found.append(chosen.groupby([*KEY, "truth"])["value"].mean().reset_index())
    return pd.concat(found)


def relative_widths(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the geometric mean over processes of the sd over that of NUTS for the same sites, where that converged."""
    chosen = rows[(rows["measure"] == "sd") & rows["of"].isin(bp.clm5.PROCESS_NAMES)]
    same = ["world", "size", "part", "of", "truth"]
    good = rows.loc[(rows["measure"] == "converged") & (rows["value"] == 1.0), "case"]
    nuts = chosen[(chosen["name"] == "NUTS") & chosen["case"].isin(good)].set_index(same)["value"].rename("of_nuts")
    chosen = chosen.join(nuts, on=same, how="inner")
    chosen = chosen.assign(of="processes", measure="relative_sd", value=np.log(chosen["value"] / chosen["of_nuts"]))
    return np.exp(chosen.groupby([*KEY, "truth"])["value"].mean()).reset_index()


def _of(
    summary: pd.DataFrame, world: str, size: int, name: str, part: str, of: str, measure: str
) -> tuple[float, float]:
    key = (world, size, name, part, of, measure)
    if key not in summary.index:
        return np.nan, np.nan
    return float(summary.loc[key, "value"]), float(summary.loc[key, "error"])


def _seconds(number: float, error: float) -> str:
    return value(number, digits=0)


def _fits(number: float, error: float) -> str:
    return share(number)


@styled
def draw(summary: pd.DataFrame, sizes: list[int]) -> Figure:
    """Draw the coverage of the true processes by the number of sites, near and far."""
    figure, axes = panels(1, 2, (3.6, 3.4), sharey=True)
    shown = {
        "MC dropout, rate 0.05": ("#D55E00", ":"), "MC dropout": ("#D55E00", "-"),
        "MC dropout, rate 0.4": ("#D55E00", "--"),
        "deep ensemble, batches": ("#CC79A7", "-"), "Laplace": ("#E69F00", "-"), "VI": ("#009E73", "-"),
        "SGHMC": ("#56B4E9", "-"), "NUTS": ("#0072B2", "-"),
    }  # fmt: skip
    for axis, (part, title) in zip(
        axes[0], (("near", "sites like those learnt from"), ("far", "warmer sites")), strict=True
    ):
        for name, (colour, line) in shown.items():
            found = [
                (size, *_of(summary, "synthetic", size, name, part, "processes", recovery.TRUTH_INSIDE))
                for size in sizes
            ]
            at, middle, error = np.array([one for one in found if np.isfinite(one[1])]).reshape(-1, 3).T
            axis.errorbar(
                at,
                100 * middle,
                100 * np.nan_to_num(error),
                color=colour,
                linestyle=line,
                marker="o",
                markersize=3,
                label=name,
            )
        axis.axhline(90, color="black", linewidth=0.8)
        axis.set_xscale("log")
        axis.set_title(title)
        axis.set_xlabel("sites learnt from")
        plain(axis.xaxis)
    axes[0, 0].set_ylabel("true processes in 90 % intervals (%)")
    axes[0, 0].set_ylim(0, 100)
    legend(figure, axes[0, 0])
    return figure


STUDY = Study("mc_dropout", "Can the uncertainty of MC dropout be trusted?", cases, page)

if __name__ == "__main__":
    main(STUDY)
