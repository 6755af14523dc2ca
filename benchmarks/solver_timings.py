"""Time the steady state and its gradient against dense solutions, and what the machine can do, with pytest-benchmark.

``python benchmarks/solver.py`` runs this file once for each precision and number of threads, which a process chooses
before JAX starts, and makes a table of it.  By itself, for a look at one of them:

    BINN_PROB_PRECISION=float32 pytest -n 0 benchmarks/solver_timings.py

The sites are New York's, repeated; parameters are drawn uniformly inside BINN's ranges.
"""

from __future__ import annotations

from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import binn_prob as bp
from binn_prob import clm5
from binn_prob.clm5.dense import dense_system

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax import Array

SITES = (1, 16, 64, 256, 1402, 25925)
"""As many as: one chain, chains of one site, a batch, New York's profiles, those of the conterminous United States"""
COMPILED_AT = 1402
COUNTED_AT = 256
"""Sites that are solved for in one piece, whose operations XLA counts"""
ELEMENTS, REPEATED = 1 << 12, 2048
"""Numbers that stay in the cache of a core, too few to be shared out among cores, and how often each is operated on, by
which the speed of arithmetic is measured"""

EACH = pytest.mark.parametrize("sites", SITES)
MANY = pytest.mark.parametrize("sites", [*SITES, 103_700])
"""The last is four times the one before, for which a dense solution lacks the memory"""
CHUNKS = pytest.mark.parametrize("sites", [64, 128, 256, 512, 1402])
"""Sites that are solved for at a time"""


@cache
def profiles() -> clm5.Forcing:
    """Return the forcing of the published profiles."""
    return clm5.Forcing.from_dataset(bp.data.load("new-york"))


def drawn(sites: int) -> tuple[Array, clm5.Forcing]:
    """Return parameters and forcing of so many sites."""
    chosen = np.resize(np.arange(len(profiles().bedrock_layer)), sites)
    units = np.random.default_rng(0).uniform(0.05, 0.95, (sites, len(clm5.NAMES)))
    return clm5.physical(units).astype(float), jax.tree.map(lambda array: array[chosen], profiles())


def columns(sites: int) -> tuple[Array, clm5.SoilColumn]:
    """Return parameters and prepared columns."""
    parameters, forcing = drawn(sites)
    return parameters, clm5.prepare(forcing)


def systems(sites: int) -> tuple[Array, Array]:
    """Return the plain matrices and right-hand sides of the same sites."""
    matrix, source = jax.jit(dense_system)(*drawn(sites))
    return matrix, source[..., None]


def loss(parameters: Array, soil: clm5.SoilColumn) -> Array:
    """Return what a likelihood sees: logarithms of soil organic carbon."""
    return jnp.sum(jnp.log1p(clm5.soil_organic_carbon(clm5.solve(parameters, soil))))


VALUE_AND_GRADIENT = jax.value_and_grad(loss)


def time_it(benchmark: Any, function: Callable[..., Any], *arguments: Any) -> None:
    """Time a compiled function until its result is there, and keep how much memory XLA says that it takes."""
    jitted = jax.jit(function)
    memory = jitted.lower(*arguments).compile().memory_analysis()
    if memory is not None:
        moved = memory.argument_size_in_bytes + memory.output_size_in_bytes
        benchmark.extra_info.update(moved=moved, bytes=moved + memory.temp_size_in_bytes)
    benchmark(lambda: jax.block_until_ready(jitted(*arguments)))


@cache
def operations(function: Callable[..., Any]) -> dict[str, float]:
    """Return how many operations a site takes, as XLA counts them with all loops unrolled and before it optimises."""
    jax.clear_caches()  # of what was traced with loops, and then without
    with mock.patch.object(jax.lax, "scan", partial(jax.lax.scan, unroll=True)):
        counted = jax.jit(function).lower(*columns(COUNTED_AT)).cost_analysis()
    jax.clear_caches()
    return {name: counted[name] / COUNTED_AT for name in ("flops", "transcendentals")}


@MANY
def test_forward(benchmark: Any, sites: int) -> None:
    """Time the solution of prepared columns."""
    benchmark.extra_info.update(operations(clm5.solve))
    time_it(benchmark, clm5.solve, *columns(sites))


@MANY
def test_value_and_gradient(benchmark: Any, sites: int) -> None:
    """Time a loss and its gradient by all parameters."""
    benchmark.extra_info.update(operations(VALUE_AND_GRADIENT))
    time_it(benchmark, VALUE_AND_GRADIENT, *columns(sites))


@EACH
def test_dense(benchmark: Any, sites: int) -> None:
    """Time the solution of ready matrices, all at once."""
    time_it(benchmark, jnp.linalg.solve, *systems(sites))


@EACH
def test_lapack(benchmark: Any, sites: int) -> None:
    """Time the solution of ready matrices, one by one in NumPy."""
    matrix, source = (np.asarray(array) for array in systems(sites))
    benchmark(lambda: [np.linalg.solve(one, right) for one, right in zip(matrix, source, strict=True)])


@CHUNKS
def test_chunks(benchmark: Any, monkeypatch: pytest.MonkeyPatch, sites: int) -> None:
    """Time a loss and its gradient of New York's profiles, so many at a time."""
    monkeypatch.setattr(import_module("binn_prob.clm5.steady_state"), "CHUNK", sites)
    jax.clear_caches()
    time_it(benchmark, VALUE_AND_GRADIENT, *columns(1402))
    monkeypatch.undo()
    jax.clear_caches()


def test_compilation(benchmark: Any) -> None:
    """Time the compilation of value and gradient, tracing included."""
    arguments = columns(COMPILED_AT)

    def compile_anew() -> None:
        jax.clear_caches()
        jax.jit(VALUE_AND_GRADIENT).lower(*arguments).compile()

    benchmark.pedantic(compile_anew, rounds=3)


def test_multiply_add(benchmark: Any) -> None:
    """Time multiplications and additions of one core.

    Eight of each to a number that is read: with fewer it waits for the cache, with more for its own results.
    """
    benchmark.extra_info["count"] = 2 * REPEATED * ELEMENTS
    time_it(benchmark, lambda x: repeated(lambda x: 0.999 * x + 0.1, x, at_once=8), jnp.ones(ELEMENTS))


def test_exponential(benchmark: Any) -> None:
    """Time exponentials of one core, one to a number that is read: several would wait for one another."""
    benchmark.extra_info["count"] = REPEATED * ELEMENTS
    time_it(benchmark, lambda x: repeated(lambda x: jnp.exp(-x), x, at_once=1), jnp.ones(ELEMENTS))


def test_memory(benchmark: Any) -> None:
    """Time reading from memory beyond all caches; a result of that size would be a new allocation each time."""
    time_it(benchmark, jnp.sum, jnp.ones(1 << 25))


def repeated(function: Callable[[Array], Array], x: Array, at_once: int) -> Array:
    """Apply a function to its own result, so many times in one loop over the numbers."""

    def some(_: int, x: Array) -> Array:
        for _ in range(at_once):
            x = function(x)
        return x

    return jax.lax.fori_loop(0, REPEATED // at_once, some, x)
