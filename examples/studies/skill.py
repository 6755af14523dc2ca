"""How well is the carbon of profiles predicted that no method has seen?

    python examples/studies/skill.py             all New York profiles, ten folds: over an hour on two cores
    python examples/studies/skill.py --small     8 profiles, one fold

Methods and five baselines predict folds, of whole locations, from the others: all ten, or fewer where fits are costly.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import first_stage
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingRegressor, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from study import Case, Page, Study, main, over_folds, share, value
from ways import about, devices, fitted, frame, look, predictive, some, titled, way

import binn_prob as bp
from binn_prob import clm5
from binn_prob.results.drawing import legend, panels, styled
from binn_prob.results.scores import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Predictor = Callable[[xr.Dataset], np.ndarray]

METHODS = {
    **dict.fromkeys(("MC dropout, batches", "MC dropout, 3 × 128 units, batches", "VI, batches", "PRODA"), 10),
    "deep ensemble, batches": 5,
    **dict.fromkeys(("Laplace, last layer", "SGHMC, batches"), 2),
    "NUTS": 1,
}
"""Method → how many of the folds it predicts"""
MOST = {"NUTS": 64}
"""Profiles that the costliest method learns from; the others learn from all of nine folds"""
LEFT = -0.1
"""Where the axes of the figure begin; what lies further to the left is told in words"""
EPOCHS = 30
"""Of the networks without a soil model"""
LEVELS = {"nse": "random forest of SOC", "log_nse": "random forest of log SOC"}
"""Measure → baseline that the others are held against in it, fold by fold"""
SHOWN = {"nse": "NSE", "log_nse": "NSE of log SOC", "crps": "CRPS of log SOC"}
"""Measure → how it is called"""


def cases(small: bool) -> list[Case]:
    """Return the first stage of PRODA, and every baseline and method, fold by fold."""
    count, sites, methods = (2, 8, {"MC dropout, batches": 1}) if small else (10, None, METHODS)
    common = {"folds": count, "sites": sites, "seed": 0}
    found = [] if small else [first_stage.case(small)]
    for fold in range(1 if small else count):
        asked = {"fold": fold, **common}
        found += [Case(f"{name}-{fold}", baseline, {"name": name, **asked}) for name in BASELINES]
        found += [
            Case(
                f"{name}-{fold}",
                predicted,
                {**way(name, small), "small": small, "most": MOST.get(name), **asked},
                after=int(name == "PRODA"),
                devices=devices(name),
            )
            for name, number in methods.items()
            if fold < number
        ]
    return found


def split(fold: int, folds: int, sites: int | None, seed: int) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the sites to learn from and those to predict."""
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    return bp.data.splits.folds(profiles, by="location", count=folds, seed=seed)[fold]


def predicted(
    folder: Path, model: dict[str, Any], method: dict[str, Any], small: bool, most: int | None, seed: int, **which: Any
) -> pd.DataFrame:
    """Return how well a method predicts one fold."""
    train, test = split(seed=seed, **which)
    train = some(train, most, seed)
    stage = first_stage.folder_of(small) if method["method"] == "upscaling" else None
    fit = fitted(train, model, method, seed, folder, stage)
    found = predictive(fit.predict(test)) | about(fit)
    return frame(found, sites=train.sizes["site"], fold=which["fold"])


def baseline(folder: Path, name: str, seed: int, **which: Any) -> pd.DataFrame:
    """Return how well a baseline, which gives one number for each observation, predicts one fold."""
    train, test = split(seed=seed, **which)
    guess = BASELINES[name](train, seed)(test)
    observed = test["soc"].transpose("site", "observation").to_numpy()
    there = np.isfinite(observed)
    observed, guess = observed[there], guess[there]
    found = {
        ("", "nse"): Score(float(r2_score(observed, guess))),
        ("", "log_nse"): Score(float(r2_score(np.log(observed), np.log(guess)))),
    }
    return frame(found, sites=train.sizes["site"], fold=which["fold"])


