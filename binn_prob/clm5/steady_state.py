"""The steady state of the soil column, by its structure.

``dX/dt = I + (A K - V) X = 0`` for 7 pools in 20 layers (Lu et al. 2020, JAMES 12, e2020MS002105; Huang et al. 2018,
GCB 24:1061).  Woody debris does not mix, so its system is diagonal; the three litter pools pass nothing to each other,
so each has a tridiagonal system; the three soil pools form one block-tridiagonal system of 3 × 3 blocks.  They are
solved in that order by :mod:`binn_prob.clm5.elimination`.  Derivatives, forward and reverse, follow from the implicit
function theorem: one more solve, with the transposed matrix in reverse mode, reusing the elimination.

Internally the site is the last axis, so that the recurrences over layers run over contiguous memory.
:mod:`binn_prob.clm5.dense` holds the plain version of the same system.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from binn_prob.clm5 import elimination
from binn_prob.clm5.allocation import Litter, litter_source, prepare_litter
from binn_prob.clm5.environment import Environment, decomposition_rates, prepare_environment
from binn_prob.clm5.forcing import Forcing
from binn_prob.clm5.layers import LAYERS
from binn_prob.clm5.parameters import NAMES, named
from binn_prob.clm5.transfers import POOLS, TRANSFERS, fraction, inflows, respired_fractions
from binn_prob.clm5.transport import Column, Mixing, exchange_rates, prepare_mixing
from binn_prob.errors import InputError

__all__ = ["SoilColumn", "System", "multiply", "prepare", "solve", "steady_state", "system"]

_WOODY, _LITTER, _SOIL = range(1), range(1, 4), range(4, 7)


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
    """The matrix ``V - A K``; the site is the last axis."""

    rate: Array
    """decomposition rates (pool, layer, site) [day-1]"""
    fractions: dict[str, Array]
    """the parameters that are transfer fractions, each (site,)"""
    exchange: Array
    """exchange with the layers above and below (direction, layer, site) [day-1]"""


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
    """
    if column not in get_args(Column):
        raise InputError(f"column {column!r}", "'closed' or 'published'", "choose one of them")
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
    by_name = named(parameters)
    matrix = system(by_name, soil)
    source = jnp.zeros_like(matrix.rate).at[: _LITTER.stop].set(litter_source(by_name, soil.litter))
    factors = [_factorise(jax.lax.stop_gradient(matrix), pools) for pools in (_LITTER, _SOIL)]
    pools = jax.lax.custom_linear_solve(
        lambda carbon: multiply(matrix, carbon),
        source,
        solve=lambda _, right: _solve(jax.lax.stop_gradient(matrix), factors, right),
        transpose_solve=lambda _, right: _solve_transposed(jax.lax.stop_gradient(matrix), factors, right),
    )
    return jnp.transpose(pools, (2, 0, 1))


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
    """Multiply ``V - A K`` with pools (pool, layer, site): what decomposition and mixing take away [g C m-3 day-1]."""
    decomposed = matrix.rate * carbon
    gained = inflows(matrix.fractions, list(decomposed), range(len(POOLS)), range(len(POOLS)))
    mixing = carbon[_LITTER.start :]
    edge = jnp.zeros_like(mixing[:, :1])
    step = jnp.concatenate([edge, jnp.diff(mixing, axis=1), edge], axis=1)
    up, down = matrix.exchange
    mixed = up * step[:, :-1] - down * step[:, 1:]
    return (decomposed - gained).at[_LITTER.start :].add(mixed)


def _factorise(matrix: System, pools: range) -> elimination.Factors:
    """Eliminate the litter pools (independent of each other) or the soil pools (one block)."""
    rate = matrix.rate[pools.start : pools.stop]
    up, down = matrix.exchange
    if pools is _LITTER:
        # the three pools stand side by side on the site axis, each a block of one
        side_by_side = jnp.concatenate(list(rate), axis=-1)
        return elimination.factorise(
            side_by_side[None, None], side_by_side[None], jnp.tile(up, len(pools)), jnp.tile(down, len(pools))
        )
    zero = jnp.zeros_like(rate[0])
    transfer = [[zero] * len(pools) for _ in pools]
    for row in TRANSFERS:
        if row.donor in pools:
            donor, receiver = row.donor - pools.start, row.receiver - pools.start
            transfer[receiver][donor] = fraction(matrix.fractions, row) * rate[donor]
    respired = respired_fractions(matrix.fractions)[pools.start : pools.stop]
    return elimination.factorise(jnp.array(transfer), respired[:, None] * rate, up, down)


def _solve(matrix: System, factors: list[elimination.Factors], right: Array) -> Array:
    """Solve from woody debris to soil."""
    rate, litter_factors, soil_factors = matrix.rate, *factors
    woody = right[:1] / rate[:1]
    litter_right = right[1:4] + inflows(matrix.fractions, [right[0]], _WOODY, _LITTER)  # debris is passed on whole
    litter = _unstack(elimination.solve(litter_factors, _stack(litter_right)))
    soil_right = right[4:] + inflows(matrix.fractions, [woody[0], *(rate[1:4] * litter)], _LITTER, _SOIL)
    return jnp.concatenate([woody, litter, elimination.solve(soil_factors, soil_right)])


def _solve_transposed(matrix: System, factors: list[elimination.Factors], right: Array) -> Array:
    """Solve the transposed system, from soil to woody debris."""
    litter_factors, soil_factors = factors
    solution: dict[int, Array] = dict(zip(_SOIL, elimination.solve_transposed(soil_factors, right[4:]), strict=True))

    def received(donor: int) -> Array:
        rows = [row for row in TRANSFERS if row.donor == donor]
        passed_on = (fraction(matrix.fractions, row) * solution[row.receiver] for row in rows)
        share = sum(passed_on, jnp.zeros_like(right[0]))
        return right[donor] + matrix.rate[donor] * share

    litter_right = jnp.stack([received(donor) for donor in _LITTER])
    litter = _unstack(elimination.solve_transposed(litter_factors, _stack(litter_right)))
    solution.update(zip(_LITTER, litter, strict=True))
    solution[0] = received(0) / matrix.rate[0]
    return jnp.stack([solution[pool] for pool in range(len(POOLS))])


def _stack(litter: Array) -> Array:
    """Lay the three litter pools side by side on the site axis: (pool, layer, site) → (1, layer, pool × site)."""
    return jnp.concatenate(list(litter), axis=-1)[None]


def _unstack(litter: Array) -> Array:
    """Undo :func:`_stack`."""
    return jnp.stack(jnp.split(litter[0], len(_LITTER), axis=-1))
