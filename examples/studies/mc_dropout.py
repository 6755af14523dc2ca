"""Can the uncertainty of MC dropout be trusted?

    python examples/studies/mc_dropout.py             hours on two cores
    python examples/studies/mc_dropout.py --small     few sites and short fits

Truths are drawn from the prior of the model that most methods fit, likelihood included, so that its posterior itself
covers as it says; networks of 3 × 128 units and NeuralPrior are other models.  Methods learn from 32, 128 and 512 sites
of a cool climate and predict others of it, and sites warmer than any that they have seen.  New York's profiles, whose
truth nobody knows, are held against NUTS.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from study import Case, Page, Study, averaged, main, of_means, share, value
from ways import about, devices, fitted, frame, known, look, predictive, some, way

import binn_prob as bp
from binn_prob.results import recovery
from binn_prob.results.drawing import legend, panels, plain, styled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Means = Callable[..., tuple[float, float]]

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
PARTS = {"near": "sites like those learnt from", "far": "warmer sites"}
REFERENCES = {"NUTS": True, "SGHMC": False}
"""Method that widths are set over → whether over those of its fits alone that have converged"""
SHOWN = (
    "MC dropout, rate 0.05", "MC dropout", "MC dropout, rate 0.4", "MC dropout, 3 × 128 units",
    "deep ensemble, batches", "Laplace", "VI", "SGHMC", "NUTS",
)  # fmt: skip
"""Methods in the figure"""
LINES = {"MC dropout, rate 0.05": ":", "MC dropout, rate 0.4": "--", "MC dropout, 3 × 128 units": "-."}
"""Lines of those that share their colour with another"""


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
    relative = [relative_widths(rows, name, converged) for name, converged in REFERENCES.items()]
    of = of_means(averaged(pd.concat([rows, averages(rows), *relative, widenings(rows)]), KEY))
    sizes = sorted(rows["size"].unique())
    figure = draw(of, sizes)
    shows = f"Share of the true processes in 90 % intervals by number of sites, and by width at {sizes[0]} sites"
    return Page(tables(rows, of, sizes), {shows: figure}, findings(rows, of, sizes))


class Column(NamedTuple):
    """What a table shows at each number of sites."""

    title: str
    part: str
    of: str
    measure: str
    form: Callable[..., str]
    """Writes a mean and its error"""


def inside(part: str) -> list[Column]:
    """Return columns of the shares of true processes and parameters in the intervals."""
    return [
        Column(f"true {kind}", part, kind, recovery.TRUTH_INSIDE, share) for kind in ("processes", "parameters")
    ]  # fmt: skip


def widths(reference: str, digits: int = 2) -> list[Column]:
    """Return columns of the widths of the processes relative to those of a method, near and far."""
    form = partial(value, digits=digits)
    return [Column(f"sd over that of {reference}, {part}", part, "processes", over(reference), form) for part in PARTS]


def table(of: Means, names: Sequence[str], sizes: Sequence[int], world: str, columns: Sequence[Column]) -> pd.DataFrame:
    """Return a row for each method, and columns for the numbers of sites at which there is something."""
    cells = {
        f"{size} sites: {one.title}": [
            one.form(*of(world, size, name, one.part, one.of, one.measure)) for name in names
        ]
        for one in columns
        for size in sizes
    }
    listed = pd.DataFrame(cells, pd.Index(names, name="method"))
    return listed.loc[:, (listed != "–").any()]


def tables(rows: pd.DataFrame, of: Means, sizes: Sequence[int]) -> dict[str, pd.DataFrame]:
    """Return every table that has something in it."""
    synthetic, new_york = (
        partial(table, of, list(rows["name"].unique()), sizes, world) for world in ("synthetic", "new-york")
    )
    contraction = Column("contraction", "near", "parameters", "contraction", value)
    ranks = Column("ranks", "near", "processes", "rank_distance", value)
    widening = Column("sd far over sd near", "", "processes", "widening", value)
    skill = {"coverage_90": "in 90 %", "log_nse": "NSE of log SOC", "nse": "NSE", "crps": "CRPS"}
    predicted = [
        Column(title, "near", "", name, share if name == "coverage_90" else value) for name, title in skill.items()
    ]
    cost = [Column("seconds", "", "", "seconds", _seconds), Column("converged", "", "", "converged", _fits)]
    found = {
        "Sites like those learnt from: share of the truth in 90 % intervals": synthetic(inside("near")),
        "Sites warmer than any learnt from: share of the truth in 90 % intervals": synthetic(inside("far")),
        "Sites like those learnt from: contraction of the parameters (0: nothing learnt, 1: all), and distance of the "
        "ranks of the true processes from uniform (to be held against that of NUTS and SGHMC: the sites of a truth "
        "share its network, so that even the ranks of the posterior are not uniform)": synthetic([contraction, ranks]),
        "Widths of the posteriors of the processes: over that of NUTS, near and far, where NUTS has converged "
        f"({_converged(rows)} fits), and far over near, of all fits (geometric means over sites and "
        "processes)": synthetic([*widths("NUTS"), widening]),
        "Widths of the posteriors of the processes over that of SGHMC, near and far, whether it has converged or "
        "not": synthetic(widths("SGHMC")),
        "Seconds on one core, beside another fit, and share of the fits that have converged": synthetic(cost),
        "New York: held-out observations in 90 % intervals, NSE of log SOC and of SOC, CRPS of log SOC, and widths of "
        "the processes": new_york([*predicted, *widths("NUTS", digits=3)]),
        "New York: contraction of the parameters": new_york([contraction]),
        "New York: seconds on one core, and whether the fits have converged": new_york(cost),
    }
    return {caption: one for caption, one in found.items() if one.size}


def findings(rows: pd.DataFrame, of: Means, sizes: Sequence[int]) -> list[str]:
    """Return how much of the truth the intervals hold, and what that is held against."""

    def held(name: str, size: int) -> str:
        found = share(*of("synthetic", size, name, "near", "processes", recovery.TRUTH_INSIDE))
        return f"{found} with {name} at {size} sites"

    few, many = sizes[0], sizes[-1]
    return [
        (
            f"90 % intervals hold so many of the true processes (± standard error over the truths): "
            f"{held('MC dropout', few)}, {held('MC dropout', many)}, {held('NUTS', few)}."
        ),
        f"NUTS has converged in {_converged(rows)} fits of synthetic sites.",
    ]


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


def over(reference: str) -> str:
    """Return what the width relative to that of a method is called in the rows."""
    return f"sd_over_{reference}"


def relative_widths(rows: pd.DataFrame, reference: str, converged: bool) -> pd.DataFrame:
    """Return the geometric mean over processes of the sd over that of a reference for the same sites.

    Asked for, it is of those fits of the reference alone that have converged.
    """
    chosen = _widths(rows)
    same = ["world", "size", "part", "of", "truth"]
    held = chosen[chosen["name"] == reference]
    if converged:
        good = rows.loc[(rows["measure"] == "converged") & (rows["value"] == 1.0), "case"]
        held = held[held["case"].isin(good)]
    chosen = chosen.join(held.set_index(same)["value"].rename("held"), on=same, how="inner")
    return _geometric(chosen.assign(value=chosen["value"] / chosen["held"]), over(reference))


def widenings(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the geometric mean over processes of the sd far from what was learnt over that near it."""
    same = ["world", "size", "name", "of", "truth"]
    near, far = (one.set_index(same)["value"] for one in (_widths(rows, "near"), _widths(rows, "far")))
    return _geometric((far / near).dropna().reset_index().assign(part=""), "widening")