def default_parameters(train: xr.Dataset, seed: int) -> Predictor:
    """CLM5 with its default parameters everywhere: nothing is learnt."""

    def predict(sites: xr.Dataset) -> np.ndarray:
        forcing = clm5.Forcing.from_dataset(sites)
        pools = clm5.steady_state(np.tile(clm5.DEFAULTS, (sites.sizes["site"], 1)), forcing)
        depth = sites["depth"].transpose("site", "observation").to_numpy()
        return np.asarray(clm5.at_depth(clm5.soil_organic_carbon(pools), depth, forcing.bedrock_layer))

    return predict


def one_parameter_set(train: xr.Dataset, seed: int) -> Predictor:
    """CLM5 with the same parameters everywhere, the mode of their posterior: sites differ by their forcing alone."""

    def alike(sites: xr.Dataset) -> xr.Dataset:
        return sites.assign({name: xr.zeros_like(sites[name]) for name in ("continuous", "categorical")})

    fit = bp.fit(
        bp.models.BINN(hidden=()),
        alike(train),
        "deep_ensemble",
        seed=seed,
        progress=False,
        members=1,
        batch_sites=128,
        steps=3000,
        patience=None,
    )

    def predict(sites: xr.Dataset) -> np.ndarray:
        drawn = fit.predict(alike(sites))["posterior/soc_at_depth"].median(("chain", "draw"))
        return drawn.transpose("site", "observation").to_numpy()

    return predict


def forest(of_log: bool) -> Callable[[xr.Dataset, int], Predictor]:
    """Random forest of the covariates and the depth; it learns SOC or its logarithm."""

    def learn(train: xr.Dataset, seed: int) -> Predictor:
        regressor = RandomForestRegressor(n_estimators=500, min_samples_leaf=3, max_features=1 / 3, random_state=seed)
        return regression(regressor, train, of_log)

    return learn


