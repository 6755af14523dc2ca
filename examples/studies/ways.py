"""Ways to a posterior that several studies compare, and what they measure of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import binn_prob as bp
from binn_prob.fitting import as_model
from binn_prob.results import convergence, recovery, skill
from binn_prob.results.distance import spread
from binn_prob.results.scores import Score

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.inference import Fit

__all__ = [
    "BINN_NETWORK",
    "COLOURS",
    "SMALL",
    "WAYS",
    "about",
    "devices",
    "fitted",
    "frame",
    "known",
    "look",
    "predictive",
    "some",
    "titled",
    "way",
    "worth",
]

BINN_NETWORK = {"hidden": [128, 128, 128], "activation": "leaky_relu"}
"""As large as that of BINN's program"""
_LONG = {"steps": 15_000, "patience": None}
_MORE = {"steps": 20_000, "patience": None}
_ENSEMBLE = {"method": "deep_ensemble", "batch_sites": 64, "patience": None}

WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "MC dropout": ({}, {"method": "mc_dropout"}),
    "MC dropout, rate 0.05": ({}, {"method": "mc_dropout", "rate": 0.05}),
    "MC dropout, rate 0.4": ({}, {"method": "mc_dropout", "rate": 0.4}),
    "MC dropout, rate learned": ({}, {"method": "mc_dropout", "rate": "learned", "steps": 10_000, "patience": None}),
    "MC dropout, batches": ({}, {"method": "mc_dropout", "batch_sites": 128, **_LONG}),
    "MC dropout, 3 × 128 units": (BINN_NETWORK, {"method": "mc_dropout", "learning_rate": 0.003}),
    "MC dropout, 3 × 128 units, batches": (
        BINN_NETWORK,
        {"method": "mc_dropout", "learning_rate": 0.003, "batch_sites": 128, **_LONG},
    ),
    "deep ensemble, batches": ({}, {**_ENSEMBLE, "steps": 6000}),
    "deep ensemble, batches, long": ({}, {**_ENSEMBLE, "members": 10, "steps": 40_000}),
    "three networks, batches, long": ({}, {**_ENSEMBLE, "members": 3, "steps": 40_000}),
    "three linear networks, batches, long": ({"hidden": []}, {**_ENSEMBLE, "members": 3, "steps": 20_000}),
    "Laplace, last layer": ({}, {"method": "laplace", "weights": "last_layer"}),
    "Laplace": ({}, {"method": "laplace"}),
    "VI": ({}, {"method": "vi"}),
    "VI, batches": ({}, {"method": "vi", "batch_sites": 256, "steps": 10_000}),
    "VI, batches, long": ({}, {"method": "vi", "batch_sites": 256, "steps": 40_000}),
    "VI, low rank": ({}, {"method": "vi", "guide": "low_rank", **_MORE}),
    "VI, full rank": ({}, {"method": "vi", "guide": "full_rank", **_MORE}),
    "VI, flow": ({}, {"method": "vi", "guide": "iaf", "learning_rate": 0.001, **_MORE}),
    "SGHMC": ({}, {"method": "sghmc"}),
    "SGHMC, batches": ({}, {"method": "sghmc", "batch_sites": 64, "friction": 5.0}),
    "NUTS": ({}, {"method": "nuts"}),
    "NeuralPrior, VI": ({"model": "neural_prior"}, {"method": "vi"}),
    "PRODA": ({}, {"method": "upscaling"}),
}
"""Name → options of the model, ``binn`` unless it says another, and of the method"""

COLOURS = {
    "MC dropout": "#D55E00", "deep ensemble": "#CC79A7", "three networks": "#CC79A7",
    "three linear networks": "#CC79A7", "Laplace": "#E69F00", "VI": "#009E73", "SGHMC": "#56B4E9", "NUTS": "#0072B2",
    "HMC by profile": "#0072B2", "PRODA": "#000000",
}  # fmt: skip
"""Name of a way up to the first comma → its colour in all figures, of the palette of Okabe and Ito (2008)"""
_OTHERS = "#999999"
"""Colour of what is none of these, such as a baseline"""
_MARKERS = {
    "MC dropout, 3 × 128 units": "s", "MC dropout, 3 × 128 units, batches": "s", "VI, batches, long": "D",
    "deep ensemble, batches, long": "D", "three networks, batches, long": "^",
    "three linear networks, batches, long": "v",
}  # fmt: skip
"""Name → marker, where a figure shows several ways of one colour"""

SMALL: dict[str, dict[str, Any]] = {
    "mc_dropout": {"steps": 100, "draws": 20},
    "deep_ensemble": {"steps": 100, "members": 3},
    "laplace": {"steps": 100, "draws": 20},
    "vi": {"steps": 100, "draws": 20},
    "nuts": {"chains": 2, "warmup": 20, "draws": 20, "max_tree_depth": 3, "start_steps": 100},
    "sghmc": {"chains": 2, "warmup": 20, "draws": 20, "thinning": 2, "start_steps": 100},
    "site_nuts": {"chains": 2, "warmup": 20, "draws": 20, "rounds": 1},
    "proda_metropolis": {"exploration": 500, "iterations": 1000, "adapt_after": 200, "draws": 50, "reruns": 0},
    "upscaling": {"steps": 100, "members": 5},
}
"""Options that take the place of those of the methods with ``--small``: to see that all work, not to learn from"""


