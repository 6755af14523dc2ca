"""The elimination against plain solves of the same block-tridiagonal matrices."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from binn_prob.clm5.elimination import factorise, solve, solve_transposed

LAYERS, SITES = 7, 4


class Blocks(NamedTuple):
    transfer: np.ndarray
    excess: np.ndarray
    up: np.ndarray
    down: np.ndarray


def blocks(pools: int, decomposition: float = 1.0) -> Blocks:
    random = np.random.default_rng(pools)
    up, down = random.uniform(0.5, 2.0, (2, LAYERS, SITES))
    up[0] = down[-1] = 0.0
    transfer = decomposition * random.uniform(0.0, 1.0, (pools, pools, LAYERS, SITES))
    return Blocks(transfer, decomposition * random.uniform(0.5, 1.0, (pools, LAYERS, SITES)), up, down)


def plain(parts: Blocks, site: int) -> np.ndarray:
    """The matrix of one site, with index pool * LAYERS + layer."""
    pools = len(parts.transfer)
    matrix = np.zeros((pools, LAYERS, pools, LAYERS))
    for layer in range(LAYERS):
        for donor in range(pools):
            matrix[donor, layer, donor, layer] += parts.excess[donor, layer, site]
            for receiver in set(range(pools)) - {donor}:
                share = parts.transfer[receiver, donor, layer, site]
                matrix[donor, layer, donor, layer] += share
                matrix[receiver, layer, donor, layer] -= share
            for other, rate in ((layer - 1, parts.up), (layer + 1, parts.down)):
                if 0 <= other < LAYERS:
                    matrix[donor, layer, donor, layer] += rate[layer, site]
                    matrix[donor, layer, donor, other] -= rate[layer, site]
    return matrix.reshape(pools * LAYERS, -1)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("pools", [1, 3])
def test_solves(pools: int, transposed: bool) -> None:
    parts = blocks(pools)
    right = np.random.default_rng(9).normal(size=(pools, LAYERS, SITES))  # of either sign, as a cotangent may be
    got = np.asarray((solve_transposed if transposed else solve)(factorise(*map(jnp.asarray, parts)), right))
    for site in range(SITES):
        matrix = plain(parts, site)
        expected = np.linalg.solve(matrix.T if transposed else matrix, right[..., site].ravel())
        np.testing.assert_allclose(got[..., site].ravel(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("pools", [1, 3])
def test_keeps_its_digits_where_decomposition_is_slow(pools: int) -> None:
    """With rates r times smaller everywhere, the well-mixed carbon is 1 / r times larger.

    A plain solve loses all digits below r = 1e-16.
    """
    right = np.ones((pools, LAYERS, SITES))
    slow, slower = (solve(factorise(*map(jnp.asarray, blocks(pools, rate))), right) for rate in (1e-12, 1e-36))
    np.testing.assert_allclose(slower * 1e-24, slow, rtol=1e-10)


def test_blocks_of_two_pools_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks of 1 or 3 pools can be eliminated, not of 2"):
        factorise(*map(jnp.asarray, blocks(2)))