def networks(train: xr.Dataset, seed: int) -> Predictor:
    """Mean of ten networks of the covariates and the depth, which know no soil model; they learn log SOC."""
    one = MLPRegressor(hidden_layer_sizes=(64, 64), alpha=1.0, max_iter=EPOCHS, tol=0.0, n_iter_no_change=EPOCHS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is given
        return regression(
            BaggingRegressor(one, n_estimators=10, bootstrap=False, random_state=seed), train, of_log=True
        )


def regression(regressor: Any, train: xr.Dataset, of_log: bool) -> Predictor:
    """Fit a regression with standardised numbers and a column for each category."""
    continuous, categorical = (train.sizes[f"{kind}_covariate"] for kind in ("continuous", "categorical"))
    columns = make_column_transformer(
        (StandardScaler(), slice(0, continuous + 1)),
        (OneHotEncoder(handle_unknown="ignore"), slice(continuous + 1, continuous + 1 + categorical)),
        sparse_threshold=0.0,
    )
    pipeline = make_pipeline(columns, regressor)
    inputs, there = table(train)
    carbon = train["soc"].transpose("site", "observation").to_numpy()[there]
    scale = np.log(carbon).std() if of_log else carbon.std()
    pipeline.fit(inputs, (np.log(carbon) if of_log else carbon) / scale)

    def predict(sites: xr.Dataset) -> np.ndarray:
        inputs, there = table(sites)
        found = np.full(there.shape, np.nan)
        raw = pipeline.predict(inputs) * scale
        found[there] = np.exp(raw) if of_log else raw
        return found

    return predict


def table(sites: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return a row of depth and covariates for each observation, and where observations are (site, observation)."""
    there = np.isfinite(sites["soc"].transpose("site", "observation").to_numpy())
    covariates = [sites[kind].transpose("site", ...).to_numpy() for kind in ("continuous", "categorical")]
    depth = sites["depth"].transpose("site", "observation").to_numpy()[there]
    of_site = np.nonzero(there)[0]
    return np.column_stack([depth, *(values[of_site] for values in covariates)]), there


BASELINES: dict[str, Callable[[xr.Dataset, int], Predictor]] = {
    "CLM5, default parameters": default_parameters,
    "CLM5, one parameter set": one_parameter_set,
    "random forest of SOC": forest(of_log=False),
    "random forest of log SOC": forest(of_log=True),
    "networks without CLM5": networks,
}
"""What needs no posterior"""


def page(rows: pd.DataFrame) -> Page:
    """Average over the folds."""
    rows = rows.assign(name=rows["case"].str.replace(r"-\d+$", "", regex=True))
    scores, gains = over_folds(rows, "name"), over_folds(against(rows), "name")
    names = [name for name in (*BASELINES, *METHODS) if name in set(rows["name"])]
    folds = rows.groupby("name")["fold"].nunique()
    columns = {"folds": [str(folds[name]) for name in names]}
    columns |= {title: [value(*scores(name, measure)) for name in names] for measure, title in SHOWN.items()}
    columns["coverage of 90 %"] = [share(*scores(name, "coverage_90")) for name in names]
    columns["fits that converged"] = [share(scores(name, "converged")[0]) for name in names]
    for measure, level in LEVELS.items():
        title = f"{SHOWN[measure]} less that of the {level}, same folds"
        columns[title] = [value(*gains(name, measure)) for name in names]

    def best(among: Iterable[str], measure: str) -> str:
        whole = [name for name in among if folds.get(name, 0) == folds[names].max()]
        first = max(whole, key=lambda name: scores(name, measure)[0])
        return f"{first}, {value(*scores(first, measure))}"

    findings = [
        f"Best {SHOWN[measure]} of the methods that predict all folds: {best(METHODS, measure)}; of the baselines: "
        f"{best(BASELINES, measure)}."
        for measure in LEVELS
    ]
    caption = (
        "Held-out profiles, mean over the folds ± standard error of that mean; of a single fold, that over its profiles"
    )
    return Page(
        {caption: pd.DataFrame(columns, pd.Index(titled(names, MOST), name="method"))},
        {"Skill by fold": draw(rows)},
        findings,
    )


def against(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with their values less those of the baseline that they are held against, in the same fold."""
    same = ["fold", "measure"]
    levels = rows[rows["measure"].map(LEVELS) == rows["name"]].set_index(same)["value"].rename("level")
    joined = rows.join(levels, on=same, how="inner")
    return joined.assign(value=joined["value"] - joined["level"], error=np.nan)


@styled
def draw(rows: pd.DataFrame) -> Figure:
    """Draw the skill of every fold."""
    figure, axes = panels(1, 2, (4.2, 3.6), sharey=True)
    names = [name for name in (*BASELINES, *METHODS) if name in set(rows["name"])]
    for axis, (measure, baseline_of) in zip(axes[0], LEVELS.items(), strict=True):
        chosen = rows[rows["measure"] == measure]
        for place, name in enumerate(names):
            found = chosen.loc[chosen["name"] == name, "value"].to_numpy()
            inside = found[found >= LEFT]
            axis.plot(inside, [place] * len(inside), **look(name), linestyle="", markersize=4, alpha=0.6)
            if (mean := found.mean()) >= LEFT:
                axis.plot(mean, place, "|", color="black", markersize=12, label="mean of the folds")
            if left := ", ".join(f"{one:.2f}" for one in found[found < LEFT]):
                where = (found.max(), place)
                axis.annotate(f"and {left}", where, (8, 0), textcoords="offset points", va="center", fontsize=8)
        level = chosen.loc[chosen["name"] == baseline_of, "value"].mean()
        axis.axvline(level, color="black", linewidth=0.8, linestyle=":", label="mean of the forest of the same scale")
        axis.axhline(len(BASELINES) - 0.5, color="black", linewidth=0.8)
        axis.set_yticks(range(len(names)), titled(names, MOST))
        axis.set_xlabel(f"{SHOWN[measure]} (a dot: a fold)")
        axis.set_xlim(LEFT, 0.85)
        axis.set_title("above the line: baselines; below: methods")
    axes[0, 0].invert_yaxis()
    legend(figure, axes[0, 0])
    return figure


STUDY = Study("skill", "How well are profiles predicted that no method has seen?", cases, page)

if __name__ == "__main__":
    main(STUDY)
