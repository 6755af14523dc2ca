"""Soil carbon that changes with time.

``dX/dt = I(t) + (A K(t) - V(t)) X`` is stepped implicitly.  A step of backward Euler solves

    (V - A K + 1 / h) X_new = I + X_old / h,

the system of the steady state with ``1 / h`` on its diagonal, by the same elimination: pools stay positive and carbon
is conserved however long the step ``h`` is, and one very long step ends in the steady state.  ``sdirk2`` is the singly
diagonally implicit Runge-Kutta method of two stages and second order, L-stable (Alexander 1977, SIAM J. Numer. Anal.
14:1006): more accurate for short steps, without a promise that pools stay positive in long ones.

Within a step, inputs and climate are those of one forcing: its annual means, as in the steady state.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from binn_prob.clm5.forcing import Forcing
from binn_prob.clm5.matrix import solver
from binn_prob.clm5.parameters import named
from binn_prob.clm5.steady_state import SoilColumn, check_shapes, prepare, respired, source, system
from binn_prob.clm5.transport import Column
from binn_prob.errors import InputError

__all__ = ["Scheme", "Trajectory", "transient"]

Scheme = Literal["backward_euler", "sdirk2"]

_GAMMA = 1.0 - 0.5**0.5
"""Coefficient of Alexander's method of two stages"""


class Trajectory(NamedTuple):
    """Soil carbon at the end of every step, and what came and went in it."""

    pools: Array
    """(time, site, pool, layer) [g C m-3]"""
    litter: Array
    """litter input during the step (time, site) [g C m-2]"""
    respired: Array
    """(time, site) [g C m-2]; stocks of the closed column change by litter less this"""


def transient(
    pools: ArrayLike,
    parameters: ArrayLike,
    forcing: Forcing,
    days: ArrayLike,
    column: Column = "closed",
    scheme: Scheme = "backward_euler",
) -> Trajectory:
    """Follow soil carbon through time.

    Parameters
    ----------
    pools : array (site, pool, layer) [g C m-3]
        To begin with, for example a steady state.  What lies below bedrock in the closed column is left out.
    parameters : array (site, parameter)
        Physical units.
    forcing : Forcing
        That of the sites, which then holds all the time, or with a first axis of time on each of its arrays: the
        climate and the litter of each step.
    days : array (time,) [day]
        Lengths of the steps.
    column : {"closed", "published"}
        See :func:`binn_prob.clm5.prepare`.
    scheme : {"backward_euler", "sdirk2"}
        See the module.

    Returns
    -------
    Trajectory

    Raises
    ------
    InputError
        If shapes do not fit, a step is not positive, or there is no such column or scheme.

    Notes
    -----
    Differentiable in ``pools``, ``parameters`` and ``forcing``.  For months instead of years, give forcings whose
    twelve months are all alike.
    """
    pools, parameters, days = jnp.asarray(pools), jnp.asarray(parameters), np.atleast_1d(np.asarray(days, float))
    _check(pools, parameters, forcing, days, scheme)
    varies = forcing.bedrock_layer.ndim == 2
    return _transient(pools, parameters, forcing, jnp.asarray(days), column, scheme, varies)


@partial(jax.jit, static_argnames=("column", "scheme", "varies"))
def _transient(
    pools: Array, parameters: Array, forcing: Forcing, days: Array, column: Column, scheme: Scheme, varies: bool
) -> Trajectory:
    by_name, advance = named(parameters), {"backward_euler": _backward_euler, "sdirk2": _sdirk2}[scheme]

    def step(carbon: Array, at: tuple[Array, Any]) -> tuple[Array, Trajectory]:
        length, its = at
        soil = prepare(its, column) if constant is None else constant
        carbon, respired = advance(jnp.where(soil.active, carbon, 0.0), by_name, soil, length)
        litter = length * jnp.sum(soil.litter.input, axis=0)
        return carbon, Trajectory(jnp.transpose(carbon, (2, 0, 1)), litter, respired)

    constant = None if varies else prepare(forcing, column)
    begin = jnp.transpose(pools, (1, 2, 0))
    trajectory: Trajectory = jax.lax.scan(step, begin, (days, forcing if varies else None))[1]
    return trajectory


def _backward_euler(
    carbon: Array, parameters: Mapping[str, Array], soil: SoilColumn, days: Array
) -> tuple[Array, Array]:
    """Return the carbon (pool, layer, site) after a step, and what was respired in it (site,) [g C m-2]."""
    matrix = system(parameters, soil)._replace(storage=1.0 / days)
    carbon = solver(matrix)(source(parameters, soil) + carbon / days)
    return carbon, days * jnp.sum(respired(matrix, soil, carbon), axis=0)


def _sdirk2(carbon: Array, parameters: Mapping[str, Array], soil: SoilColumn, days: Array) -> tuple[Array, Array]:
    """Return the same by two stages, each of which is a step of backward Euler with the same matrix."""
    storage = 1.0 / (_GAMMA * days)
    matrix = system(parameters, soil)._replace(storage=storage)
    litter, solve = source(parameters, soil), solver(matrix)
    first = solve(litter + storage * carbon)
    last = solve(litter + storage * (carbon + (1.0 - _GAMMA) / _GAMMA * (first - carbon)))
    rates = (jnp.sum(respired(matrix, soil, stage), axis=0) for stage in (first, last))
    return last, days * sum(weight * rate for weight, rate in zip((1.0 - _GAMMA, _GAMMA), rates, strict=True))


def _check(pools: Array, parameters: Array, forcing: Forcing, days: np.ndarray, scheme: str) -> None:
    """Refuse what does not fit together."""
    if scheme not in get_args(Scheme):
        raise InputError(f"scheme {scheme!r}", f"one of {', '.join(get_args(Scheme))}", "choose one of them")
    if days.ndim != 1 or not (np.isfinite(days) & (days > 0)).all():
        raise InputError(f"days {days}", "positive lengths of the steps", "give one for each step")
    check_shapes(forcing.bedrock_layer.shape[-1], pools=pools, parameters=parameters)
    if forcing.bedrock_layer.ndim == 2 and len(forcing.bedrock_layer) != len(days):
        got = f"a forcing of {len(forcing.bedrock_layer)} steps and {len(days)} lengths"
        raise InputError(got, "as many of both", "give one length for each step of the forcing")
