"""The solver against the plain system, and what holds for every soil column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from binn_prob.clm5 import (
    DEFAULTS,
    LAYERS,
    NAMES,
    POOLS,
    THICKNESS,
    Forcing,
    physical,
    prepare,
    soil_organic_carbon,
    solve,
    steady_state,
)
from binn_prob.clm5.dense import dense_system
from binn_prob.clm5.layers import DAYS_PER_YEAR
from binn_prob.clm5.matrix import multiply
from binn_prob.clm5.parameters import named
from binn_prob.clm5.steady_state import system
from binn_prob.clm5.transfers import respired_fractions

COLUMNS = pytest.mark.parametrize("column", ["closed", "published"])
MakeForcing = Callable[..., Forcing]
UnitParameters = Callable[..., np.ndarray]
SITES = 16


# --- the plain system -------------------------------------------------------------------------------------------------


plain_system = jax.jit(dense_system, static_argnames="column")


def without_bedrock(make_forcing: MakeForcing, thaw: float) -> Forcing:
    depths = np.full((SITES, 12), thaw)
    return make_forcing(
        SITES, active_layer_depth=depths, active_layer_depth_last_year=depths, bedrock_layer=np.full(SITES, LAYERS)
    )


@COLUMNS
@pytest.mark.parametrize("efolding", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("thaw", [0.4, 2.5, 42.0])
def test_equals_lu(
    thaw: float, efolding: float, column: Any, make_forcing: MakeForcing, unit_parameters: UnitParameters
) -> None:
    """Without bedrock, and with decomposition that reaches down, LU is accurate too."""
    parameters = np.array(physical(unit_parameters()))
    parameters[0] = DEFAULTS
    parameters[:, NAMES.index("efolding")] = efolding
    forcing = without_bedrock(make_forcing, thaw)
    matrix, source = plain_system(parameters, forcing, column)
    plain = np.linalg.solve(matrix, source[..., None]).reshape(SITES, len(POOLS), LAYERS)
    np.testing.assert_allclose(steady_state(parameters, forcing, column), plain, rtol=1e-9, atol=1e-12 * plain.max())


@COLUMNS
def test_solves_the_plain_system(column: Any, make_forcing: MakeForcing, unit_parameters: UnitParameters) -> None:
    """The residual of every row is rounding error of its terms, whatever the parameters."""
    forcing, parameters = make_forcing(), physical(np.round(unit_parameters()))
    pools = np.asarray(steady_state(parameters, forcing, column))
    assert residual(parameters, pools, forcing, column).max() <= 1e-13


@COLUMNS
def test_multiplies_as_the_plain_matrix(
    column: Any, make_forcing: MakeForcing, unit_parameters: UnitParameters
) -> None:
    forcing, parameters = make_forcing(), physical(unit_parameters())
    carbon = np.random.default_rng(1).uniform(1, 2, (SITES, len(POOLS), LAYERS))
    matrix, _ = plain_system(parameters, forcing, column)
    expected = jnp.einsum("sij,sj->si", matrix, carbon.reshape(SITES, -1)).reshape(carbon.shape)
    got = multiply(system(named(parameters), prepare(forcing, column)), jnp.moveaxis(carbon, 0, -1))
    np.testing.assert_allclose(jnp.moveaxis(got, -1, 0), expected, rtol=1e-11, atol=1e-13 * np.abs(matrix).max())


# --- what holds everywhere --------------------------------------------------------------------------------------------


@jax.jit
def imbalance(parameters: jax.Array, pools: jax.Array, forcing: Forcing) -> jax.Array:
    """Relative difference between litter and respiration of the closed column (site,); respiration without litter."""
    by_name = named(parameters)
    decomposed = system(by_name, prepare(forcing)).rate * jnp.moveaxis(pools, 0, -1) * THICKNESS[:LAYERS, None]
    respired = DAYS_PER_YEAR * jnp.sum(respired_fractions(by_name)[:, None] * decomposed, axis=(0, 1))
    litter = forcing.litter_input.sum(axis=(1, 2))
    return jnp.where(litter > 0, respired / jnp.where(litter > 0, litter, 1.0) - 1, respired)


@COLUMNS
def test_carbon_is_positive_in_the_whole_box(
    column: Any, make_forcing: MakeForcing, unit_parameters: UnitParameters
) -> None:
    """10,000 parameter vectors, 5,000 anywhere in the box and 5,000 corners, each with a climate of its own."""
    units, forcing = unit_parameters(10_000), make_forcing(10_000)
    units[5_000:] = np.round(units[5_000:])
    parameters = physical(units)
    pools = np.asarray(steady_state(parameters, forcing, column))
    assert np.isfinite(pools).all()
    assert (pools >= 0).all()
    soil = np.arange(LAYERS) < np.asarray(forcing.bedrock_layer)[:, None]
    if column == "closed":
        assert (np.moveaxis(pools, 1, 2)[~soil] == 0).all()
        assert np.abs(imbalance(parameters, pools, forcing)).max() < 1e-12
    # A soil that did not thaw last year has litter in the uppermost layer only, and without thaw it stays there.
    thawed = np.asarray(forcing.active_layer_depth_last_year).mean(axis=1) > 0
    soc = np.asarray(soil_organic_carbon(pools))
    assert (soc[soil & thawed[:, None]] > 0).all()
    assert (soc[:, 0] > 0).all()


@COLUMNS
def test_soil_without_litter_has_no_carbon(
    column: Any, make_forcing: MakeForcing, unit_parameters: UnitParameters
) -> None:
    """Nor has its gradient anything that is not a number; neighbours with litter do not notice."""
    litter = np.array(make_forcing().litter_input)
    litter[::2] = 0.0
    bare, fed = (prepare(one, column) for one in (make_forcing(litter_input=litter), make_forcing()))
    units = unit_parameters()

    def total(units: jax.Array) -> jax.Array:
        return jnp.sum(soil_organic_carbon(solve(physical(units), bare)))

    pools, gradient = np.asarray(solve(physical(units), bare)), np.asarray(jax.grad(total)(units))
    assert (pools[::2] == 0).all()
    assert (gradient[::2] == 0).all()
    np.testing.assert_array_equal(pools[1::2], solve(physical(units), fed)[1::2])
    assert np.isfinite(gradient).all()


@COLUMNS
def test_range_of_proda(column: Any, make_forcing: MakeForcing, unit_parameters: UnitParameters) -> None:
    """Some of its turnover times and its e-folding depth start at 0, which only the end of the range itself reaches."""
    for seed in range(5):
        units = np.clip(np.round(unit_parameters(seed=seed)), 1e-9, 1.0)
        pools = np.asarray(steady_state(physical(units, "proda"), make_forcing(seed=seed), column))
        assert np.isfinite(pools).all()
        assert (pools >= 0).all()


@st.composite
def columns(draw: st.DrawFn, sites: int = 4) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Unit parameters and forcing of any valid kind."""

    def between(low: float, high: float, *shape: int) -> np.ndarray:
        return draw(arrays(float, (sites, *shape), elements=st.floats(low, high)))

    def by_layer(low: float, high: float) -> np.ndarray:
        top, bottom = between(low, high, 1, 12), between(low, high, 1, 12)
        return top + (bottom - top) * np.linspace(0, 1, LAYERS)[:, None]

    thaw = arrays(float, (2, sites, 12), elements=st.sampled_from([0.0, 1e-3, 1.0, 2.0, 2.001, 3.0, 42.0]))
    depths = draw(thaw)
    return between(0.0, 1.0, len(NAMES)), {
        "soil_temperature": by_layer(220.0, 320.0),
        "water_scalar": by_layer(0.05, 1.0),
        "oxygen_scalar": by_layer(0.01, 1.0),
        "nitrogen_scalar": by_layer(1e-3, 1.0),
        "litter_input": draw(arrays(float, (sites, 4, 12), elements=st.just(0.0) | st.floats(1e-3, 1e3))),
        "active_layer_depth": depths[0],
        "active_layer_depth_last_year": depths[1],
        "bedrock_layer": draw(arrays(int, (sites,), elements=st.integers(1, LAYERS))),
    }


