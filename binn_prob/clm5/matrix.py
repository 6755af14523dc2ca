"""The matrix ``V - A K`` of a soil column: its product with pools, and its solution by structure.

Woody debris does not mix, so its system is diagonal; the three litter pools pass nothing to each other, so each has a
tridiagonal system; the three soil pools form one block-tridiagonal system of 3 × 3 blocks.  They are solved in that
order by :mod:`binn_prob.clm5.elimination`.  Derivatives, forward and reverse, follow from the implicit function
theorem: one more solve, with the transposed matrix in reverse mode, reusing the elimination.

:mod:`binn_prob.clm5.dense` holds the plain version of the same matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from binn_prob.clm5 import elimination
from binn_prob.clm5.pools import LITTER, POOLS, SOIL, WOODY
from binn_prob.clm5.transfers import TRANSFERS, fraction, inflows, respired_fractions

__all__ = ["System", "multiply", "solver"]

_LITTER_POOLS = LITTER.stop - LITTER.start


class System(NamedTuple):
    """The matrix ``V - A K + storage``; the site is the last axis."""

    rate: Array
    """decomposition rates (pool, layer, site) [day-1]"""
    fractions: dict[str, Array]
    """the parameters that are transfer fractions, each (site,)"""
    exchange: Array
    """exchange with the layers above and below (direction, layer, site) [day-1]"""
    storage: Array | float = 0.0
    """what stays in the pools for each unit of time: the reciprocal of an implicit time step, 0 in the steady state
    [day-1]"""


def multiply(matrix: System, carbon: Array) -> Array:
    """Multiply the matrix with pools (pool, layer, site): what decomposition and mixing take away [g C m-3 day-1]."""
    decomposed = matrix.rate * carbon
    gained = inflows(matrix.fractions, decomposed, slice(None), slice(None))
    mixing = carbon[LITTER.start :]
    edge = jnp.zeros_like(mixing[:, :1])
    step = jnp.concatenate([edge, jnp.diff(mixing, axis=1), edge], axis=1)
    up, down = matrix.exchange
    mixed = up * step[:, :-1] - down * step[:, 1:]
    return (decomposed - gained + matrix.storage * carbon).at[LITTER.start :].add(mixed)


def solver(matrix: System) -> Callable[[Array], Array]:
    """Eliminate a matrix once, and return what solves with it for any right-hand side (pool, layer, site).

    Differentiable in the matrix and in the right-hand side.
    """
    fixed = jax.lax.stop_gradient(matrix)
    factors = _eliminate_litter(fixed), _eliminate_soil(fixed)

    def solution(right: Array) -> Array:
        solved: Array = jax.lax.custom_linear_solve(
            lambda carbon: multiply(matrix, carbon),
            right,
            solve=lambda _, right: _solve(fixed, factors, right),
            transpose_solve=lambda _, right: _solve_transposed(fixed, factors, right),
        )
        return solved

    return solution


def _eliminate_litter(matrix: System) -> elimination.Factors:
    """Eliminate the litter pools: they stand side by side on the site axis, each a block of one."""
    rate = _side_by_side(matrix.rate[LITTER])
    up, down = jnp.tile(matrix.exchange, _LITTER_POOLS)
    return elimination.factorise(rate[None], rate + matrix.storage, up, down)


def _eliminate_soil(matrix: System) -> elimination.Factors:
    """Eliminate the soil pools, one block of three."""
    rate = matrix.rate[SOIL]
    transfer = [[jnp.zeros_like(rate[0])] * len(rate) for _ in rate]
    for row in TRANSFERS:
        if row.donor >= SOIL.start:
            donor, receiver = row.donor - SOIL.start, row.receiver - SOIL.start
            transfer[receiver][donor] = fraction(matrix.fractions, row) * rate[donor]
    excess = respired_fractions(matrix.fractions)[SOIL, None] * rate + matrix.storage
    return elimination.factorise(jnp.array(transfer), excess, *matrix.exchange)


def _solve(matrix: System, factors: tuple[elimination.Factors, elimination.Factors], right: Array) -> Array:
    """Solve from woody debris to soil."""
    litter_factors, soil_factors = factors
    leaves = matrix.rate[WOODY] + matrix.storage
    woody, debris = right[WOODY] / leaves, right[WOODY] * (matrix.rate[WOODY] / leaves)  # decomposed whole if unstored
    litter_right = right[LITTER] + inflows(matrix.fractions, debris, WOODY, LITTER)
    litter = _apart(elimination.solve(litter_factors, _side_by_side(litter_right)))
    decomposed = jnp.concatenate([debris, matrix.rate[LITTER] * litter])
    soil_right = right[SOIL] + inflows(matrix.fractions, decomposed, LITTER, SOIL)
    return jnp.concatenate([woody, litter, elimination.solve(soil_factors, soil_right)])


def _solve_transposed(matrix: System, factors: tuple[elimination.Factors, elimination.Factors], right: Array) -> Array:
    """Solve the transposed system, from soil to woody debris."""
    litter_factors, soil_factors = factors
    solution = dict(enumerate(elimination.solve_transposed(soil_factors, right[SOIL]), start=SOIL.start))

    def received(donor: int) -> Array:
        rows = [row for row in TRANSFERS if row.donor == donor]
        passed_on = (fraction(matrix.fractions, row) * solution[row.receiver] for row in rows)
        share = sum(passed_on, jnp.zeros_like(right[0]))
        return right[donor] + matrix.rate[donor] * share

    litter_right = jnp.stack([received(donor) for donor in range(LITTER.start, LITTER.stop)])
    litter = _apart(elimination.solve_transposed(litter_factors, _side_by_side(litter_right)))
    solution.update(enumerate(litter, start=LITTER.start))
    solution[0] = received(0) / (matrix.rate[0] + matrix.storage)
    return jnp.stack([solution[pool] for pool in range(len(POOLS))])


def _side_by_side(litter: Array) -> Array:
    """Lay the litter pools side by side on the site axis: (pool, layer, site) → (1, layer, pool × site)."""
    return jnp.concatenate(list(litter), axis=-1)[None]


def _apart(litter: Array) -> Array:
    """Undo :func:`_side_by_side`."""
    return jnp.stack(jnp.split(litter[0], _LITTER_POOLS, axis=-1))
