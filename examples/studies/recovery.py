"""Are parameters recovered that are known?

    python examples/studies/recovery.py             all New York sites, ten folds: hours on two cores
    python examples/studies/recovery.py --small     8 sites, two folds

True parameters are a smooth function of the covariates of the New York profiles: what a network draws from its prior
that is wider, deeper and of another activation than those that are fitted.  Their carbon at each profile's own depths,
with and without noise, is what the methods learn from; each of ten folds of locations is predicted from the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from study import Case, Page, Study, main, over_folds, share, value
from ways import about, fitted, frame, known, predictive, way

import binn_prob as bp
from binn_prob.clm5 import NAMES
from binn_prob.fitting import as_model
from binn_prob.models import at_defaults
from binn_prob.results.drawing import legend, panels, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOUR = ("efolding", "tau4s3", "fs1s3", "w-scaling")
PUBLISHED = dict(zip(FOUR, (0.76, 0.78, 0.71, 0.70), strict=True)) | {"mean": 0.74, "nse": 0.66}
"""Correlations of the four parameters and NSE of SOC in the published experiment, which adds no noise"""
SCENARIOS = {
    "four parameters, no noise": (FOUR, 0.0),
    "four parameters, noise": (FOUR, 0.3),
    "21 parameters, no noise": (NAMES, 0.0),
    "21 parameters, noise": (NAMES, 0.3),
}
"""Free parameters, and standard deviation of the logarithm of an observation"""
METHODS = ("MC dropout", "MC dropout, 3 × 128 units", "deep ensemble, batches", "VI", "SGHMC, batches")
TRUTH = {"hidden": [32, 32], "activation": "gelu"}
"""The network that the truth is drawn from"""


def cases(small: bool) -> list[Case]:
    count, sites, methods = (2, 8, METHODS[:1]) if small else (10, None, METHODS)
    found = []
    for scenario, (free, noise) in list(SCENARIOS.items())[: 1 if small else None]:
        fixed = at_defaults(free) if len(free) < len(NAMES) else {}
        for name in methods:
            asked = way(name, small)
            asked["model"] |= {"fixed": fixed}
            for fold in range(count):
                which = {"fold": fold, "folds": count, "sites": sites, "noise": noise, "seed": 0}
                found.append(Case(f"{name}, {scenario}, fold {fold}", measure, {**asked, **which}))
    return found


def measure(
    folder: Path, model: dict[str, Any], method: dict[str, Any], fold: int, folds: int, sites: int | None,
    noise: float, seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Learn from all folds but one, and return what is known of that."""
    truth = as_model("binn", {**TRUTH, "fixed": model["fixed"]})
    simulated = bp.simulate(truth, bp.data.load("new-york", sites=sites, seed=seed), seed=seed, noise=noise)
    train, test = bp.data.splits.folds(simulated, by="location", count=folds, seed=seed)[fold]
    fit = fitted(train, model, method, seed, folder)
    tree = fit.predict(test)
    return frame(known(tree) | predictive(tree) | about(fit), fold=fold)


def page(rows: pd.DataFrame) -> Page:
    """Average over the folds."""
    parts = rows["case"].str.extract(r"^(?P<name>.+), (?P<scenario>(?:four|21) parameters, .+), fold \d+$")
    rows = pd.concat([rows, parts], axis=1)
    rows = pd.concat([rows, *(_mean_correlation(one) for _, one in rows.groupby("case"))], ignore_index=True)
    tables = {}
    for scenario, (free, _) in SCENARIOS.items():
        here = rows[rows["scenario"] == scenario]
        if len(here):
            tables[f"{scenario.capitalize()}: held-out sites, mean over the folds ± its standard error"] = _table(
                here, free
            )
    exact = rows[rows["scenario"] == next(iter(SCENARIOS))]
    scores = over_folds(exact[exact["of"] == "mean"], "name")
    best = max(exact["name"].unique(), key=lambda name: scores(name, "recovery_correlation")[0])
    reached = value(*scores(best, "recovery_correlation"))
    findings = [
        (
            f"Mean correlation of the four parameters without noise, the best method: {best}, {reached}; "
            f"to reach: 0.85; published: {PUBLISHED['mean']}."
        ),
    ]
    return Page(tables, {"Correlation and coverage of the true parameters": draw(rows)}, findings)


def _mean_correlation(of_case: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over parameters of the correlation with the truth, as a row."""
    chosen = of_case[(of_case["measure"] == "recovery_correlation") & of_case["of"].isin(NAMES)]
    mean = chosen["value"].fillna(0.0).mean()  # what does not vary goes with nothing
    return of_case.head(1).assign(of="mean", measure="recovery_correlation", value=mean, error=np.nan)


def _table(rows: pd.DataFrame, free: tuple[str, ...]) -> pd.DataFrame:
    """Return correlations, coverage and skill by method."""
    names = list(rows["name"].unique())
    shown = (*FOUR, "mean") if len(free) == len(FOUR) else ("mean", *FOUR)
    columns = {}
    for of in shown:
        scores = over_folds(rows[rows["of"] == of], "name")
        columns[f"r, {of}"] = [value(*scores(name, "recovery_correlation")) for name in names]
    for of in ("parameters", "processes"):
        scores = over_folds(rows[rows["of"] == of], "name")
        columns[f"true {of} in 90 %"] = [share(*scores(name, "true_90")) for name in names]
    scores = over_folds(rows[rows["of"] == ""], "name")
    columns["NSE of SOC"] = [value(*scores(name, "nse")) for name in names]
    columns["seconds per fold"] = [value(scores(name, "seconds")[0], digits=0) for name in names]
    if len(free) == len(FOUR):
        published = [f"{PUBLISHED[of]:.2f}" for of in shown] + ["–", "–", f"{PUBLISHED['nse']:.2f}", "–"]
        return (
            pd.DataFrame(columns, pd.Index(names, name="method")).T.assign(published=published).T.rename_axis("method")
        )
    return pd.DataFrame(columns, pd.Index(names, name="method"))


@styled
def draw(rows: pd.DataFrame) -> Figure:
    """Draw the mean correlation and the coverage by scenario and method, a dot for each fold."""
    figure, axes = panels(1, 2, (4.4, 3.4), sharey=True)
    names = list(rows["name"].unique())
    shown = (("mean", "recovery_correlation", "mean correlation with the truth"),
             ("parameters", "true_90", "true parameters in 90 % intervals"))  # fmt: skip
    for axis, (of, which, title) in zip(axes[0], shown, strict=True):
        chosen = rows[(rows["of"] == of) & (rows["measure"] == which)]
        for number, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
            for at, scenario in enumerate(SCENARIOS):
                found = chosen.loc[(chosen["name"] == name) & (chosen["scenario"] == scenario), "value"]
                height = at + 0.8 * (number + 0.5) / len(names) - 0.4
                axis.plot(found, [height] * len(found), "o", color=colour, markersize=3, alpha=0.6, label=name)
        axis.set_yticks(range(len(SCENARIOS)), list(SCENARIOS))
        axis.set_xlabel(title)
    axes[0, 0].axvline(PUBLISHED["mean"], color="black", linewidth=0.8, linestyle=":")
    axes[0, 1].axvline(0.9, color="black", linewidth=0.8)
    axes[0, 0].invert_yaxis()
    legend(figure, axes[0, 0])
    return figure


COLOURS = ("#D55E00", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#0072B2", "#000000")

STUDY = Study("recovery", "Are parameters recovered that are known?", cases, page)

if __name__ == "__main__":
    main(STUDY)
