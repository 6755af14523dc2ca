"""Subtraction-free elimination of block-tridiagonal M-matrices.

The steady state of pools that decompose, pass carbon to one another and mix with the layers above and below solves

    (E_j + up_j + down_j) X_j - up_j X_{j-1} - down_j X_{j+1} = b_j,      j = 0 … layers - 1,

where the block ``E_j = D_j - O_j`` has non-negative off-diagonals ``O_j`` and column sums ``e_j >= 0``: what leaves a
pool and does not arrive in another is respired.  Decomposition is up to thirty orders of magnitude slower than mixing,
so a diagonal ``e + O + up + down`` loses ``e`` to rounding.  Here, as in the algorithm of Grassmann, Taksar and Heyman
(1985, Operations Research 33:1107), blocks are kept as the pair ``(O, e)`` and every update is a sum of products of
non-negative numbers: each component of the solution has a small relative error however ill-conditioned the matrix is.

With ``Q_j`` the block of the pivot, the recurrences are

    Q_j = E'_j + down_j,   E'_{j+1} = E_{j+1} + up_{j+1} Q_j^{-1} E'_j,   E'_0 = E_0,

and ``Q^{-1} E' = 1 - down Q^{-1}`` has off-diagonals ``-down Q^{-1}`` and column sums ``e' Q^{-1}``.

Blocks are of 1 or 3 pools; arrays are (..., layer, site) with pools in front.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["Factors", "factorise", "solve", "solve_transposed"]


class Factors(NamedTuple):
    """The elimination of a block-tridiagonal matrix, for any number of right-hand sides."""

    inverse_pivot: Array
    """Q^{-1}, (layer, pool, pool, site)"""
    up: Array
    """(layer, site)"""
    down: Array
    """(layer, site)"""


def factorise(transfer: Array, excess: Array, up: Array, down: Array) -> Factors:
    """Eliminate from the uppermost layer down.

    Parameters
    ----------
    transfer : array (receiver, donor, layer, site)
        The off-diagonals O; the diagonal is not read.
    excess : array (donor, layer, site)
        The column sums e.
    up, down : array (layer, site)
        Exchange rates with the layers above and below; ``up[0]`` and ``down[-1]`` must be 0.

    Raises
    ------
    ValueError
        If the blocks have neither 1 nor 3 pools.
    """
    invert = {1: _invert_one, 3: _invert_three}.get(len(transfer))
    if invert is None:
        raise ValueError(f"blocks of 1 or 3 pools can be eliminated, not of {len(transfer)}")

    def step(carry: tuple[Array, Array], layer: tuple[Array, Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        carried_transfer, carried_excess = carry
        transfer, excess, up, down = layer
        transfer = transfer + up * carried_transfer
        excess = excess + up * carried_excess
        inverse = invert(transfer, excess + down)
        return (down * inverse, jnp.sum(excess[:, None] * inverse, axis=0)), inverse

    start = jnp.zeros_like(transfer[:, :, 0]), jnp.zeros_like(excess[:, 0])
    layers = jnp.moveaxis(transfer, 2, 0), jnp.moveaxis(excess, 1, 0), up, down
    return Factors(jax.lax.scan(step, start, layers)[1], up, down)


def solve(factors: Factors, source: Array) -> Array:
    """Solve for the right-hand side ``source`` (pool, layer, site)."""
    return _substitute(factors.inverse_pivot, factors.up, factors.down, source)


def solve_transposed(factors: Factors, source: Array) -> Array:
    """Solve with the transposed matrix, by the same elimination, for ``source`` (pool, layer, site)."""
    zero = jnp.zeros_like(factors.up[:1])
    up, down = jnp.concatenate([zero, factors.down[:-1]]), jnp.concatenate([factors.up[1:], zero])
    return _substitute(jnp.swapaxes(factors.inverse_pivot, 1, 2), up, down, source)


def _substitute(inverse_pivot: Array, up: Array, down: Array, source: Array) -> Array:
    """Substitute forwards, then backwards."""

    def forward(carried: Array, layer: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        inverse, up, source = layer
        right = source + up * carried
        return _apply(inverse, right), right

    def backward(below: Array, layer: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        inverse, down, right = layer
        value = _apply(inverse, right + down * below)
        return value, value

    start = jnp.zeros_like(source[:, 0])
    _, right = jax.lax.scan(forward, start, (inverse_pivot, up, jnp.moveaxis(source, 1, 0)))
    _, solution = jax.lax.scan(backward, start, (inverse_pivot, down, right), reverse=True)
    return jnp.moveaxis(solution, 0, 1)


def _apply(matrix: Array, vector: Array) -> Array:
    """Multiply matrices (pool, pool, site) and vectors (pool, site)."""
    return jnp.sum(matrix * vector[None], axis=1)


def _invert_one(transfer: Array, excess: Array) -> Array:
    """Invert blocks of one pool."""
    del transfer
    return 1.0 / excess[:, None]


def _invert_three(transfer: Array, excess: Array) -> Array:
    """Invert ``D - O`` with column sums ``excess`` for three pools, by cofactors free of subtraction."""
    scale = excess[0] + transfer[1, 0] + transfer[2, 0]  # a product of three rates may underflow in float32
    o, e = transfer / scale, excess / scale
    adjugate: list[list[Array]] = [[e[0]] * 3 for _ in range(3)]
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        diagonal_j = e[j] + o[i, j] + o[k, j]
        diagonal_k = e[k] + o[i, k] + o[j, k]
        adjugate[i][i] = (e[j] + o[i, j]) * diagonal_k + o[k, j] * (e[k] + o[i, k])
        adjugate[i][j] = o[i, j] * diagonal_k + o[i, k] * o[k, j]
        adjugate[i][k] = o[i, k] * diagonal_j + o[i, j] * o[j, k]
    determinant = e[0] * adjugate[0][0] + e[1] * adjugate[1][0] + e[2] * adjugate[2][0]
    return jnp.stack([jnp.stack(row) for row in adjugate]) / (determinant * scale)
