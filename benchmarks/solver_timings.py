"""Time the steady state and its gradient against dense solutions of the same systems, with pytest-benchmark.

``python benchmarks/solver.py`` runs this file once for each precision and number of threads, which a process chooses
before JAX starts, and makes a table of it.  By itself, for a look at one of them:

    BINN_PROB_PRECISION=float32 pytest -n 0 benchmarks/solver_timings.py

The sites are New York's, repeated; parameters are drawn uniformly inside BINN's ranges.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

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
DENSE = SITES[:-1]
"""Numbers of sites whose matrices fit into memory"""
COMPILED_AT = 1402

EACH = pytest.mark.parametrize("sites", SITES)
EACH_DENSE = pytest.mark.parametrize("sites", DENSE)


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


def time_it(benchmark: Any, function: Callable[..., Any], *arguments: Any) -> None:
    """Time a compiled function until its result is there, and keep what XLA says of it."""
    jitted = jax.jit(function)
    compiled = jitted.lower(*arguments).compile()
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    if memory is not None:
        benchmark.extra_info["bytes"] = (
            memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        )
    if cost is not None:
        benchmark.extra_info["flops"], benchmark.extra_info["bytes_accessed"] = cost["flops"], cost["bytes accessed"]
    benchmark(lambda: jax.block_until_ready(jitted(*arguments)))


@EACH
def test_forward(benchmark: Any, sites: int) -> None:
    """Time the solution of prepared columns."""
    time_it(benchmark, clm5.solve, *columns(sites))


@EACH
def test_value_and_gradient(benchmark: Any, sites: int) -> None:
    """Time a loss and its gradient by all parameters."""
    time_it(benchmark, jax.value_and_grad(loss), *columns(sites))


@EACH_DENSE
def test_dense(benchmark: Any, sites: int) -> None:
    """Time the solution of ready matrices, all at once."""
    time_it(benchmark, jnp.linalg.solve, *systems(sites))


@EACH_DENSE
def test_lapack(benchmark: Any, sites: int) -> None:
    """Time the solution of ready matrices, one by one in NumPy."""
    matrix, source = (np.asarray(array) for array in systems(sites))
    benchmark(lambda: [np.linalg.solve(one, right) for one, right in zip(matrix, source, strict=True)])


def test_compilation(benchmark: Any) -> None:
    """Time the compilation of value and gradient, tracing included."""
    arguments = columns(COMPILED_AT)

    def compile_anew() -> None:
        jax.clear_caches()
        jax.jit(jax.value_and_grad(loss)).lower(*arguments).compile()

    benchmark.pedantic(compile_anew, rounds=3)
