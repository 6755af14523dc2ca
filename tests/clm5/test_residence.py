"""Residence times and respiration of the steady state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from binn_prob import InputError
from binn_prob.clm5 import (
    LAYERS,
    NAMES,
    POOLS,
    THICKNESS,
    Forcing,
    baseline_residence_times,
    physical,
    prepare,
    residence_times,
    respiration,
    soil_organic_carbon,
    steady_state,
)
from binn_prob.clm5.dense import dense_system
from binn_prob.clm5.environment import REFERENCE_TEMPERATURE

SITES = 16
FORMULAS = pytest.mark.parametrize("formulas", ["corrected", "published", "proda"])
MakeForcing = Callable[..., Forcing]
UnitParameters = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def forcing(make_forcing: MakeForcing) -> Forcing:
    return make_forcing()


@pytest.fixture(scope="module")
def parameters(unit_parameters: UnitParameters) -> Array:
    return physical(unit_parameters(inside=0.1))


def test_residence_time_times_input_is_the_stock(parameters: Array, forcing: Forcing) -> None:
    litter = jnp.sum(forcing.litter_input, axis=(1, 2))
    stock = soil_organic_carbon(steady_state(parameters, forcing)) * THICKNESS[:LAYERS]
    np.testing.assert_allclose(residence_times(parameters, forcing) * litter[:, None], stock, rtol=1e-12)


@FORMULAS
def test_nothing_limits_at_the_reference(formulas: Any, make_forcing: MakeForcing, unit_parameters: Any) -> None:
    """Where temperature, moisture, oxygen and nitrogen limit nothing, there is nothing to take away."""
    shape = (SITES, LAYERS, 12)
    unlimited = make_forcing(
        soil_temperature=np.full(shape, REFERENCE_TEMPERATURE),
        **{f"{name}_scalar": np.ones(shape) for name in ("water", "oxygen", "nitrogen")},
    )
    units = unit_parameters(inside=0.1)
    units[:, NAMES.index("w-scaling")] = 0.5  # times 2.5
    parameters = physical(units)
    np.testing.assert_allclose(
        baseline_residence_times(parameters, unlimited, formulas=formulas),
        residence_times(parameters, unlimited),
        rtol=1e-12,
    )


def test_baseline_does_not_know_the_climate(parameters: Array, forcing: Forcing, make_forcing: MakeForcing) -> None:
    other = make_forcing(
        soil_temperature=np.asarray(forcing.soil_temperature) - 10.0,
        water_scalar=np.asarray(forcing.water_scalar) / 2,
        oxygen_scalar=np.asarray(forcing.oxygen_scalar) / 2,
        nitrogen_scalar=np.asarray(forcing.nitrogen_scalar) / 2,
    )
    np.testing.assert_allclose(
        baseline_residence_times(parameters, forcing), baseline_residence_times(parameters, other), rtol=1e-13
    )
    total = residence_times(parameters, other).sum(axis=1)
    assert (total > residence_times(parameters, forcing).sum(axis=1)).all()


def test_a_cold_climate_makes_carbon_stay(parameters: Array, make_forcing: MakeForcing) -> None:
    cold = make_forcing(soil_temperature=np.full((SITES, LAYERS, 12), 270.0))
    longer = residence_times(parameters, cold).sum(axis=1) / baseline_residence_times(parameters, cold).sum(axis=1)
    assert (longer > parameters[:, NAMES.index("q10")] ** ((REFERENCE_TEMPERATURE - 270.0) / 10)).all()


def test_both_formulas_agree_without_mixing(make_forcing: MakeForcing, parameters: Array) -> None:
    """Without exchange between layers, nor nitrogen limitation, a constant scalar is a factor of time."""
    shape, none = (SITES, LAYERS, 12), np.zeros((SITES, 12))
    constant = make_forcing(
        soil_temperature=np.full(shape, 280.0),
        water_scalar=np.full(shape, 0.1),
        oxygen_scalar=np.full(shape, 0.5),
        nitrogen_scalar=np.ones(shape),
        active_layer_depth=none,
        active_layer_depth_last_year=none,
    )
    corrected, published = (
        baseline_residence_times(parameters, constant, formulas=formulas) for formulas in ("corrected", "published")
    )
    np.testing.assert_allclose(corrected, published, rtol=1e-12)


def test_published_baseline_is_that_of_the_plain_matrix(make_forcing: MakeForcing, parameters: Array) -> None:
    """PRODA multiplies the matrix, mixing included, with the annual mean of one over the four scalars, from the right.

    Without bedrock, and with decomposition that reaches down, LU is accurate.
    """
    thaw = np.full((SITES, 12), 42.0)
    forcing = make_forcing(
        active_layer_depth=thaw, active_layer_depth_last_year=thaw, bedrock_layer=np.full(SITES, LAYERS)
    )
    by_name = {name: np.asarray(parameters)[:, number] for number, name in enumerate(NAMES)}
    q10, w_scaling = (by_name[name][:, None, None] for name in ("q10", "w-scaling"))
    temperature = q10 ** ((np.asarray(forcing.soil_temperature) - REFERENCE_TEMPERATURE) / 10)
    water = np.minimum(1.0, w_scaling * np.asarray(forcing.water_scalar))
    slower = np.mean(1 / (temperature * water * forcing.oxygen_scalar * forcing.nitrogen_scalar), axis=2)
    deep = jnp.asarray(parameters).at[:, NAMES.index("efolding")].set(1.0)
    matrix, source = (np.asarray(array) for array in dense_system(deep, forcing))
    free = np.linalg.solve(matrix * np.tile(slower, len(POOLS))[:, None, :], source[..., None])
    stock = soil_organic_carbon(free.reshape(SITES, len(POOLS), LAYERS)) * THICKNESS[:LAYERS]
    litter = jnp.sum(forcing.litter_input, axis=(1, 2))
    got = baseline_residence_times(deep, forcing, formulas="published")
    np.testing.assert_allclose(got, stock / litter[:, None], rtol=1e-9)


def test_what_comes_in_is_respired(parameters: Array, forcing: Forcing) -> None:
    respired = respiration(parameters, steady_state(parameters, forcing), prepare(forcing))
    np.testing.assert_allclose(respired.sum(axis=1), jnp.sum(forcing.litter_input, axis=(1, 2)), rtol=1e-12)
    assert (respired >= 0).all()
    assert (respired[np.arange(LAYERS) >= np.asarray(forcing.bedrock_layer)[:, None]] == 0).all()


def test_respiration_of_other_shapes_is_refused(parameters: Array, forcing: Forcing) -> None:
    soil, pools = prepare(forcing), np.ones((SITES, len(POOLS), LAYERS))
    with pytest.raises(InputError, match=r"pools of shape \(16, 20, 7\); expected shape \(16, 7, 20\)"):
        respiration(parameters, pools.swapaxes(1, 2), soil)
    with pytest.raises(InputError, match=r"parameters of shape \(16, 20\).*; give one row per site$"):
        respiration(parameters[:, 1:], pools, soil)


@FORMULAS
def test_gradients_are_finite(formulas: Any, parameters: Array, forcing: Forcing) -> None:
    def total(parameters: Array) -> Array:
        return jnp.sum(jnp.log(jnp.sum(baseline_residence_times(parameters, forcing, formulas=formulas), axis=1)))

    assert jnp.isfinite(jax.grad(total)(parameters)).all()


def test_other_formulas_are_refused(parameters: Array, forcing: Forcing) -> None:
    with pytest.raises(InputError, match="formulas 'elementwise'"):
        baseline_residence_times(parameters, forcing, formulas="elementwise")  # type: ignore[arg-type]
