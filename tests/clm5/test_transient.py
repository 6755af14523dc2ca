"""Soil carbon through time: against the plain system, the steady state and the exponential; and its balance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax import Array

from binn_prob import InputError
from binn_prob.clm5 import LAYERS, POOLS, THICKNESS, Forcing, physical, steady_state, transient
from binn_prob.clm5.dense import dense_system

SITES, YEAR = 16, 365.0
SCHEMES = pytest.mark.parametrize("scheme", ["backward_euler", "sdirk2"])
MakeForcing = Callable[..., Forcing]
UnitParameters = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def forcing(make_forcing: MakeForcing) -> Forcing:
    return make_forcing()


@pytest.fixture(scope="module")
def parameters(unit_parameters: UnitParameters) -> Array:
    return physical(unit_parameters(inside=0.1))


@pytest.fixture(scope="module")
def steady(parameters: Array, forcing: Forcing) -> Array:
    return steady_state(parameters, forcing)


@pytest.fixture(scope="module")
def begin(steady: Array) -> Array:
    """Some carbon in every pool above bedrock, neither none nor the steady state."""
    return jnp.asarray(np.random.default_rng(3).uniform(0.2, 1.5, steady.shape)) * jnp.where(steady > 0, 1e3, 0.0)


def stock(pools: Array) -> Array:
    """Carbon of the whole column [g C m-2], over the last two axes."""
    return jnp.sum(pools * THICKNESS[:LAYERS], axis=(-2, -1))


def warming(forcing: Forcing, steps: int, litter: float = 1.0) -> Forcing:
    """Forcing of every step, 2 K warmer at the end than at the beginning, with litter that grows by so many times."""
    ramp = np.linspace(0, 1, steps)[:, None, None, None]
    every: Forcing = jax.tree.map(lambda array: jnp.broadcast_to(array, (steps, *array.shape)), forcing)
    return replace(
        every,
        soil_temperature=every.soil_temperature + 2.0 * ramp,
        litter_input=every.litter_input * (1.0 + (litter - 1.0) * ramp),
    )


@SCHEMES
@pytest.mark.parametrize("days", [1.0, YEAR, 1e5])
def test_carbon_is_conserved_in_every_step(
    days: float, scheme: Any, begin: Array, parameters: Array, forcing: Forcing
) -> None:
    steps = 8
    followed = transient(begin, parameters, warming(forcing, steps, 2.0), np.full(steps, days), scheme=scheme)
    stocks = jnp.concatenate([stock(begin)[None], stock(followed.pools)])
    error = jnp.diff(stocks, axis=0) - (followed.litter - followed.respired)
    turnover = stocks[1:] + stocks[:-1] + followed.litter + jnp.abs(followed.respired)
    assert jnp.abs(error / turnover).max() < 1e-12


@pytest.mark.parametrize("days", [1e-3, 1.0, YEAR, 1e6])
def test_backward_euler_keeps_pools_positive(days: float, begin: Array, parameters: Array, forcing: Forcing) -> None:
    pools = transient(begin, parameters, forcing, np.full(8, days)).pools
    assert jnp.isfinite(pools).all()
    assert (pools >= 0).all()


@SCHEMES
def test_the_steady_state_stays(scheme: Any, steady: Array, parameters: Array, forcing: Forcing) -> None:
    pools = transient(steady, parameters, forcing, np.full(5, YEAR), scheme=scheme).pools
    np.testing.assert_allclose(pools[-1], steady, rtol=1e-11, atol=1e-11 * float(steady.max()))


def test_ends_in_the_steady_state(begin: Array, steady: Array, parameters: Array, forcing: Forcing) -> None:
    """The slowest carbon, deep and cold, has turnover times of more than 1e30 days; steps of 1e60 are enough."""
    pools = transient(begin, parameters, forcing, [1e60, 1e60]).pools
    np.testing.assert_allclose(pools[-1], steady, rtol=1e-9, atol=1e-50)


def exponential(begin: np.ndarray, parameters: Array, forcing: Forcing, days: float) -> np.ndarray:
    """Return the carbon after some time of a constant climate, by the exponential of the plain matrix."""
    matrix, source = (np.asarray(array) for array in dense_system(parameters, forcing))
    found = []
    for one, right, at in zip(matrix, source, begin.reshape(len(begin), -1), strict=True):
        joined = np.zeros((len(right) + 1,) * 2)
        joined[:-1, :-1], joined[:-1, -1] = -one, right
        found.append((scipy.linalg.expm(days * joined) @ np.append(at, 1.0))[:-1])
    return np.reshape(found, begin.shape)


@pytest.mark.parametrize(("scheme", "order"), [("backward_euler", 1), ("sdirk2", 2)])
def test_order_of_convergence(scheme: Any, order: int, begin: Array, parameters: Array, forcing: Forcing) -> None:
    """Half the step, a half or a quarter of the error; steps shorter than the fastest turnover."""
    expected = exponential(np.asarray(begin), parameters, forcing, 8.0)
    soil = np.asarray(begin) > 0

    def error(steps: int) -> float:
        pools = transient(begin, parameters, forcing, np.full(steps, 8.0 / steps), scheme=scheme).pools[-1]
        return float(np.sqrt(np.mean((np.asarray(pools)[soil] / expected[soil] - 1.0) ** 2)))

    assert np.log2(error(64) / error(128)) == pytest.approx(order, abs=0.15)


def test_a_step_solves_the_plain_system(begin: Array, parameters: Array, forcing: Forcing) -> None:
    matrix, source = dense_system(parameters, forcing)
    right = source + begin.reshape(SITES, -1) / YEAR
    plain = jnp.linalg.solve(matrix + jnp.eye(matrix.shape[-1]) / YEAR, right[..., None])
    pools = transient(begin, parameters, forcing, [YEAR]).pools[0]
    np.testing.assert_allclose(pools, plain.reshape(begin.shape), rtol=1e-9, atol=1e-9)


def test_a_climate_that_holds_may_be_given_once(begin: Array, parameters: Array, forcing: Forcing) -> None:
    every = jax.tree.map(lambda array: jnp.stack([array] * 3), forcing)
    days = [30.0, 31.0, 28.0]
    for one, other in zip(
        transient(begin, parameters, every, days), transient(begin, parameters, forcing, days), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-13)


@SCHEMES
def test_derivatives(scheme: Any, begin: Array, unit_parameters: UnitParameters, forcing: Forcing) -> None:
    """Of the logarithm of the stocks, by unit parameters and by the pools at the beginning, against differences."""
    units = jnp.asarray(unit_parameters(inside=0.2))
    random = np.random.default_rng(4)
    directions = (jnp.asarray(random.normal(size=units.shape)), jnp.asarray(random.normal(size=begin.shape)) * begin)
    warmer = warming(forcing, 3)

    @jax.jit
    def total(units: Array, pools: Array) -> Array:
        followed = transient(pools, physical(units), warmer, np.full(3, YEAR), scheme=scheme).pools
        return jnp.sum(jnp.log(stock(followed)))

    gradients = jax.grad(total, argnums=(0, 1))(units, begin)
    slopes = []
    for number, direction in enumerate(directions):
        ends = [[units, begin], [units, begin]]
        for sign, end in zip((1, -1), ends, strict=True):
            end[number] = end[number] + sign * 1e-6 * direction
        slopes.append((total(*ends[0]) - total(*ends[1])) / 2e-6)
    got = [jnp.sum(gradient * direction) for gradient, direction in zip(gradients, directions, strict=True)]
    np.testing.assert_allclose(got, slopes, rtol=1e-6)


@SCHEMES
def test_derivatives_by_the_climate(scheme: Any, begin: Array, parameters: Array, forcing: Forcing) -> None:
    """Of the logarithm of the stocks, by what every step warms and by its litter, against differences."""
    random = np.random.default_rng(6)
    changes = random.normal(size=(3, SITES, 1, 1)), random.normal(size=(3, SITES, 1, 1))
    base = warming(forcing, 3)

    @jax.jit
    def total(sizes: Array) -> Array:
        climate = replace(
            base,
            soil_temperature=base.soil_temperature + sizes[0] * changes[0],
            litter_input=base.litter_input * (1.0 + sizes[1] * changes[1]),
        )
        return jnp.sum(jnp.log(stock(transient(begin, parameters, climate, np.full(3, YEAR), scheme=scheme).pools)))

    slopes = [(total(1e-4 * way) - total(-1e-4 * way)) / 2e-4 for way in jnp.eye(2)]
    np.testing.assert_allclose(jax.grad(total)(jnp.zeros(2)), slopes, rtol=1e-6)


def test_warmth_takes_carbon_away(steady: Array, parameters: Array, forcing: Forcing) -> None:
    steps = 20
    stocks = stock(transient(steady, parameters, warming(forcing, steps), np.full(steps, YEAR)).pools)
    assert (stocks[-1] < stock(steady)).all()
    assert (jnp.diff(stocks, axis=0) < 0).all()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"pools": np.ones((SITES, LAYERS, len(POOLS)))}, r"pools of shape .*; give one row per site$"),
        ({"parameters": np.ones((SITES, 20))}, r"parameters of shape .*; give one row per site$"),
        ({"days": [YEAR, 0.0]}, "positive lengths"),
        ({"days": [[YEAR]]}, "positive lengths"),
        ({"scheme": "explicit"}, "scheme 'explicit'"),
        ({"column": "open"}, "column 'open'"),
    ],
)
def test_bad_input_is_refused(
    changes: dict[str, Any], match: str, begin: Array, parameters: Array, forcing: Forcing
) -> None:
    given = {"pools": begin, "parameters": parameters, "forcing": forcing, "days": [YEAR]} | changes
    with pytest.raises(InputError, match=match):
        transient(**given)


def test_a_forcing_of_other_steps_is_refused(begin: Array, parameters: Array, forcing: Forcing) -> None:
    with pytest.raises(InputError, match="3 steps and 2 lengths"):
        transient(begin, parameters, warming(forcing, 3), [YEAR, YEAR])
