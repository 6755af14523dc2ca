"""The four terms of the equation one by one: scalars, transfers, mixing and litter allocation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from binn_prob.clm5 import INTERFACE_DEPTH, LAYERS, NAMES, NODE_DEPTH, POOLS, THICKNESS, Forcing, physical, prepare
from binn_prob.clm5.allocation import allocation_fractions, litter_source
from binn_prob.clm5.environment import decomposition_rates, depth_scalar, temperature_scalar, water_scalar
from binn_prob.clm5.layers import DAYS_PER_YEAR
from binn_prob.clm5.parameters import named
from binn_prob.clm5.transfers import TRANSFERS, fraction, respired_fractions
from binn_prob.clm5.transport import exchange_rates

SITES = 16
MakeForcing = Callable[..., Forcing]
UnitParameters = Callable[..., np.ndarray]


def constant_thaw(make_forcing: MakeForcing, depth: float, bedrock: int = LAYERS) -> Forcing:
    thaw = np.full((SITES, 12), depth)
    return make_forcing(
        active_layer_depth=thaw, active_layer_depth_last_year=thaw, bedrock_layer=np.full(SITES, bedrock)
    )


def constant(value: float) -> np.ndarray:
    return np.full((SITES, LAYERS, 12), value)


# --- decomposition ----------------------------------------------------------------------------------------------------


def test_rates_are_the_reciprocal_turnover_times_where_nothing_limits(make_forcing: MakeForcing) -> None:
    forcing = make_forcing(
        soil_temperature=constant(298.15),
        water_scalar=constant(1.0),
        oxygen_scalar=constant(1.0),
        nitrogen_scalar=constant(1.0),
    )
    parameters = named(physical(np.full((SITES, 21), 0.5)))
    rates = decomposition_rates(parameters, prepare(forcing).environment)
    turnover = [3.5, 0.05505, 0.2, 0.2, 0.25005, 5.5, 210.0]
    expected = np.exp(-NODE_DEPTH[:LAYERS] / 0.55) / (DAYS_PER_YEAR * np.array(turnover)[:, None])
    np.testing.assert_allclose(rates[..., 0], expected, rtol=1e-13)


def test_nitrogen_slows_litter_only(make_forcing: MakeForcing, unit_parameters: UnitParameters) -> None:
    parameters = named(physical(unit_parameters()))
    plenty, half = (
        decomposition_rates(parameters, prepare(make_forcing(nitrogen_scalar=constant(value))).environment)
        for value in (1.0, 0.5)
    )
    is_litter = np.array(["litter" in pool for pool in POOLS])
    np.testing.assert_allclose(half / plenty, np.where(is_litter, 0.5, 1.0)[:, None, None] * jnp.ones_like(half))


def test_scalars(make_forcing: MakeForcing) -> None:
    forcing = make_forcing(soil_temperature=constant(278.15), water_scalar=constant(0.4))
    environment = prepare(forcing).environment
    np.testing.assert_allclose(temperature_scalar(jnp.full(SITES, 2.0), environment), 0.25, rtol=1e-14)
    for scaling, expected in ((0.5, 0.2), (2.5, 1.0), (5.0, 1.0)):
        np.testing.assert_allclose(water_scalar(jnp.full(SITES, scaling), environment), expected, rtol=1e-15)
    np.testing.assert_allclose(depth_scalar(jnp.full(SITES, 0.4))[5], np.exp(-1.0), rtol=1e-15)


# --- transfers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges_name", ["binn", "proda"])
def test_decomposed_carbon_is_passed_on_or_respired(ranges_name: str, unit_parameters: UnitParameters) -> None:
    units = np.concatenate([unit_parameters(50), np.round(unit_parameters(50, 1)), np.ones((1, 21))])
    parameters = named(physical(units, ranges_name))
    respired = np.asarray(respired_fractions(parameters))
    passed_on = np.zeros_like(respired)
    for row in TRANSFERS:
        passed_on[row.donor] += fraction(parameters, row)
    np.testing.assert_allclose(passed_on + respired, 1.0, rtol=1e-15)
    assert (respired[1:] > 0).all()
    assert (respired[0] == 0).all()


# --- mixing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bedrock", [1, 2, 9, 19, 20])
@pytest.mark.parametrize("thaw", [0.3, 1.9, 2.5])
def test_closed_column_conserves_what_it_mixes(
    thaw: float, bedrock: int, make_forcing: MakeForcing, unit_parameters: UnitParameters
) -> None:
    forcing = constant_thaw(make_forcing, thaw, bedrock)
    up, down = exchange_rates(named(physical(unit_parameters())), prepare(forcing).mixing)
    thickness = THICKNESS[:LAYERS, None]
    np.testing.assert_allclose((up * thickness)[1:], (down * thickness)[:-1], rtol=1e-14)
    assert (up[0] == 0).all()
    assert (down[bedrock - 1 :] == 0).all()
    if thaw > 2:
        assert (down[: bedrock - 1] > 0).all()


def test_published_column_leaks_at_bedrock(make_forcing: MakeForcing, unit_parameters: UnitParameters) -> None:
    """Layer 9, the first of bedrock, exchanges downwards as much as upwards; layer 10 does not answer."""
    soil = prepare(constant_thaw(make_forcing, 42.0, 9), "published")
    up, down = exchange_rates(named(physical(unit_parameters())), soil.mixing)
    np.testing.assert_allclose(down[9], up[9], rtol=1e-14)
    assert (down[9] > 1e-9).all()
    assert (up[10] < 1e-28).all()


@pytest.mark.parametrize(("thaw", "parameter"), [(0.0, None), (1e-6, "cryo"), (2.0, "cryo"), (2.0001, "diffus")])
def test_which_turbation_mixes(
    thaw: float, parameter: str | None, make_forcing: MakeForcing, unit_parameters: UnitParameters
) -> None:
    units = unit_parameters(inside=0.1)
    mixing = prepare(constant_thaw(make_forcing, thaw)).mixing
    rates = exchange_rates(named(physical(units)), mixing)
    for name in ("diffus", "cryo"):
        more = units.copy()
        more[:, NAMES.index(name)] += 0.1
        changed = bool((exchange_rates(named(physical(more)), mixing) != rates).any())
        assert changed == (name == parameter)


def test_bioturbation_mixes_evenly(make_forcing: MakeForcing, unit_parameters: UnitParameters) -> None:
    """With one diffusivity everywhere the conductance is diffusivity / distance between nodes."""
    parameters = named(physical(unit_parameters()))
    up, _ = exchange_rates(parameters, prepare(constant_thaw(make_forcing, 42.0)).mixing)
    distance, thickness = np.diff(NODE_DEPTH[:LAYERS])[:, None], THICKNESS[1:LAYERS, None]
    np.testing.assert_allclose(up[1:], parameters["diffus"] / DAYS_PER_YEAR / distance / thickness, rtol=1e-13)


def test_cryoturbation_ends_at_three_metres(make_forcing: MakeForcing, unit_parameters: UnitParameters) -> None:
    soil = prepare(constant_thaw(make_forcing, 0.5))
    up, down = exchange_rates(named(physical(unit_parameters())), soil.mixing)
    deepest = int(np.searchsorted(INTERFACE_DEPTH, 3.0)) - 1  # the last interface with diffusivity
    assert (down[:deepest] > 0).all()
    assert (down[deepest:] == 0).all()
    assert (up[deepest + 1 :] == 0).all()


def test_the_deeper_thaw_of_two_years_counts(make_forcing: MakeForcing) -> None:
    shallow, deep = np.full((SITES, 12), 0.3), np.full((SITES, 12), 1.7)
    one, other = (
        prepare(
            make_forcing(
                SITES, active_layer_depth=year, active_layer_depth_last_year=last, bedrock_layer=np.full(SITES, 9)
            )
        ).mixing
        for year, last in ((shallow, deep), (deep, shallow))
    )
    np.testing.assert_array_equal(one.cryoturbation, other.cryoturbation)


# --- litter -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["closed", "published"])
def test_all_litter_arrives(column: Any, make_forcing: MakeForcing, unit_parameters: UnitParameters) -> None:
    forcing = make_forcing()
    soil = prepare(forcing, column)
    source = litter_source(named(physical(unit_parameters())), soil.litter)
    arrived = jnp.sum(source * THICKNESS[:LAYERS, None], axis=1).T * DAYS_PER_YEAR
    np.testing.assert_allclose(arrived, forcing.litter_input.sum(axis=2), rtol=1e-13)
    if column == "closed":
        below = np.arange(LAYERS)[:, None] >= np.asarray(forcing.bedrock_layer)
        assert (np.asarray(source)[:, below] == 0).all()


def test_allocation_is_the_root_profile() -> None:
    beta = np.array([0.5, 0.8, 0.96, 0.99])
    got = allocation_fractions({"beta": jnp.asarray(beta)}, jnp.ones((LAYERS, 4), bool))
    above = 1.0 - beta ** (100 * INTERFACE_DEPTH[:LAYERS, None])
    np.testing.assert_allclose(np.cumsum(got, axis=0), above / above[-1], rtol=1e-13)


def test_allocation_becomes_uniform_over_depth_as_beta_nears_one() -> None:
    got = allocation_fractions({"beta": jnp.array([1.0 - 1e-14])}, jnp.ones((LAYERS, 1), bool))[:, 0]
    np.testing.assert_allclose(got, THICKNESS[:LAYERS] / INTERFACE_DEPTH[LAYERS - 1], rtol=1e-10)


def test_soil_that_never_thawed_last_year_takes_litter_at_the_surface(make_forcing: MakeForcing) -> None:
    receives = prepare(constant_thaw(make_forcing, 0.0)).litter.receives
    assert receives[0].all()
    assert not receives[1:].any()
