"""Are parameters recovered that are known?

    python examples/studies/recovery.py             all New York sites, ten folds: hours on two cores
    python examples/studies/recovery.py --small     8 sites, two folds

True parameters are a smooth function of the covariates of the New York profiles: their logits are linear in them, with
coefficients drawn anew for each of ten folds of locations.  Their carbon at each profile's own depths, with and without
noise, is what the methods learn from; folds are predicted from the others, all ten of them by several methods where
the published experiment is repeated, fewer elsewhere.  What is lost when the truth is less smooth is shown with
the logits of a wide network, drawn from its prior.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from study import Case, Page, Study, main, over_folds, share, value
from ways import WAYS, about, devices, fitted, frame, known, look, predictive, some, titled, way

import binn_prob as bp
from binn_prob.clm5 import NAMES
from binn_prob.fitting import as_model
from binn_prob.models import at_defaults
from binn_prob.models.fixed import with_fixed
from binn_prob.models.profiles import soil_organic_carbon_profiles
from binn_prob.results.drawing import legend, panels, styled
from binn_prob.results.recovery import TRUTH_INSIDE
from binn_prob.results.scores import Score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOUR = ("efolding", "tau4s3", "fs1s3", "w-scaling")
PUBLISHED = dict(zip(FOUR, (0.76, 0.78, 0.71, 0.70), strict=True)) | {"mean": 0.74, "nse": 0.66}
"""Correlations of the four parameters and NSE of SOC in the published experiment, which adds no noise"""
TO_REACH = 0.85
"""Mean correlation of the four parameters without noise"""
SMOOTH: dict[str, Any] = {"hidden": ()}
ROUGH: dict[str, Any] = {"hidden": (32, 32), "activation": "gelu"}
"""Options of the models whose prior the truth is drawn from"""


class Scenario(NamedTuple):
    """What is to be recovered, and by whom."""

    free: tuple[str, ...]
    """Parameters that vary and are learnt; the others have their defaults, and the methods are told so"""
    noise: float
    """Standard deviation of the logarithm of an observation"""
    truth: dict[str, Any]
    folds: dict[str, int]
    """Method → how many of the folds it predicts"""


LIKE_PUBLISHED = "four parameters, no noise"
_MC_DROPOUT, _LARGE = "MC dropout, batches", "MC dropout, 3 × 128 units, batches"
_ENSEMBLE, _VI = "deep ensemble, batches", "VI, batches"
_LONG_ENSEMBLE, _LONG_VI = "deep ensemble, batches, long", "VI, batches, long"
_THREE, _LINEAR = "three networks, batches, long", "three linear networks, batches, long"
_USUAL = {_MC_DROPOUT: 3, _VI: 3}
SCENARIOS = {
    LIKE_PUBLISHED: Scenario(
        FOUR, 0.0, SMOOTH,
        {
            _MC_DROPOUT: 10, _VI: 10, _LONG_VI: 10, _THREE: 10, _LINEAR: 10, _ENSEMBLE: 5, _LONG_ENSEMBLE: 3, _LARGE: 3,
        },
    ),
    "four parameters, noise": Scenario(FOUR, 0.3, SMOOTH, _USUAL),
    "21 parameters, no noise": Scenario(NAMES, 0.0, SMOOTH, _USUAL),
    "21 parameters, noise": Scenario(
        NAMES, 0.3, SMOOTH, {**_USUAL, _ENSEMBLE: 3, _LARGE: 3, "SGHMC, batches": 1, "NUTS": 1, "PRODA": 1}
    ),
    "four parameters, no noise, rougher truth": Scenario(FOUR, 0.0, ROUGH, {**_USUAL, _LONG_VI: 3, _LARGE: 3}),
}  # fmt: skip
TOLD = "what a profile tells"
MOST = {"NUTS": 32, "PRODA": 128}
"""Profiles that the costliest methods learn from; the others learn from all of nine folds"""


def cases(small: bool) -> list[Case]:
    """Return what a profile tells, and every method in each scenario, fold by fold."""
    count, sites = (2, 8) if small else (10, None)
    found = [Case(TOLD, directions, {"sites": sites, "seed": 0})]
    for scenario, (free, noise, truth, folds) in list(SCENARIOS.items())[: 1 if small else None]:
        fixed = at_defaults(free) if len(free) < len(NAMES) else {}
        for name in list(folds)[: 1 if small else None]:
            asked = way(name, small)
            asked["model"] |= {"fixed": fixed}
            for fold in range(min(folds[name], count)):
                which = {"fold": fold, "folds": count, "sites": sites, "most": MOST.get(name)}
                found.append(
                    Case(
                        f"{name}, {scenario}, fold {fold}",
                        measure,
                        {**asked, **which, "noise": noise, "truth": truth, "seed": 0},
                        devices=devices(name),
                    )
                )
    return found


def measure(
    folder: Path, model: dict[str, Any], method: dict[str, Any], fold: int, folds: int, sites: int | None,
    most: int | None, noise: float, truth: dict[str, Any], seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Learn from all folds but one, and return what is known of that."""
    true_model = as_model("binn", {**truth, "fixed": model["fixed"]})
    simulated = bp.simulate(true_model, bp.data.load("new-york", sites=sites, seed=seed), seed=seed + fold, noise=noise)
    train, test = bp.data.splits.folds(simulated, by="location", count=folds, seed=seed)[fold]
    fit = fitted(some(train, most, seed), model, method, seed, folder)
    tree = fit.predict(test)
    return frame(known(tree) | predictive(tree) | about(fit), fold=fold)


