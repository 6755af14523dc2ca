"""What PRODA's sampler does to the widths of the posteriors of single profiles.

    python examples/studies/proda_sampler.py             50 New York profiles: half an hour of one core
    python examples/studies/proda_sampler.py --small     4 profiles and short chains

PRODA's own posterior of a profile, with its likelihood, ranges and column, is sampled by Hamiltonian Monte Carlo and by
PRODA's Metropolis: as published, with each of its departures alone, and with none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from study import Case, Page, Study, main, value
from ways import SMALL

import binn_prob as bp
from binn_prob.models.likelihoods import ProdaLikelihood
from binn_prob.results import convergence
from binn_prob.results.distance import spread
from binn_prob.results.drawing import panels, plain, styled
from binn_prob.results.scores import Score, median

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPARTURES = ("annealing", "accepted_only", "truncated_proposals", "best_chain_only")
REFERENCE, CORRECTED, PUBLISHED = "site_nuts", "none of the four", "as published"
VARIANTS: dict[str, tuple[str, ...]] = {
    CORRECTED: (),
    "annealing alone": ("annealing",),
    "accepted draws alone": ("accepted_only",),
    "truncated proposals alone": ("truncated_proposals",),
    "best chain alone": ("best_chain_only",),
    PUBLISHED: DEPARTURES,
}
"""Which of the departures are on"""
FEWEST = 10
"""Converged profiles below which the tables are of all, as in small runs"""


def cases(small: bool) -> list[Case]:
    """Return Hamiltonian Monte Carlo, and PRODA's sampler with each of its departures."""
    sites = {"sites": 4 if small else 50, "seed": 0}
    reference = {"method": "site_nuts", "options": SMALL["site_nuts"] if small else {"rounds": 3}, **sites}
    variants = {
        name: {one: one in on for one in DEPARTURES} | (SMALL["proda_metropolis"] if small else {})
        for name, on in VARIANTS.items()
        if not small or name in (CORRECTED, PUBLISHED)
    }
    return [
        Case(REFERENCE, measure, reference),
        *(
            Case(name, measure, {"method": "proda_metropolis", "options": options, **sites})
            for name, options in variants.items()
        ),
    ]


def measure(folder: Path, method: str, options: dict[str, Any], sites: int, seed: int) -> pd.DataFrame:
    """Return mean and standard deviation of every parameter and process at every profile."""
    profiles = bp.data.load("new-york", sites=sites, seed=seed)
    model = bp.models.SiteModel(likelihood=ProdaLikelihood(), ranges="proda", column="published")
    fit = bp.fit(model, profiles, method, seed=seed, progress=False, checkpoint=folder, resume=True, **options)
    tree, rows = fit.posterior(), []
    for kind, dimension in (("parameters", "parameter"), ("processes", "process")):
        middle, width = spread(tree, kind)
        rows.append(
            pd.DataFrame(
                {
                    "kind": kind,
                    "site": np.repeat(middle["site"].to_numpy(), middle.sizes[dimension]),
                    "of": np.tile(middle[dimension].to_numpy(), middle.sizes["site"]),
                    "mean": middle.transpose("site", dimension).to_numpy().ravel(),
                    "sd": width.transpose("site", dimension).to_numpy().ravel(),
                }
            )
        )
    judged = convergence.by_site(tree)[["r_hat", "ess_bulk", "converged"]].to_dataframe()
    return pd.concat(rows).join(judged, on="site")


