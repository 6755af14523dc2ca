"""The plain 140 × 140 system and its solution by LU: the oracle of :mod:`binn_prob.clm5.steady_state`.

Slow, and inaccurate where decomposition is many orders of magnitude slower than mixing; there to be compared with.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from binn_prob.clm5.allocation import litter_source
from binn_prob.clm5.forcing import LITTER_POOLS, Forcing
from binn_prob.clm5.layers import LAYERS
from binn_prob.clm5.parameters import named
from binn_prob.clm5.pools import POOLS
from binn_prob.clm5.steady_state import prepare, system
from binn_prob.clm5.transfers import TRANSFERS, fraction
from binn_prob.clm5.transport import Column

__all__ = ["dense_steady_state", "dense_system"]

_SIZE = len(POOLS) * LAYERS


def dense_system(parameters: ArrayLike, forcing: Forcing, column: Column = "closed") -> tuple[Array, Array]:
    """Assemble ``V - A K`` and the litter input.

    Parameters
    ----------
    parameters : array (site, parameter), physical units
    forcing : Forcing
    column : {"closed", "published"}

    Returns
    -------
    matrix : array (site, 140, 140) [day-1]
        State index: 20 × pool + layer.
    source : array (site, 140) [g C m-3 day-1]
    """
    by_name, soil = named(parameters), prepare(forcing, column)
    terms = system(by_name, soil)
    sites = soil.active.shape[-1]
    layer = jnp.arange(LAYERS)
    matrix = jnp.zeros((sites, len(POOLS), LAYERS, len(POOLS), LAYERS))
    for pool in range(len(POOLS)):
        matrix = matrix.at[:, pool, layer, pool, layer].add(terms.rate[pool].T)
    for transfer in TRANSFERS:
        flow = (fraction(by_name, transfer) * terms.rate[transfer.donor]).T
        matrix = matrix.at[:, transfer.receiver, layer, transfer.donor, layer].add(-flow)
    up, down = terms.exchange
    for pool in range(1, len(POOLS)):
        matrix = matrix.at[:, pool, layer, pool, layer].add((up + down).T)
        matrix = matrix.at[:, pool, layer[1:], pool, layer[:-1]].add(-up[1:].T)
        matrix = matrix.at[:, pool, layer[:-1], pool, layer[1:]].add(-down[:-1].T)
    source = jnp.zeros((sites, len(POOLS), LAYERS))
    source = source.at[:, : len(LITTER_POOLS)].set(jnp.transpose(litter_source(by_name, soil.litter), (2, 0, 1)))
    return matrix.reshape(sites, _SIZE, _SIZE), source.reshape(sites, _SIZE)


def dense_steady_state(parameters: ArrayLike, forcing: Forcing, column: Column = "closed") -> Array:
    """Steady-state carbon (site, pool, layer) [g C m-3] by LU; see :func:`binn_prob.clm5.steady_state.steady_state`."""
    matrix, source = dense_system(parameters, forcing, column)
    solution: Array = jnp.linalg.solve(matrix, source[..., None])
    return solution[..., 0].reshape(-1, len(POOLS), LAYERS)