def way(name: str, small: bool) -> dict[str, Any]:
    """Return the options of a model and of a method as what a case asks for."""
    model, method = WAYS[name]
    return {
        "model": {"model": "binn", **model},
        "method": {**method, **(SMALL[method["method"]] if small else {})},
    }


def devices(name: str) -> int:
    """Return as how many devices a way wants to see the CPU: one for each chain of NUTS."""
    return 4 if name == "NUTS" else 1


def look(name: str) -> dict[str, str]:
    """Return colour and marker of a way in all figures, as arguments of matplotlib."""
    return {"color": COLOURS.get(name.partition(",")[0], _OTHERS), "marker": _MARKERS.get(name, "o")}


def fitted(
    train: xr.Dataset,
    model: Mapping[str, Any],
    method: Mapping[str, Any],
    seed: int,
    checkpoint: Path,
    first: str | Path | Mapping[str, Any] | None = None,
) -> Fit:
    """Fit a model to sites in one of the ways.

    The first stage of PRODA, each site by itself, is that of a folder, or is made here with the options that are given.
    """
    options, given = dict(model), dict(method)
    built, word = as_model(options.pop("model"), options), given.pop("method")
    how: dict[str, Any] = {"seed": seed, "progress": False, "resume": True}
    if word != "upscaling":
        return bp.fit(built, train, word, **how, checkpoint=checkpoint, **given)
    if not isinstance(first, str | Path):
        site = as_model("site", {"fixed": built.fixed})
        first = bp.fit(site, train, "site_nuts", **how, checkpoint=checkpoint / "first", **(first or {}))
    return bp.upscale(first, built, train, **how, checkpoint=checkpoint / "second", **given)


def some(dataset: xr.Dataset, most: int | None, seed: int) -> xr.Dataset:
    """Return so many sites at most: the first of the same random order, so that larger choices hold the smaller."""
    if most is None or dataset.sizes["site"] <= most:
        return dataset
    return dataset.isel(site=np.sort(np.random.default_rng(seed).permutation(dataset.sizes["site"])[:most]))


def titled(names: Iterable[str], most: Mapping[str, int]) -> list[str]:
    """Return the names of ways, with the number of profiles where they learn from so many at most."""
    return [f"{name} ({most[name]} profiles)" if name in most else name for name in names]


def about(fit: Fit) -> dict[tuple[str, str], Score]:
    """Return what a fit has cost, and whether it has converged."""
    return {("", "seconds"): Score(fit.wall_seconds), ("", "converged"): Score(float(fit.verdict.converged))}


def worth(tree: xr.DataTree) -> pd.DataFrame:
    """Return what chains of independent sites have cost, and their worth: of the worst quantity of a site."""
    judged = convergence.by_site(tree)
    found = {
        "seconds": tree.attrs["wall_seconds"],
        "gradients": tree.attrs["gradients"],
        "ess_median": judged["ess_bulk"].median(),
        "ess_low": judged["ess_bulk"].quantile(0.05),
        "r_hat_median": judged["r_hat"].median(),
        "r_hat_high": judged["r_hat"].quantile(0.95),
        "converged": judged["converged"].mean(),
    }
    return frame({("", name): Score(float(one)) for name, one in found.items()}, sites=judged.sizes["site"])


def predictive(tree: xr.DataTree) -> dict[tuple[str, str], Score]:
    """Return how well sites are predicted: by what (empty) and measure."""
    return {("", name): score for name, score in skill.scores(skill.pointwise(tree)).items()}


def known(tree: xr.DataTree) -> dict[tuple[str, str], Score]:
    """Return how near parameters and processes come to the truth, and how wide they are, by what and measure.

    Draws that are all alike, as of a dropout rate that has become 0, have intervals that hold nothing.  ``sd`` is the
    geometric mean over sites of the posterior standard deviation, so that the ratio of two is the geometric mean of the
    ratios.
    """
    found = {(of, "contraction"): score for of, score in recovery.contraction(tree).items()}
    alike = not found and tree["posterior"].sizes["draw"] > 1  # all draws are: of no width, which holds nothing
    for kind, dimension in (("parameters", "parameter"), ("processes", "process")):
        if recovery.truth_known(tree, kind):
            found[kind, recovery.TRUTH_INSIDE] = Score(0.0) if alike else recovery.truth_inside(tree, kind)
            for of, measures in recovery.recovery(tree, kind).items():
                found |= {(of, name): score for name, score in measures.items()}
        widths = spread(tree, kind)[1]
        for of in widths[dimension].to_numpy():
            one = widths.sel({dimension: of}).to_numpy()
            if (one > 0).all():
                found[str(of), "sd"] = Score(float(np.exp(np.log(one).mean())))
    return found


def frame(found: Mapping[tuple[str, str], Score], **columns: Any) -> pd.DataFrame:
    """Return scores as rows."""
    listed = [(of, measure, *score) for (of, measure), score in found.items()]
    return pd.DataFrame(listed, columns=["of", "measure", "value", "error"]).assign(**columns)