def tiled(array: np.ndarray) -> jax.Array:
    """Repeat the sites up to the size that is compiled for already."""
    return jnp.tile(array, (SITES // len(array),) + (1,) * (array.ndim - 1))


def residual(parameters: jax.Array, pools: np.ndarray, forcing: Forcing, column: Any) -> np.ndarray:
    """Residual of every row of the plain system, relative to the sum of its terms (site, row).

    Mixing of 1e-30 m2 day-1 in the published column hands down less carbon than float64 has numbers for: 0 is right.
    """
    matrix, source = (np.asarray(array) for array in plain_system(parameters, forcing, column))
    flat = pools.reshape(len(pools), -1)
    terms = np.einsum("sij,sj->si", np.abs(matrix), flat) + source
    error = np.abs(np.einsum("sij,sj->si", matrix, flat) - source)
    return np.where(terms > 1e-290, error / np.maximum(terms, 1e-290), 0.0)


@given(columns())
@settings(max_examples=40)
def test_any_column_balances_and_is_positive(example: tuple[np.ndarray, dict[str, np.ndarray]]) -> None:
    units, variables = example
    forcing = Forcing(**{name: tiled(value) for name, value in variables.items()})
    parameters = physical(tiled(units))
    closed, published = (np.asarray(steady_state(parameters, forcing, column)) for column in ("closed", "published"))
    for column, pools in (("closed", closed), ("published", published)):
        assert np.isfinite(pools).all()
        assert (pools >= 0).all()
        assert residual(parameters, pools, forcing, column).max() <= 1e-13
    assert np.abs(imbalance(parameters, closed, forcing)).max() < 1e-12


def test_columns_are_the_same_without_bedrock(make_forcing: MakeForcing, unit_parameters: UnitParameters) -> None:
    forcing, parameters = without_bedrock(make_forcing, 42.0), physical(unit_parameters())
    np.testing.assert_allclose(
        steady_state(parameters, forcing, "closed"), steady_state(parameters, forcing, "published"), rtol=1e-12
    )


def test_soil_organic_carbon_does_not_depend_on_the_turnover_of_debris(
    make_forcing: MakeForcing, unit_parameters: UnitParameters
) -> None:
    """Woody debris neither respires nor mixes."""
    forcing, units = make_forcing(), unit_parameters()
    other = units.copy()
    other[:, NAMES.index("taucwd")] = 1.0 - units[:, NAMES.index("taucwd")]
    soc, same = (soil_organic_carbon(steady_state(physical(each), forcing)) for each in (units, other))
    np.testing.assert_allclose(soc, same, rtol=1e-13)