def _widths(rows: pd.DataFrame, part: str | None = None) -> pd.DataFrame:
    """Return the rows of the standard deviations of processes, of one part of the sites or of all."""
    chosen = rows[(rows["measure"] == "sd") & rows["of"].isin(bp.clm5.PROCESS_NAMES)]
    return chosen if part is None else chosen[chosen["part"] == part]


def _geometric(ratios: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the geometric means over processes, as rows of a measure."""
    named = ratios.assign(of="processes", measure=measure, value=np.log(ratios["value"]))
    return np.exp(named.groupby([*KEY, "truth"])["value"].mean()).reset_index()


def _seconds(number: float, error: float) -> str:
    return value(number, digits=0)


def _fits(number: float, error: float) -> str:
    return share(number)


@styled
def draw(of: Means, sizes: Sequence[int]) -> Figure:
    """Draw the coverage of the true processes by the number of sites, near and far, and by width at the fewest."""
    figure, axes = panels(1, 3, (3.4, 3.4), sharey=True)
    *by_size, by_width = axes[0]
    for axis, part in zip(by_size, PARTS, strict=True):
        _draw_by_size(axis, of, sizes, part)
    _draw_by_width(by_width, of, sizes[0])
    for axis in axes[0]:
        axis.axhline(90, color="black", linewidth=0.8)
    axes[0, 0].set_ylabel("true processes in 90 % intervals (%)")
    axes[0, 0].set_ylim(0, 100)
    legend(figure, axes[0, 0])
    return figure


def _draw_by_size(axis: Axes, of: Means, sizes: Sequence[int], part: str) -> None:
    """Draw coverage by the number of sites, the methods beside one another."""
    for number, name in enumerate(SHOWN):
        found = [of("synthetic", size, name, part, "processes", recovery.TRUTH_INSIDE) for size in sizes]
        middle, error = 100 * np.array(found).T
        beside = 0.055 * (number - (len(SHOWN) - 1) / 2)
        axis.errorbar(
            np.arange(len(sizes)) + beside, middle, np.nan_to_num(error), **look(name), markersize=3.5,
            linestyle=LINES.get(name, "-"), linewidth=1.0, label=name,
        )  # fmt: skip
    axis.set_title(f"{PARTS[part]} ({part})")
    axis.set_xticks(range(len(sizes)), list(map(str, sizes)))
    axis.set_xlim(-0.5, len(sizes) - 0.5)
    axis.set_xlabel("sites learnt from\n(bars: one standard error over the truths)")
    axis.text(len(sizes) - 0.55, 91, "asked for: 90 %", ha="right", va="bottom", fontsize=8)


def _draw_by_width(axis: Axes, of: Means, size: int) -> None:
    """Draw coverage by width, near and far."""
    for name in SHOWN:
        width, held = (
            np.array([of("synthetic", size, name, part, "processes", measure)[0] for part in PARTS])
            for measure in (over("NUTS"), recovery.TRUTH_INSIDE)
        )
        axis.plot(width, 100 * held, color=look(name)["color"], linestyle=LINES.get(name, "-"), linewidth=1.0)
        for sd, here, face in zip(width, 100 * held, (None, "white"), strict=True):
            axis.plot(sd, here, **look(name), markersize=5, markerfacecolor=face)
    axis.set_xscale("log")
    axis.set_xlim(0.003, 2.0)
    axis.axvline(1.0, color="black", linewidth=0.8)
    axis.set_title(f"{size} sites, near (filled) and far (open)")
    axis.set_xlabel("sd of the processes over that of NUTS")
    plain(axis.xaxis)


STUDY = Study("mc_dropout", "Can the uncertainty of MC dropout be trusted?", cases, page)

if __name__ == "__main__":
    main(STUDY)