def directions(folder: Path, sites: int | None, seed: int) -> pd.DataFrame:
    """Return in which directions, and how much, the four parameters change the logarithm of a profile's carbon.

    These are the singular values and vectors of its derivative by the logits, at random points of the ranges.
    """
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    model = as_model("binn", {"fixed": at_defaults(FOUR)})
    prepared = model.prepare(profiles, model.encode(profiles))
    points = jax.random.logistic(jax.random.key(seed), (profiles.sizes["site"], len(FOUR)))

    def log_carbon(shift: jax.Array) -> jax.Array:
        unit = with_fixed(jax.nn.sigmoid(points + shift), model.fixed, model.ranges)
        return jnp.log(jnp.where(prepared.mask, soil_organic_carbon_profiles(unit, prepared), 1.0))

    _, values, vectors = np.linalg.svd(jax.jacfwd(log_carbon)(jnp.zeros(len(FOUR))), full_matrices=False)
    strength, shares = np.median(values, axis=0), np.mean(vectors**2, axis=0)
    rows = {("", f"{number}"): Score(float(one)) for number, one in enumerate(strength)}
    for number, row in enumerate(shares):
        rows |= {(of, f"{number}"): Score(float(one)) for of, one in zip(FOUR, row, strict=True)}
    return frame(rows)


def page(rows: pd.DataFrame) -> Page:
    """Average over the folds."""
    told, rows = rows[rows["case"] == TOLD], rows[rows["case"] != TOLD]
    parts = rows["case"].str.extract(r"^(?P<name>.+), (?P<scenario>(?:four|21) parameters, .+), fold \d+$")
    rows = pd.concat([rows, parts], axis=1)
    rows = pd.concat([rows, *(_mean_correlation(one) for _, one in rows.groupby("case"))], ignore_index=True)
    tables = {}
    for scenario, (free, *_) in SCENARIOS.items():
        here = rows[rows["scenario"] == scenario]
        if len(here):
            caption = f"{scenario.capitalize()}: held-out sites, mean over the folds ± its standard error"
            tables[caption] = _table(here, free, scenario == LIKE_PUBLISHED)
    caption = "Sensitivity of a profile's log SOC to the logits of four parameters: singular values and directions"
    tables[caption] = _directions(told)
    exact = rows[rows["scenario"] == LIKE_PUBLISHED]
    scores = over_folds(exact[exact["of"] == "mean"], "name")
    folds = exact.groupby("name")["fold"].nunique()
    whole = folds.index[folds == folds.max()]  # each fold has a truth of its own
    best = max(whole, key=lambda name: scores(name, "recovery_correlation")[0])
    reached = value(*scores(best, "recovery_correlation"))
    members = WAYS[best][1].get("members")
    if members and np.isnan(over_folds(exact[exact["of"] == "parameters"], "name")(best, TRUTH_INSIDE)[0]):
        reached += f" ({members} members, too few for intervals)"
    findings = [
        (
            f"Mean correlation of the four parameters without noise, the best method of all folds: {best}, {reached}; "
            f"to reach: {TO_REACH}; published: {PUBLISHED['mean']}."
        ),
    ]
    return Page(tables, {"Correlation and coverage of the true parameters": draw(rows)}, findings)


