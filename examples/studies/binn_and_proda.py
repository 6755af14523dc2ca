"""Do BINN and PRODA retrieve the same processes?

    python examples/studies/binn_and_proda.py             all New York profiles: over an hour on two cores
    python examples/studies/binn_and_proda.py --small     8 profiles and short fits

BINN, by several methods, and PRODA's two stages learn from the same profiles and predict the six processes at the
profiles and in the half-degree cells; the patterns are correlated.  What limits the correlation is then taken
apart: how far a map repeats itself when it is learnt from the other half of the profiles, what the forcing alone would
give, and what both know of a truth that is known, at synthetic sites.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import first_stage
import numpy as np
import pandas as pd
from study import Case, Page, Study, main, value
from ways import SMALL, about, devices, fitted, frame, look, some, titled, way

import binn_prob as bp
from binn_prob import clm5
from binn_prob.results.drawing import legend, panels, styled
from binn_prob.results.scores import Score, correlation, mean_correlation

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from binn_prob.inference import Fit

METHODS = (
    "MC dropout, batches", "MC dropout, 3 × 128 units, batches", "deep ensemble, batches", "VI, batches", "PRODA",
)  # fmt: skip
HALVED = ("MC dropout, 3 × 128 units, batches", "VI, batches", "PRODA")
"""Those that learn from each half of the profiles, too"""
NUTS_SITES = 64
"""Profiles that NUTS learns from"""
REFERENCE, FORCING = "PRODA", "same parameters everywhere"
NOISE_OF = "MC dropout, 3 × 128 units, batches"
"""Method whose agreement with the reference is set against the noise of a half of the profiles"""
TO_REACH = 0.86
"""Published average correlation"""
PROCESSES = clm5.PROCESS_NAMES[1:]
"""All but the plant carbon input, which is forcing, and so the same whatever is learnt"""
HALVES = ("first half", "second half")
WORLDS = ("new-york", "synthetic")
KEY = ["world", "place", "name", "measure", "of"]
"""Columns by which correlations are looked up"""
PAIRS = 500
"""Pairs of draws that a band is made of"""


def cases(small: bool) -> list[Case]:
    """Return the first stage of PRODA, what learns, and what compares; see :mod:`study`."""
    asked = {"sites": 8 if small else None, "synthetic_sites": 8 if small else 256, "seed": 0}
    stage = {"options": SMALL["site_nuts"] if small else {}, "small": small}
    methods = ("MC dropout, batches", "PRODA") if small else METHODS
    found = [first_stage.case(small)]
    worlds = WORLDS[:1] if small else WORLDS
    learnt = {(world, "all"): methods for world in worlds}
    if not small:
        learnt[("new-york", "all")] = (*methods, "NUTS")
        learnt |= {("new-york", part): HALVED for part in HALVES}
    for (world, part), names in learnt.items():
        found += [
            Case(
                f"{name}, {world}, {part}",
                learn,
                {"world": world, "part": part, **way(name, small), "first": stage if name == "PRODA" else None,
                 "most": NUTS_SITES if name == "NUTS" else None, **asked},
                after=int(name == "PRODA"),
                devices=devices(name),
            )
            for name in names
        ]  # fmt: skip
    for world in worlds:
        names = [*methods, FORCING, *(["NUTS"] if world == "new-york" and not small else [])]
        found += [
            Case(f"agreement of {name}, {world}", agree, {"name": name, "world": world, **asked}, after=2)
            for name in names
        ]
    if not small:
        found += [Case(f"halves of {name}", halves, {"name": name, **asked}, after=2) for name in HALVED]
    return found


def profiles(world: str, sites: int | None, synthetic_sites: int, seed: int) -> xr.Dataset:
    """Return the profiles of a world to learn from."""
    if world == "new-york":
        return bp.data.load(world, sites=sites, seed=seed)
    return bp.data.load(world, sites=synthetic_sites, seed=seed)


def places(world: str, sites: int | None, synthetic_sites: int, seed: int) -> dict[str, xr.Dataset]:
    """Return the sites to predict: the profiles and the grid of New York, or other synthetic sites."""
    if world == "new-york":
        return {"profiles": profiles(world, sites, synthetic_sites, seed), "grid": bp.data.load("new-york-grid")}
    return {"other sites": bp.data.load(world, sites=synthetic_sites, seed=seed + 1)}


def learn(
    folder: Path, world: str, part: str, model: dict[str, Any], method: dict[str, Any], first: dict[str, Any] | None,
    most: int | None, seed: int, **which: Any,
) -> pd.DataFrame:  # fmt: skip
    """Fit one half of the profiles or all, keep what it predicts, and return means and standard deviations."""
    train = profiles(world, seed=seed, **which)
    if part != "all":
        train = bp.data.split(train, by="location", test_fraction=0.5, seed=seed)[part == "second half"]
    train = some(train, most, seed)
    fit = fitted(train, model, method, seed, folder / "fit", None if first is None else stage(world, first))
    found = []
    for place, sites in places(world, seed=seed, **which).items():
        drawn = draws_of_processes(fit, sites)
        path = predicted(folder, f"{folder.name}, {place}")
        path.parent.mkdir(exist_ok=True)
        np.save(path, drawn)
        mean, sd = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
        for number, process in enumerate(clm5.PROCESS_NAMES):
            of = {"mean": mean[:, number].mean(), "sd": sd[:, number].mean(), "sd_over_sites": mean[:, number].std()}
            found.append(frame({(process, name): Score(float(score)) for name, score in of.items()}, place=place))
    return pd.concat([*found, frame(about(fit), place="")]).assign(world=world, part=part)


def stage(world: str, first: dict[str, Any]) -> Path | dict[str, Any]:
    """Return where the first stage of PRODA is, or the options that it is to be made with."""
    if world == "new-york":
        return first_stage.folder_of(first["small"])
    return dict(first["options"])


def draws_of_processes(fit: Fit, sites: xr.Dataset) -> np.ndarray:
    """Return some 200 draws of the processes of sites (draw, site, process)."""
    unobserved = sites.isel(observation=slice(1))  # the carbon is not looked at
    drawn = fit.predict(unobserved)["posterior/processes"].transpose("chain", "draw", "site", "process").to_numpy()
    pooled = drawn.reshape(-1, *drawn.shape[2:])
    return pooled[:: max(len(pooled) // 200, 1)]


def predicted(folder: Path, case: str) -> Path:
    """Return where the prediction of a case is kept, from the folder of any case."""
    return folder.parent.parent / "predictions" / f"{case}.npy"


def agree(folder: Path, name: str, world: str, seed: int, **which: Any) -> pd.DataFrame:
    """Return how the patterns of one method go with those of PRODA and, where it is known, with the truth."""
    found = []
    for place, sites in places(world, seed=seed, **which).items():
        once = np.sort(
            np.unique(np.column_stack([sites["longitude"], sites["latitude"]]), axis=0, return_index=True)[1]
        )
        reference = np.load(predicted(folder, f"{REFERENCE}, {world}, all, {place}"))[:, once]
        if name == FORCING:
            forcing = clm5.Forcing.from_dataset(sites)
            alike = np.tile(clm5.DEFAULTS, (sites.sizes["site"], 1))
            drawn = np.asarray(clm5.processes(alike, forcing))[None, once]
        else:
            drawn = np.load(predicted(folder, f"{name}, {world}, all, {place}"))[:, once]
        scores = patterns(drawn, reference, "correlation", seed)
        if "true_processes" in sites:
            truth = sites["true_processes"].transpose("site", "process").to_numpy()[None, once]
            scores |= patterns(drawn, truth, "true_correlation", seed)
        found.append(frame(scores, place=place))
    return pd.concat(found).assign(world=world, part="all", name=name)


def patterns(drawn: np.ndarray, others: np.ndarray, measure: str, seed: int) -> dict[tuple[str, str], Score]:
    """Correlate the means over draws, with bootstrap errors over places, and pairs of draws.

    A process that does not vary over the places has no correlation, and is left out of the average.
    """
    known = [name for name in PROCESSES if np.ptp(drawn[..., column(name)].mean(axis=0)) > 0]
    columns = [column(name) for name in known]
    means, other_means = (values.mean(axis=0)[:, columns] for values in (drawn, others))
    found = {(name, measure): correlation(means[:, at], other_means[:, at], seed) for at, name in enumerate(known)}
    found["average", measure] = mean_correlation(means, other_means, seed)
    random = np.random.default_rng(seed)
    one, other = (random.integers(len(values), size=PAIRS) for values in (drawn, others))
    standard = [standardised(values[:, :, columns]) for values in (drawn, others)]
    pairs = np.mean(standard[0][one] * standard[1][other], axis=1)
    for low, quantile in (("low", 0.05), ("high", 0.95)):
        at = np.quantile(pairs, quantile, axis=0)
        found |= {(name, f"{measure}_{low}"): Score(float(at[place])) for place, name in enumerate(known)}
        found["average", f"{measure}_{low}"] = Score(float(np.quantile(pairs.mean(axis=1), quantile)))
    return found


def column(process: str) -> int:
    """Return where a process is on the last axis."""
    return clm5.PROCESS_NAMES.index(process)


def standardised(values: np.ndarray) -> np.ndarray:
    """Return every draw with mean 0 and standard deviation 1 over the places; 0 where it does not vary."""
    off = values - values.mean(axis=1, keepdims=True)
    width = off.std(axis=1, keepdims=True)
    return np.divide(off, width, out=np.zeros_like(off), where=width > 0)


def halves(folder: Path, name: str, seed: int, **which: Any) -> pd.DataFrame:
    """Return how the patterns that a method learns from one half of the profiles go with those from the other."""
    first, second = (np.load(predicted(folder, f"{name}, new-york, {part}, grid")) for part in HALVES)
    scores = patterns(first, second, "halves", seed)
    return frame(scores, place="grid").assign(world="new-york", part="halves", name=name)


def page(rows: pd.DataFrame) -> Page:
    """Put the correlations side by side."""
    chosen = rows[rows["measure"].isin(["correlation", "halves", "true_correlation"])]
    keyed = chosen.set_index(KEY)[["value", "error"]]
    bands = rows[rows["measure"].str.contains("_(?:low|high)$", na=False)]
    banded = bands.set_index(KEY)["value"]

    def cells(world: str, place: str, measure: str, name: str) -> list[str]:
        texts = []
        for of in (*PROCESSES, "average"):
            key = (world, place, name, measure, of)
            text = value(*keyed.loc[key]) if key in keyed.index else "–"
            if of == "average" and text != "–":
                low, high = (banded[(world, place, name, f"{measure}_{end}", of)] for end in ("low", "high"))
                text += f" ({low:.2f} to {high:.2f})"
            texts.append(text)
        return texts

    def table(world: str, place: str, measure: str) -> pd.DataFrame:
        names = measured(keyed, world, place, measure)
        shown = [name for name in names if (name, measure) != (REFERENCE, "correlation")]  # with itself: 1
        listed = {name: cells(world, place, measure, name) for name in shown}
        heads = [of.replace("_", " ") for of in (*PROCESSES, "average")]
        return pd.DataFrame.from_dict(listed, orient="index", columns=heads).rename_axis("method")

    tables = {
        "Correlation with PRODA over the cells of the New York grid": table("new-york", "grid", "correlation"),
        "Correlation with PRODA over the New York profiles": table("new-york", "profiles", "correlation"),
        "Correlation over the grid of what the two halves of the profiles teach": table("new-york", "grid", "halves"),
        "Synthetic sites: correlation with PRODA": table("synthetic", "other sites", "correlation"),
        "Synthetic sites: correlation with the truth": table("synthetic", "other sites", "true_correlation"),
    }
    tables[
        f"Correlation over the grid of {REFERENCE} and of {NOISE_OF}: what the noise of a half of the profiles "
        "alone would leave of it (the root of the product of what their halves agree by), and what all profiles give"
    ] = noise(keyed)
    tables = {caption: one for caption, one in tables.items() if len(one)}
    tables[
        "Processes over the cells of the New York grid: mean (mean standard deviation of the draws of a cell; standard "
        "deviation of their means over the cells)"
    ] = levels(rows)
    tables["Whether the fits have converged"] = converged(rows)
    best = keyed.xs(("new-york", "grid", "correlation", "average"), level=("world", "place", "measure", "of"))
    best = best.drop(index=[REFERENCE, FORCING], errors="ignore").sort_values("value")
    shown = "not measured"
    if len(best):
        fits = rows[rows["measure"] == "converged"].set_index("case")["value"]
        state = "converged" if fits[f"{best.index[-1]}, new-york, all"] else "not converged"
        shown = f"{best.index[-1]} ({state}), {value(*best.iloc[-1])}"
    reached = f"Average correlation of BINN with PRODA over the New York grid, the best method: {shown}"
    findings = [f"{reached}; to reach: {TO_REACH}."]
    return Page(tables, {"Correlation with PRODA by process": draw(keyed, banded)}, findings)


def noise(keyed: pd.DataFrame) -> pd.DataFrame:
    """Return a table of the correlation that the noise of a half of the profiles leaves, and of that which is found."""

    def correlations(name: str, measure: str) -> pd.Series[float]:
        found = keyed["value"].xs(("new-york", "grid", name, measure), level=KEY[:-1])
        return found.reindex([*PROCESSES, "average"])

    if NOISE_OF not in measured(keyed, "new-york", "grid", "halves"):
        return pd.DataFrame()
    left = np.sqrt(correlations(NOISE_OF, "halves") * correlations(REFERENCE, "halves"))
    columns = {"by the noise of a half alone": left, "found": correlations(NOISE_OF, "correlation")}
    table = pd.DataFrame({title: of.map(value) for title, of in columns.items()}).drop("average")
    return table.rename(lambda of: of.replace("_", " ")).rename_axis("process")


def measured(keyed: pd.DataFrame, world: str, place: str, measure: str) -> list[str]:
    """Return the methods of which there is a measure, in order."""
    index = keyed.index.to_frame()
    there = (index["world"] == world) & (index["place"] == place) & (index["measure"] == measure)
    return list(index.loc[there, "name"].unique())


def levels(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a table of how high the processes are over the grid, and how much they vary."""
    ending, shown = ", new-york, all", ("mean", "sd", "sd_over_sites")
    chosen = rows[rows["case"].str.endswith(ending) & (rows["place"] == "grid") & rows["measure"].isin(shown)]
    keyed = chosen.assign(method=chosen["case"].str.removesuffix(ending)).set_index(["method", "of", "measure"])
    found = keyed["value"]
    listed = {}
    for name in found.index.get_level_values("method").unique():
        of_process = [[found[name, process, measure] for measure in shown] for process in PROCESSES]
        listed[name] = [f"{mean:.3g} ({sd:.2g}; {over_sites:.2g})" for mean, sd, over_sites in of_process]
    heads = [process.replace("_", " ") for process in PROCESSES]
    return pd.DataFrame.from_dict(listed, orient="index", columns=heads).rename_axis("method")


