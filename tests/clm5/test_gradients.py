"""Derivatives of the steady state.

``test_exact_columns.py`` compares them with exact ones at single columns; here they are compared with finite
differences and with those of the plain system, and the second derivatives are tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from binn_prob.clm5 import (
    LAYERS,
    NAMES,
    Forcing,
    at_depth,
    dense_steady_state,
    physical,
    prepare,
    soil_organic_carbon,
    solve,
)
from binn_prob.clm5.steady_state import SoilColumn

SITES = 16
MakeForcing = Callable[..., Forcing]
UnitParameters = Callable[..., np.ndarray]
WATER = np.round(np.random.default_rng(5).uniform(0.05, 0.9, (SITES, LAYERS, 12)), 1) + 0.05
"""In steps of 0.1: with the scaling of ``smooth`` no finite difference crosses the kink of min(1, w W)."""


@pytest.fixture(scope="module")
def forcing(make_forcing: MakeForcing) -> Forcing:
    return make_forcing(water_scalar=WATER)


@pytest.fixture(scope="module", params=["closed", "published"])
def soil(request: pytest.FixtureRequest, forcing: Forcing) -> SoilColumn:
    return prepare(forcing, request.param)


@pytest.fixture(scope="module")
def smooth(unit_parameters: UnitParameters) -> Array:
    """Unit parameters inside the box, with 1 / w between two steps of ``WATER``."""
    units = unit_parameters(inside=0.2)
    units[:, NAMES.index("w-scaling")] = 1.0 / 5.0 / np.resize([0.3, 0.4, 0.5, 0.6], SITES)
    return jnp.asarray(units)


def slope(function: Callable[[Array], Array], point: Array, direction: Array, step: float) -> np.ndarray:
    """Finite difference of fourth order."""
    near, far = (
        np.asarray(function(point + size * direction)) - np.asarray(function(point - size * direction))
        for size in (step, 2 * step)
    )
    return np.asarray((8 * near - far) / (12 * step))


# --- first derivatives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_against_finite_differences(
    name: str, soil: SoilColumn, smooth: Array, push: Any, pull: Any
) -> None:
    """Log SOC is exact to 1e-13, and a step is 1e-3 of the range: rounding leaves 1e-10, truncation up to 1e-7.

    At 8 m litter goes with the 800th power of beta: a step of 2e-5 there, and 1e-8 of rounding.
    """
    direction = jnp.zeros_like(smooth).at[:, NAMES.index(name)].set(1.0)
    step = 2e-5 if name == "beta" else 1e-3
    expected = slope(lambda units: push(units, direction, soil)[0], smooth, direction, step)
    np.testing.assert_allclose(push(smooth, direction, soil)[1], expected, rtol=1e-6, atol=1e-7)
    reverse = pull(smooth, jnp.ones((SITES, LAYERS)), soil)[:, NAMES.index(name)]
    np.testing.assert_allclose(reverse, expected.sum(axis=1), rtol=1e-6, atol=1e-6)


def test_reverse_mode_is_the_transpose_of_forward_mode(soil: SoilColumn, smooth: Array, push: Any, pull: Any) -> None:
    random = np.random.default_rng(2)
    direction, weights = jnp.asarray(random.normal(size=smooth.shape)), jnp.asarray(random.normal(size=(SITES, LAYERS)))
    forward = jnp.sum(weights * push(smooth, direction, soil)[1], axis=1)
    reverse = jnp.sum(direction * pull(smooth, weights, soil), axis=1)
    np.testing.assert_allclose(forward, reverse, rtol=1e-11, atol=1e-11)


def test_parameters_that_cannot_matter_have_no_gradient(
    soil: SoilColumn, smooth: Array, forcing: Forcing, pull: Any
) -> None:
    gradient = dict(zip(NAMES, pull(smooth, jnp.ones((SITES, LAYERS)), soil).T, strict=True))
    assert jnp.abs(gradient["taucwd"]).max() < 1e-10  # debris is passed on whole, however slowly
    thaw = np.maximum(forcing.active_layer_depth, forcing.active_layer_depth_last_year)
    for name, idle in (("cryo", (thaw > 2).all(axis=1)), ("diffus", (thaw <= 2).all(axis=1))):
        assert idle.any()
        assert (gradient[name][idle] == 0).all()


@pytest.mark.parametrize(("bedrock", "thaw", "efolding"), [(LAYERS, 42.0, 1.0), (8, 42.0, 0.2), (8, 0.5, 1.0)])
def test_equals_the_gradient_of_lu(
    bedrock: int, thaw: float, efolding: float, make_forcing: MakeForcing, smooth: Array, pull: Any
) -> None:
    """Where decomposition reaches down to bedrock LU is accurate, and so is its gradient."""
    thaws = np.full((SITES, 12), thaw)
    forcing = make_forcing(
        active_layer_depth=thaws, active_layer_depth_last_year=thaws, bedrock_layer=np.full(SITES, bedrock)
    )
    units = smooth.at[:, NAMES.index("efolding")].set(efolding)

    def total(units: Array) -> Array:
        pools = dense_steady_state(physical(units), forcing)
        return jnp.sum(jnp.log(soil_organic_carbon(pools)[:, :bedrock]))

    plain = jax.jit(jax.grad(total))(units)
    got = pull(units, jnp.ones((SITES, LAYERS)), prepare(forcing))
    np.testing.assert_allclose(got, plain, rtol=1e-8, atol=1e-8)


def test_derivatives_by_the_climate(make_forcing: MakeForcing, smooth: Array) -> None:
    """Sensitivities to temperature and moisture, which the solver does not need itself, are right as well."""
    forcing = make_forcing(water_scalar=WATER)
    random = np.random.default_rng(6)
    shape = forcing.soil_temperature.shape
    directions = jnp.asarray(random.normal(size=shape)), jnp.asarray(random.normal(size=shape)) / 100

    @jax.jit
    def total(size: Array) -> Array:
        climate = replace(
            forcing,
            soil_temperature=forcing.soil_temperature + size * directions[0],
            water_scalar=forcing.water_scalar * (1.0 + size * directions[1]),
        )
        soc = soil_organic_carbon(solve(physical(smooth), prepare(climate)))
        return jnp.sum(jnp.log(jnp.where(soc > 0.0, soc, 1.0)))

    expected = slope(total, jnp.asarray(0.0), jnp.asarray(1.0), 1e-3)
    for got in (jax.grad(total)(0.0), jax.jvp(total, (0.0,), (1.0,))[1]):
        np.testing.assert_allclose(got, expected, rtol=1e-7)


# --- second derivatives -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def depth() -> np.ndarray:
    """Depths of observations, padded with NaN, where there is carbon even in soil that never thawed."""
    depths = np.random.default_rng(4).uniform(0.0, 0.035, (SITES, 3))
    depths[::2, 1:] = np.nan
    depths[1::4] += 0.5
    depths[1::4, 0] = 0.01
    return depths


@pytest.fixture(scope="module")
def gradient_and_curvature(depth: np.ndarray, forcing: Forcing) -> Callable[..., tuple[Array, Array]]:
    """Gradient of what a likelihood sees, log SOC at the observed depths, and its derivative along a direction."""

    def loss(units: Array, soil: SoilColumn) -> Array:
        soc = at_depth(soil_organic_carbon(solve(physical(units), soil)), depth, forcing.bedrock_layer)
        return jnp.sum(jnp.where(np.isnan(depth), 0.0, jnp.log(jnp.maximum(soc, 1e-30))))

    def both(units: Array, direction: Array, soil: SoilColumn) -> tuple[Array, Array]:
        return jax.jvp(lambda u: jax.grad(loss)(u, soil), (units,), (direction,))

    return jax.jit(both)


def test_second_derivatives(soil: SoilColumn, smooth: Array, gradient_and_curvature: Any) -> None:
    """A product of the Hessian with a vector against the finite difference of gradients."""
    direction = jnp.asarray(np.random.default_rng(3).normal(size=smooth.shape))
    expected = slope(lambda units: gradient_and_curvature(units, direction, soil)[0], smooth, direction, 1e-4)
    got = gradient_and_curvature(smooth, direction, soil)[1]
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_derivatives_are_finite_at_the_corners(
    soil: SoilColumn, unit_parameters: UnitParameters, gradient_and_curvature: Any
) -> None:
    for seed in range(10):
        corners = jnp.asarray(np.round(unit_parameters(seed=seed)))
        first, second = gradient_and_curvature(corners, jnp.ones_like(corners), soil)
        assert jnp.isfinite(first).all()
        assert jnp.isfinite(second).all()


# --- how they are computed --------------------------------------------------------------------------------------------


def count(jaxpr: Any, name: str) -> int:
    """How often a primitive occurs in a jaxpr, inside inner jaxprs too but for those of ``custom_linear_solve``."""
    found = 0
    for equation in jaxpr.eqns:
        found += equation.primitive.name == name
        if equation.primitive.name != "custom_linear_solve":
            for value in equation.params.values():
                inner = getattr(value, "jaxpr", value)
                found += count(inner, name) if hasattr(inner, "eqns") else 0
    return found


def test_reverse_mode_costs_one_more_solve(soil: SoilColumn, smooth: Array) -> None:
    """The recurrences over layers are not differentiated, and the elimination (two of them) is not repeated."""

    def loss(units: Array) -> Array:
        return jnp.sum(jnp.log(solve(physical(units), soil)[:, 4:, 0]))

    forwards, backwards = (jax.make_jaxpr(function)(smooth).jaxpr for function in (loss, jax.grad(loss)))
    assert [count(forwards, name) for name in ("custom_linear_solve", "scan")] == [1, 2]
    assert [count(backwards, name) for name in ("custom_linear_solve", "scan")] == [2, 2]