def _mean_correlation(of_case: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over parameters of the correlation with the truth, as a row."""
    chosen = of_case[(of_case["measure"] == "recovery_correlation") & of_case["of"].isin(NAMES)]
    mean = chosen["value"].fillna(0.0).mean()  # what does not vary goes with nothing
    return of_case.head(1).assign(of="mean", measure="recovery_correlation", value=mean, error=np.nan)


def _table(rows: pd.DataFrame, free: tuple[str, ...], published: bool) -> pd.DataFrame:
    """Return correlations, coverage and skill by method, with those of the published experiment if asked for."""
    names = list(rows["name"].unique())
    shown = (*FOUR, "mean") if len(free) == len(FOUR) else ("mean", *FOUR)
    columns = {}
    for of in shown:
        scores = over_folds(rows[rows["of"] == of], "name")
        columns[f"r, {of}"] = [value(*scores(name, "recovery_correlation")) for name in names]
    for of in ("parameters", "processes"):
        scores = over_folds(rows[rows["of"] == of], "name")
        columns[f"true {of} in 90 %"] = [share(*scores(name, TRUTH_INSIDE)) for name in names]
    scores = over_folds(rows[rows["of"] == ""], "name")
    columns["NSE of SOC"] = [value(*scores(name, "nse")) for name in names]
    columns["fits that converged"] = [share(scores(name, "converged")[0]) for name in names]
    columns["folds"] = [str(rows.loc[rows["name"] == name, "fold"].nunique()) for name in names]
    table = pd.DataFrame(columns, pd.Index(titled(names, MOST), name="method"))
    if published:
        table.loc["published"] = [f"{PUBLISHED[of]:.2f}" for of in shown] + [
            "–",
            "–",
            f"{PUBLISHED['nse']:.2f}",
            "–",
            "10",
        ]
    return table


def _directions(told: pd.DataFrame) -> pd.DataFrame:
    """Return how strong the directions are, and what they consist of."""
    table = told.pivot_table("value", "measure", "of")
    columns = {
        "change of log SOC, root sum of squares over the depths (median over the profiles)": [
            f"{one:.4f}" for one in table[""]
        ]
    }
    columns |= {f"share of {of}": [f"{one:.2f}" for one in table[of]] for of in FOUR}
    return pd.DataFrame(columns, pd.Index(["first", "second", "third", "fourth"], name="direction"))


def _places(rows: pd.DataFrame) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
    """Return how far down the figure the heading of each scenario stands, and each of its methods."""
    headings, places, place = {}, {}, 0.0
    for scenario in SCENARIOS:
        names = rows.loc[rows["scenario"] == scenario, "name"].unique()
        if len(names):
            headings[scenario] = place
            places |= {(scenario, str(name)): place + number for number, name in enumerate(names, start=1)}
            place += len(names) + 1.5
    return headings, places


@styled
def draw(rows: pd.DataFrame) -> Figure:
    """Draw the mean correlation and the coverage by scenario and method, a dot for each fold."""
    figure, axes = panels(1, 2, (4.2, 5.6), sharey=True)
    correlation, coverage = axes[0]
    drawn = {
        correlation: ("mean", "recovery_correlation", 1.0, "mean correlation with the truth"),
        coverage: ("parameters", TRUTH_INSIDE, 100.0, "true parameters in 90 % intervals (%)"),
    }
    headings, places = _places(rows)
    for scenario, place in headings.items():
        correlation.text(0.01, place, scenario, transform=correlation.get_yaxis_transform(), va="center", fontsize=9)
    for (scenario, name), place in places.items():
        here = rows[(rows["scenario"] == scenario) & (rows["name"] == name)]
        for axis, (of, which, times, _) in drawn.items():
            found = times * here.loc[(here["of"] == of) & (here["measure"] == which), "value"]
            axis.plot(found, [place] * len(found), **look(name), linestyle="", markersize=4, alpha=0.6)
            if len(found):
                axis.plot(found.mean(), place, "|", color="black", markersize=10, label="mean of the folds")
    ends = [place for (scenario, _), place in places.items() if scenario == LIKE_PUBLISHED]
    for at, line, what in ((PUBLISHED["mean"], ":", "published"), (TO_REACH, "--", "to reach")):
        correlation.vlines(
            at, ends[0] - 0.5, ends[-1] + 0.5, color="black", linewidth=1, linestyle=line, label=f"{what}: {at}"
        )
    for axis, (*_, title) in drawn.items():
        axis.set_xlabel(f"{title}\n(a dot: a fold)")
    correlation.set_yticks(list(places.values()), titled((name for _, name in places), MOST))
    coverage.axvline(90, color="black", linewidth=0.8)
    coverage.text(89, 0.0, "asked for: 90 %", ha="right", va="center", fontsize=8)
    coverage.set_xlim(-3, 100)
    correlation.set_ylim(max(places.values()) + 0.8, -0.7)
    legend(figure, correlation)
    return figure


STUDY = Study("recovery", "Are parameters recovered that are known?", cases, page)

if __name__ == "__main__":
    main(STUDY)
