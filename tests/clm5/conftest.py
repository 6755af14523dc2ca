"""What the tests of the solver share: random climates, exact columns, reference results, compiled derivatives.

Most tests solve 16 sites, as many as there are exact columns, and hand the columns over as arguments, so that each
function is compiled once: compiling is what these tests spend their time on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from binn_prob.clm5 import LAYERS, NAMES, NODE_DEPTH, Forcing, SoilColumn, physical, soil_organic_carbon, solve

EXACT = Path(__file__).with_name("data") / "exact_columns.npz"
THAW = np.array([0.0, 0.4, 2.0, 2.5, 42.0])
"""Active layers [m]: none, cryoturbation, its limit, bioturbation."""


def _forcing(sites: int = 16, seed: int = 0, **given: np.ndarray) -> Forcing:
    """Random climates; every third site has a thaw that changes from month to month."""
    random = np.random.default_rng(seed)
    shape = (sites, LAYERS, 12)
    season = np.sin(2 * np.pi * (np.arange(12) - 3) / 12) * np.exp(-NODE_DEPTH[:LAYERS, None] / 2)
    mean, amplitude = random.uniform(262, 298, (sites, 1, 1)), random.uniform(3, 18, (sites, 1, 1))
    thaw = np.repeat(random.choice(THAW, (2, sites, 1)), 12, axis=2)
    thaw[:, ::3] = random.choice(THAW, (2, len(thaw[0, ::3]), 12))
    values = {
        "soil_temperature": mean + amplitude * season,
        "water_scalar": random.uniform(0.05, 1.0, shape),
        "oxygen_scalar": random.uniform(0.3, 1.0, shape),
        "nitrogen_scalar": random.uniform(0.01, 1.0, shape),
        "litter_input": random.uniform(0.0, 40.0, (sites, 4, 12)),
        "active_layer_depth": thaw[0],
        "active_layer_depth_last_year": thaw[1],
        "bedrock_layer": random.integers(1, LAYERS + 1, sites),
        **given,
    }
    return Forcing(**{name: jnp.asarray(value) for name, value in values.items()})


NO_CARBON = 1e-100
"""[g C m-3]"""


@pytest.fixture(scope="session")
def make_forcing() -> Callable[..., Forcing]:
    """``make_forcing(sites=16, seed=0, **variables)``: random climates, with some variables given."""
    return _forcing


@pytest.fixture(scope="session")
def unit_parameters() -> Callable[..., np.ndarray]:
    """``unit_parameters(sites=16, seed=0, inside=0.0)``: random, and that far from the ends of the ranges."""

    def draw(sites: int = 16, seed: int = 0, inside: float = 0.0) -> np.ndarray:
        return np.random.default_rng(seed).uniform(inside, 1.0 - inside, (sites, len(NAMES)))

    return draw


def _log_soc(units: Array, soil: SoilColumn) -> Array:
    soc = soil_organic_carbon(solve(physical(units), soil))
    return jnp.log(jnp.where(soc > NO_CARBON, soc, 1.0))


@pytest.fixture(scope="session")
def push() -> Callable[[Array, Array, SoilColumn], tuple[Array, Array]]:
    """Forward mode: log SOC (site, layer) of unit parameters, and its derivative along a direction.

    Log SOC counts as 0 where there is none; in the published column mixing of 1e-30 m2 day-1 leaves traces of carbon
    whose squares are beyond float64.
    """
    return jax.jit(lambda units, direction, soil: jax.jvp(lambda u: _log_soc(u, soil), (units,), (direction,)))


@pytest.fixture(scope="session")
def pull() -> Callable[[Array, Array, SoilColumn], Array]:
    """Reverse mode: derivatives (site, parameter) of log SOC summed over layers with the given weights."""
    return jax.jit(lambda units, weights, soil: jax.vjp(lambda u: _log_soc(u, soil), units)[1](weights)[0])


@pytest.fixture(scope="session")
def exact() -> dict[str, np.ndarray]:
    """Columns solved with 120 digits by ``make_exact_columns.py``."""
    with np.load(EXACT) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="session")
def exact_forcing(exact: dict[str, np.ndarray]) -> Forcing:
    return Forcing(**{field.name: jnp.asarray(exact[field.name]) for field in fields(Forcing)})


@pytest.fixture(scope="session")
def golden(root: Path) -> dict[str, np.ndarray]:
    """Reference results for every second published profile; without them the test is skipped, or fails under ``CI``."""
    path = root.parent / "shared" / "reference" / "clm5_golden.npz"
    if not path.is_file():
        missing = f"no reference results in {path}"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
