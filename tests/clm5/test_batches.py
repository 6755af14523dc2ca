"""Batches of sites and draws, compilation, and bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from binn_prob.clm5 import LAYERS, Forcing, physical, prepare, processes, solve, steady_state
from binn_prob.errors import InputError

SITES = 16
MakeForcing = Callable[..., Forcing]
UnitParameters = Callable[..., np.ndarray]


def test_sites_do_not_know_of_each_other(make_forcing: MakeForcing, unit_parameters: UnitParameters) -> None:
    forcing, parameters = make_forcing(), physical(unit_parameters())
    together = steady_state(parameters, forcing)
    backwards = steady_state(parameters[::-1], jax.tree.map(lambda array: array[::-1], forcing))
    np.testing.assert_allclose(backwards[::-1], together, rtol=1e-14)


def test_many_draws_at_once_equal_one_after_the_other(
    make_forcing: MakeForcing, unit_parameters: UnitParameters
) -> None:
    soil = prepare(make_forcing())
    draws = physical(np.stack([unit_parameters(seed=seed) for seed in range(4)]))
    at_once = jax.vmap(solve, in_axes=(0, None))(draws, soil)
    np.testing.assert_allclose(at_once, jnp.stack([solve(draw, soil) for draw in draws]), rtol=1e-14)


@pytest.mark.parametrize("sites", [257, 700, 5000])
def test_many_sites_are_solved_for_in_chunks(
    sites: int, make_forcing: MakeForcing, unit_parameters: UnitParameters, pull: Any
) -> None:
    """The first and the last sites of a large batch, and their gradients, are those of a small one."""
    forcing, units = make_forcing(sites), jnp.asarray(unit_parameters(sites))
    pools = steady_state(physical(units), forcing)
    gradients = pull(units, jnp.ones((sites, LAYERS)), prepare(forcing))
    for chosen in (slice(SITES), slice(sites - SITES, None)):
        few = jax.tree.map(lambda array, chosen=chosen: array[chosen], forcing)
        np.testing.assert_allclose(pools[chosen], steady_state(physical(units[chosen]), few), rtol=1e-12)
        alone = pull(units[chosen], jnp.ones((SITES, LAYERS)), prepare(few))
        np.testing.assert_allclose(gradients[chosen], alone, rtol=1e-9, atol=1e-9)
    assert (pools[:, :, 0] > 0).any(axis=1).all()


@pytest.fixture(scope="module")
def compilations() -> list[str]:
    """Grows by one entry with everything that JAX compiles."""
    events: list[str] = []

    def listen(event: str, duration: float, **details: object) -> None:
        if "backend_compile" in event:
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return events


def test_another_batch_of_the_same_shape_compiles_nothing(
    compilations: list[str], make_forcing: MakeForcing, unit_parameters: UnitParameters, pull: Any
) -> None:
    def work(seed: int) -> list[jax.Array]:
        units, forcing = jnp.asarray(unit_parameters(seed=seed)), make_forcing(seed=seed)
        pools = steady_state(physical(units), forcing)
        return [pools, pull(units, jnp.ones((SITES, LAYERS)), prepare(forcing)), processes(physical(units), forcing)]

    work(0)
    jax.jit(lambda x: x + 17.0)(1.0)
    assert compilations
    compilations.clear()
    results = work(1), work(2)
    assert compilations == []
    assert all((one != other).any() for one, other in zip(*results, strict=True))


def test_parameters_of_another_shape_are_refused(make_forcing: MakeForcing) -> None:
    with pytest.raises(InputError, match=r"parameters of shape \(4, 21\); expected shape \(5, 21\); give one row per"):
        steady_state(np.ones((4, 21)), make_forcing(5))
    with pytest.raises(InputError, match=r"parameters of shape \(21,\)"):
        steady_state(np.ones(21), make_forcing(5))
    with pytest.raises(InputError, match=r"parameters of shape \(5, 20\)"):
        jax.jit(steady_state)(np.ones((5, 20)), make_forcing(5))


def test_unknown_column_is_refused(make_forcing: MakeForcing) -> None:
    with pytest.raises(InputError, match="column 'open'; expected 'closed' or 'published'; choose one"):
        steady_state(np.ones((5, 21)), make_forcing(5), "open")  # type: ignore[arg-type]
