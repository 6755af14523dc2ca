"""The steady state of the soil column, by its structure.

``dX/dt = I + (A K - V) X = 0`` for 7 pools in 20 layers (Lu et al. 2020, JAMES 12, e2020MS002105; Huang et al. 2018,
GCB 24:1061).  Woody debris does not mix, so its system is diagonal; the three litter pools pass nothing to each other,
so each has a tridiagonal system; the three soil pools form one block-tridiagonal system of 3 × 3 blocks.  They are
solved in that order by :mod:`binn_prob.clm5.elimination`.  Derivatives, forward and reverse, follow from the implicit
function theorem: one more solve, with the transposed matrix in reverse mode, reusing the elimination.

Internally the site is the last axis, so that the recurrences over layers run over contiguous memory.  Many sites are
solved for in chunks.
:mod:`binn_prob.clm5.dense` holds the plain version of the same system.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from binn_prob.clm5 import elimination
from binn_prob.clm5.allocation import Litter, litter_source, prepare_litter
from binn_prob.clm5.environment import Environment, decomposition_rates, prepare_environment
from binn_prob.clm5.forcing import Forcing
from binn_prob.clm5.layers import LAYERS, THICKNESS
from binn_prob.clm5.parameters import NAMES, named
from binn_prob.clm5.pools import LITTER, POOLS, SOIL, WOODY
from binn_prob.clm5.transfers import TRANSFERS, fraction, inflows, respired_fractions
from binn_prob.clm5.transport import Column, Mixing, check_column, exchange_rates, prepare_mixing
from binn_prob.errors import InputError
from binn_prob.sharding import everywhere, over_sites

__all__ = [
    "SoilColumn",
    "System",
    "multiply",
    "prepare",
    "respired",
    "solve",
    "solver",
    "source",
    "steady_state",
    "system",
]

_LITTER_POOLS = LITTER.stop - LITTER.start

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
    expected = (soil.active.shape[-1], len(NAMES))
    if parameters.shape != expected:
        raise InputError(f"parameters of shape {parameters.shape}", f"shape {expected}", "give one row per site")
    pools: Array = _solve_column(parameters, soil)
    return pools


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


def respired(matrix: System, soil: SoilColumn, carbon: Array) -> Array:
    """Carbon that leaves each layer of the soil [g C m-2 day-1], (layer, site), of pools (pool, layer, site)."""
    decomposed = jnp.where(soil.active, matrix.rate * carbon, 0.0)
    shares = respired_fractions(matrix.fractions)[:, None]
    return jnp.sum(shares * decomposed, axis=0) * THICKNESS[:LAYERS, None]


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
