"""The steady state of the soil column, by its structure.

``dX/dt = I + (A K - V) X = 0`` for 7 pools in 20 layers (Lu et al. 2020, JAMES 12, e2020MS002105; Huang et al. 2018,
GCB 24:1061), solved by :mod:`binn_prob.clm5.matrix`.

Internally the site is the last axis, so that the recurrences over layers run over contiguous memory.  Many sites are
solved for in chunks.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from binn_prob.clm5.allocation import Litter, litter_source, prepare_litter
from binn_prob.clm5.environment import Environment, decomposition_rates, prepare_environment
from binn_prob.clm5.forcing import Forcing
from binn_prob.clm5.layers import LAYERS, THICKNESS
from binn_prob.clm5.matrix import System, solver
from binn_prob.clm5.parameters import NAMES, named
from binn_prob.clm5.pools import POOLS
from binn_prob.clm5.transfers import TRANSFERS, respired_fractions
from binn_prob.clm5.transport import Column, Mixing, check_column, exchange_rates, prepare_mixing
from binn_prob.errors import InputError
from binn_prob.sharding import everywhere, over_sites

__all__ = ["SoilColumn", "check_shapes", "prepare", "respired", "solve", "source", "steady_state", "system"]

CHUNK = 256
"""Sites that a CPU solves for at a time: what they need stays in the cache of a core"""
CHUNK_OF_AN_ACCELERATOR = 65_536
"""The same where there are thousands of cores, and memory is what ends"""
KEPT = 4096
"""Sites whose factors are kept for the reverse mode, at most; of more they are worked out once again"""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SoilColumn:
    """Everything about a batch of sites that does not depend on parameters, computed once by :func:`prepare`."""

    environment: Environment
    mixing: Mixing
    litter: Litter
    active: Array
    """(layer, site) layers that decompose carbon: all of them in the published column, the soil in the closed one"""


def prepare(forcing: Forcing, column: Column = "closed") -> SoilColumn:
    """Compute once what does not depend on parameters.

    Parameters
    ----------
    forcing : Forcing
        Of any number of sites.
    column : {"closed", "published"}
        ``closed``: the soil ends at bedrock, carbon is conserved, pools below bedrock are 0.  ``published``: the column
        of the BINN and PRODA programs, which leaks at bedrock.

    Raises
    ------
    InputError
        If there is no column of that name.

    Warns
    -----
    UserWarning
        If the published column is asked for in float32, which lacks the range that its leak depends on.
    """
    check_column(column)
    if column == "published" and jnp.result_type(float) == jnp.float32:
        warnings.warn(
            "the published column needs float64: in float32 its carbon can be wrong by any factor", stacklevel=2
        )
    prepared: SoilColumn = _prepare(forcing, column)
    return prepared


@partial(jax.jit, static_argnames="column")
def _prepare(forcing: Forcing, column: Column) -> SoilColumn:
    soil = jnp.arange(LAYERS)[:, None] < forcing.bedrock_layer[None, :]
    active = soil if column == "closed" else jnp.ones_like(soil)
    return SoilColumn(
        environment=prepare_environment(forcing),
        mixing=prepare_mixing(forcing, column),
        litter=prepare_litter(forcing, active),
        active=active,
    )


def steady_state(parameters: ArrayLike, forcing: Forcing, column: Column = "closed") -> Array:
    """Steady-state carbon of every pool and layer.

    Parameters
    ----------
    parameters : array (site, parameter)
        Physical units, order of :data:`binn_prob.clm5.parameters.NAMES`.
    forcing : Forcing
        Of the same sites.
    column : {"closed", "published"}
        See :func:`prepare`.

    Returns
    -------
    array (site, pool, layer) [g C m-3]

    Raises
    ------
    InputError
        If the shapes do not fit, or there is no such column.

    Notes
    -----
    Differentiable in ``parameters``.  To solve for many parameters at the same sites, call :func:`prepare` once and
    :func:`solve` many times.
    """
    return solve(parameters, prepare(forcing, column))


def solve(parameters: ArrayLike, soil: SoilColumn) -> Array:
    """Steady-state carbon (site, pool, layer) [g C m-3] of prepared columns; see :func:`steady_state`.

    Raises
    ------
    InputError
        If ``parameters`` is not of shape (site, parameter).
    """
    parameters = jnp.asarray(parameters)
    check_shapes(soil.active.shape[-1], parameters=parameters)
    pools: Array = _solve_column(parameters, soil)
    return pools


def check_shapes(sites: int, **arrays: Array) -> None:
    """Refuse ``parameters`` that are not (site, parameter), and ``pools`` that are not (site, pool, layer).

    Raises
    ------
    InputError
        Naming the array and both shapes.
    """
    shapes = {"parameters": (sites, len(NAMES)), "pools": (sites, len(POOLS), LAYERS)}
    for name, array in arrays.items():
        if array.shape != shapes[name]:
            raise InputError(f"{name} of shape {array.shape}", f"shape {shapes[name]}", "give one row per site")


@jax.jit  # a new batch of the same shape compiles nothing, wherever it comes from
def _solve_column(parameters: Array, soil: SoilColumn) -> Array:
    pools: Array = everywhere(over_sites(_solve_chunks, (0, -1))(parameters, soil))
    return pools


def _solve_chunks(parameters: Array, soil: SoilColumn) -> Array:
    sites = len(parameters)
    chunks = -(-sites // (CHUNK if jax.default_backend() == "cpu" else CHUNK_OF_AN_ACCELERATOR))
    if chunks <= 1:
        return _solve_chunk(parameters, soil)
    size = -(-sites // chunks)
    last = sites - size * (chunks - 1)

    def chunk(first: Array) -> Array:
        its_soil = jax.tree.map(lambda array: jax.lax.dynamic_slice_in_dim(array, first, size, axis=-1), soil)
        return _solve_chunk(jax.lax.dynamic_slice_in_dim(parameters, first, size), its_soil)

    if sites > KEPT:
        chunk = jax.checkpoint(chunk)
    pools = jax.lax.map(chunk, jnp.minimum(size * jnp.arange(chunks), sites - size))  # the last two may overlap
    return jnp.concatenate([pools[:-1].reshape(-1, *pools.shape[2:]), pools[-1, size - last :]])


def _solve_chunk(parameters: Array, soil: SoilColumn) -> Array:
    by_name = named(parameters)
    pools = solver(system(by_name, soil))(source(by_name, soil))
    return jnp.transpose(pools, (2, 0, 1))


def source(parameters: Mapping[str, Array], soil: SoilColumn) -> Array:
    """Litter input of every pool and layer [g C m-3 day-1], (pool, layer, site)."""
    litter = litter_source(parameters, soil.litter)
    return jnp.concatenate([litter, jnp.zeros((len(POOLS) - len(litter), *litter.shape[1:]), litter.dtype)])


def system(parameters: Mapping[str, Array], soil: SoilColumn) -> System:
    """Put the four terms of the matrix together.

    Parameters
    ----------
    parameters : mapping of name to (site,)
    soil : SoilColumn
    """
    rate = jnp.where(soil.active, decomposition_rates(parameters, soil.environment), 1.0)
    fractions = {transfer.parameter: parameters[transfer.parameter] for transfer in TRANSFERS}
    return System(rate, fractions, exchange_rates(parameters, soil.mixing))


def respired(matrix: System, soil: SoilColumn, carbon: Array) -> Array:
    """Carbon that leaves each layer of the soil [g C m-2 day-1], (layer, site), of pools (pool, layer, site)."""
    decomposed = jnp.where(soil.active, matrix.rate * carbon, 0.0)
    shares = respired_fractions(matrix.fractions)[:, None]
    return jnp.sum(shares * decomposed, axis=0) * THICKNESS[:LAYERS, None]