def converged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a table of methods and of what they have learnt from."""
    chosen = rows[rows["measure"] == "converged"]
    parts = chosen["case"].str.extract(r"^(?P<method>.+), (?P<world>new-york|synthetic), (?P<part>.+)$").dropna()
    found = parts.assign(text=np.where(chosen.loc[parts.index, "value"] == 1.0, "yes", "no"))
    found["of"] = found["world"] + ", " + found["part"]
    return found.pivot_table("text", "method", "of", aggfunc="first").fillna("–").rename_axis(columns=None)


@styled
def draw(keyed: pd.DataFrame, banded: pd.Series[float]) -> Figure:
    """Draw the correlations on the grid and at synthetic sites, with their errors and their bands over draws."""
    figure, axes = panels(1, 2, (4.4, 3.9), sharex=True, sharey=True)
    heads = (*PROCESSES, "average")
    shown = (
        ("new-york", "grid", f"New York grid (dotted: {TO_REACH}, to be reached on average)"),
        ("synthetic", "other sites", "synthetic sites"),
    )
    for axis, (world, place, title) in zip(axes[0], shown, strict=True):
        listed = [name for name in measured(keyed, world, place, "correlation") if name != REFERENCE]
        for number, (name, title_of) in enumerate(zip(listed, titled(listed, {"NUTS": NUTS_SITES}), strict=True)):
            for at, of in enumerate(heads):
                key = (world, place, name, "correlation", of)
                if key not in keyed.index:
                    continue
                height = at + 0.8 * (number + 0.5) / len(listed) - 0.4
                ends = [banded[(world, place, name, f"correlation_{end}", of)] for end in ("low", "high")]
                middle, error = keyed.loc[key, ["value", "error"]]
                axis.plot(ends, [height, height], color=look(name)["color"], linewidth=3, alpha=0.3)
                axis.errorbar(middle, height, xerr=error, **look(name), markersize=3.5, linewidth=1, label=title_of)
        axis.axhline(len(PROCESSES) - 0.5, color="black", linewidth=0.8)
        axis.set_title(title)
        axis.set_yticks(range(len(heads)), [of.replace("_", " ") for of in heads])
        axis.set_ylim(len(heads) - 0.5, -0.5)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("correlation with PRODA of the means, ± standard error\n(pale: 90 % of pairs of draws)")
    axes[0, 0].vlines(TO_REACH, len(PROCESSES) - 0.5, len(heads) - 0.5, color="black", linestyle=":")
    legend(figure, axes[0, 0])
    return figure


STUDY = Study("binn_and_proda", "Do BINN and PRODA retrieve the same processes?", cases, page)

if __name__ == "__main__":
    main(STUDY)
