"""Small trees with known properties, made by a formula instead of a fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from binn_prob.clm5.layers import LAYERS, NODE_DEPTH
from binn_prob.clm5.parameters import NAMES, RANGES
from binn_prob.clm5.processes import PROCESS_NAMES
from binn_prob.results import posterior

LOW, HIGH = RANGES["binn"].T
OBSERVATIONS = 6


def profile(unit: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return carbon that falls exponentially with depth, (..., depth), from unit parameters (..., parameter)."""
    surface = 2e4 + 8e4 * unit[..., 13]
    scale = 0.2 + 0.8 * unit[..., 3]
    return surface[..., None] * np.exp(-depth / scale[..., None]) + 500 + 2000 * unit[..., 9, None]


def site_units(sites: int, first: int = 0) -> np.ndarray:
    """Return the true unit parameters of sites, (site, parameter)."""
    phase = 0.7 * np.arange(first, first + sites)[:, None] + np.arange(len(NAMES))
    return 0.5 + 0.35 * np.sin(phase)


def process_values(unit: np.ndarray, sites: np.ndarray) -> np.ndarray:
    """Return six processes; the first does not depend on the parameters."""
    chosen = unit[..., [0, 10, 7, 2, 20, 1]] * [1, 0.6, 0.5, 0.3, 0.5, 0.02] + [0, 0.2, 0.1, 0.05, 0.45, 0.001]
    chosen[..., 0] = 400 + 10.0 * (sites % 7)
    return chosen


def make_dataset(sites: int = 6, first: int = 0, noise: float = 0.3) -> xr.Dataset:
    """Return observed profiles of 2 to 6 layers, the true parameters, and where the sites lie."""
    rng = np.random.default_rng(100 + first)
    numbers = np.arange(first, first + sites)
    depth = np.sort(rng.uniform(0.02, 1.6, (sites, OBSERVATIONS)), axis=1)
    depth[np.arange(OBSERVATIONS) >= 2 + (numbers % (OBSERVATIONS - 1))[:, None]] = np.nan
    unit = site_units(sites, first)
    truth = np.stack([profile(unit[site], depth[site]) for site in range(sites)])
    soc = truth * np.exp(noise * rng.standard_normal(truth.shape))
    return xr.Dataset(
        {
            "soc": (("site", "observation"), soc, {"units": "g C m-3"}),
            "depth": (("site", "observation"), depth, {"units": "m"}),
            "bedrock_layer": ("site", 12 + numbers % 9),
            "true_parameters": (("site", "parameter"), LOW + unit * (HIGH - LOW)),
            "true_processes": (("site", "process"), process_values(unit, numbers)),
        },
        {
            "site": 1000 + numbers,
            "longitude": ("site", -75.0 + 0.1 * numbers, {"units": "degree_east"}),
            "latitude": ("site", 42.0 + 0.1 * numbers, {"units": "degree_north"}),
            "parameter": list(NAMES),
            "process": list(PROCESS_NAMES),
        },
        {"name": "synthetic", "source": "a formula", "exclusions": json.dumps({"zero SOC": 3, "missing forcing": 1})},
    )


def make_arrays(
    dataset: xr.Dataset, *, chains: int = 1, draws: int = 200, sd: float = 0.05, shift: float = 0.0, seed: int = 0
) -> dict[str, Any]:
    """Return the arguments of ``posterior.build``: draws scattered about the true parameters of the dataset."""
    rng = np.random.default_rng(seed)
    sites = dataset["site"].values - 1000
    unit = site_units(len(sites), int(sites[0]))
    unit = unit + shift + sd * rng.standard_normal((chains, draws, *unit.shape))
    unit = np.abs(unit - 2 * np.maximum(unit - 1, 0))
    carbon = profile(unit, np.broadcast_to(dataset["depth"].values, (chains, draws, *dataset["depth"].shape)))
    misfit = np.log(dataset["soc"].values / carbon)
    return {
        "parameters": LOW + unit * (HIGH - LOW),
        "soc_layer": profile(unit, NODE_DEPTH[:LAYERS]),
        "processes": process_values(unit, sites),
        "soc_at_depth": carbon,
        "soc_predictive": carbon * np.exp(0.3 * rng.standard_normal(carbon.shape)),
        "log_likelihood": norm.logpdf(misfit, scale=0.3) - np.log(dataset["soc"].values),
        "scalars": {"soc_scale": 0.3 + 0.02 * rng.standard_normal((chains, draws))},
        "sample_stats": {},
        "dataset": dataset,
    }


def make_attrs(method: str = "vi", *, markov_chain: int = 0) -> dict[str, Any]:
    """Return the attributes of a tree."""
    return {
        "method": method,
        "model": "BINN",
        "settings": json.dumps({"method": {"draws": 200}, "model": {"width": 16}}),
        "seed": 0,
        "versions": json.dumps({"jax": "0.10.2", "numpyro": "0.22.0"}),
        "device": "cpu",
        "precision": "float64",
        "wall_seconds": 12.5,
        "git_commit": "0" * 40,
        "created": "2026-11-20T12:00:00+00:00",
        "binn_prob_version": "0.1.0",
        "markov_chain": markov_chain,
        "data_fingerprint": "f" * 64,
    }


def make_tree(
    method: str = "vi",
    *,
    sites: int = 6,
    held_out: int = 0,
    chains: int = 1,
    draws: int = 200,
    sd: float = 0.05,
    shift: float = 0.0,
    seed: int = 0,
) -> xr.DataTree:
    """Return a tree; ``nuts`` is a Markov chain with divergences, everything else has a loss."""
    attrs = make_attrs(method, markov_chain=int(method == "nuts"))
    options: dict[str, Any] = {"chains": chains, "draws": draws, "sd": sd, "shift": shift, "seed": seed}
    arrays = make_arrays(make_dataset(sites), **options)
    diverging = np.zeros((chains, draws), dtype=bool)
    diverging[0, :2] = True
    loss = 1e3 * np.exp(-np.arange(50) / 10) + 200
    arrays["sample_stats"] = {"diverging": diverging} if method == "nuts" else {"loss": loss}
    tree = posterior.build(**arrays, attrs=attrs)
    if not held_out:
        return tree
    other = make_arrays(make_dataset(held_out, first=sites), **options)
    return posterior.with_held_out(tree, posterior.build(**other, attrs=attrs))


@pytest.fixture(scope="session")
def tree_of() -> Callable[..., xr.DataTree]:
    return make_tree


@pytest.fixture
def dataset_of() -> Callable[..., xr.Dataset]:
    return make_dataset


@pytest.fixture
def arrays_of() -> Callable[..., dict[str, Any]]:
    return make_arrays


@pytest.fixture
def attrs_of() -> Callable[..., dict[str, Any]]:
    return make_attrs


@pytest.fixture(scope="session")
def trees() -> dict[str, xr.DataTree]:
    """Three methods at the same sites; NUTS is the reference, the others are narrower."""
    return {
        "mc_dropout": make_tree("mc_dropout", held_out=4, draws=60, sd=0.02, shift=0.03, seed=1),
        "vi": make_tree("vi", held_out=4, draws=100, sd=0.03, seed=2),
        "nuts": make_tree("nuts", held_out=4, chains=2, draws=50, sd=0.05, seed=3),
    }