def page(rows: pd.DataFrame) -> Page:
    """Hold every variant against Hamiltonian Monte Carlo."""
    held = rows[rows["case"] == REFERENCE].groupby("site")["converged"].first()
    number = int(held.sum())
    if number >= FEWEST:
        rows = rows[rows["site"].isin(held.index[held.astype(bool)])]
    ratio, shift, widths = {}, {}, {}
    variants = [name for name in VARIANTS if name in set(rows["case"])]
    for kind in ("parameters", "processes"):
        mean, sd = (_tables(rows, kind, column) for column in ("mean", "sd"))
        known = (sd[REFERENCE] > 0).all()  # the plant carbon input is forcing
        for name in variants:
            ratio[name, kind] = (sd[name] / sd[REFERENCE]).loc[:, known]
            shift[name, kind] = ((mean[name] - mean[REFERENCE]) / sd[REFERENCE]).loc[:, known]
        widths[f"all {kind}"] = {name: _text(median(_geometric(ratio[name, kind]))) for name in variants}
        widths[f"all {kind}, over {CORRECTED}"] = {
            name: _text(median(_geometric(ratio[name, kind] / ratio[CORRECTED, kind]))) for name in variants
        }
    widths |= {
        of.replace("_", " "): {name: _text(median(ratio[name, "processes"][of].to_numpy())) for name in variants}
        for of in ratio[PUBLISHED, "processes"]
    }
    worst = rows.groupby("case").agg({"r_hat": "max", "ess_bulk": "min"})
    others = {
        "difference of means, parameters": {name: _text(median(_size(shift[name, "parameters"]))) for name in variants},
        "difference of means, processes": {name: _text(median(_size(shift[name, "processes"]))) for name in variants},
        "largest R-hat": {name: value(worst.loc[name, "r_hat"]) for name in variants},
        "fewest effective draws": {name: value(worst.loc[name, "ess_bulk"], digits=0) for name in variants},
    }
    tables = {
        "Standard deviation, over that of Hamiltonian Monte Carlo (median over the profiles)": pd.DataFrame(widths),
        "Root mean square over parameters or processes of the difference of the means, in standard deviations of "
        "Hamiltonian Monte Carlo (median over the profiles), and the chains": pd.DataFrame(others),
    }
    published = median(_geometric(ratio[PUBLISHED, "parameters"]))
    corrected = median(_geometric(ratio[CORRECTED, "parameters"]))
    findings = [
        (
            f"Standard deviations of the parameters, over those of the posterior: {_text(published)} as published, "
            f"{_text(corrected)} with the four departures off."
        ),
        (
            f"Hamiltonian Monte Carlo, the reference, has converged at {number} of {len(held)} profiles; the tables "
            f"are of {'these' if number >= FEWEST else 'all'}."
        ),
    ]
    return Page(tables, {"Widths of the posteriors by departure": draw(ratio)}, findings)


@styled
def draw(ratio: dict[tuple[str, str], pd.DataFrame]) -> Figure:
    """Draw the ratios of all profiles and quantities, by departure."""
    figure, axes = panels(1, 2, (4.2, 3.0), sharex=True, sharey=True)
    for axis, kind in zip(axes[0], ("parameters", "processes"), strict=True):
        variants = [name for name in VARIANTS if (name, kind) in ratio]
        found = [ratio[name, kind].to_numpy().ravel() for name in variants]
        axis.boxplot(
            [values[values > 0] for values in found], orientation="horizontal", whis=(5, 95), showfliers=False,
            medianprops={"color": "black", "linewidth": 2}, boxprops={"color": "0.5"},
        )  # fmt: skip
        axis.set_yticks(range(1, len(variants) + 1), variants)
        axis.axvline(1.0, color="black", linewidth=0.8, linestyle=":")
        axis.set_xscale("log")
        axis.set_title(f"all {kind} and profiles")
    for axis in axes[0]:
        plain(axis.xaxis)
    axes[0, 0].invert_yaxis()
    figure.supxlabel("sd over that of Hamiltonian Monte Carlo (line: median; box: 25 to 75 %; whiskers: 5 to 95 %)")
    return figure


def _tables(rows: pd.DataFrame, kind: str, column: str) -> dict[str, pd.DataFrame]:
    """Return a column of the rows by variant: a table of profiles and parameters or processes."""
    chosen = rows[rows["kind"] == kind]
    return {str(case): one.pivot_table(column, "site", "of") for case, one in chosen.groupby("case")}


def _geometric(table: pd.DataFrame) -> np.ndarray:
    """Return the geometric mean over quantities at every site."""
    with np.errstate(divide="ignore"):
        return np.exp(np.log(table.to_numpy()).mean(axis=1))


def _size(table: pd.DataFrame) -> np.ndarray:
    """Return the root mean square over quantities at every site."""
    return np.sqrt((table.to_numpy() ** 2).mean(axis=1))


def _text(score: Score) -> str:
    return value(*score)


STUDY = Study("proda_sampler", "What PRODA's sampler does to the widths of its posteriors", cases, page)

if __name__ == "__main__":
    main(STUDY)
