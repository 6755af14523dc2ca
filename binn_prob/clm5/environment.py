"""Environmental scalars and decomposition rates (the matrix K).

Source: Koven et al. 2013 (Biogeosciences 10:7109), section 2; CLM5 technical note, section 2.21; Lu et al. 2020 (JAMES
12, e2020MS002105) for the matrix form.  The site is the last axis of every array, see
:mod:`binn_prob.clm5.steady_state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero

from binn_prob.clm5.forcing import Forcing
from binn_prob.clm5.layers import DAYS_PER_YEAR, LAYERS, MONTHS, NODE_DEPTH
from binn_prob.clm5.pools import LITTER, POOLS

__all__ = ["TURNOVER_TIMES", "Environment", "decomposition_rates", "modifiers", "prepare_environment"]

REFERENCE_TEMPERATURE = 298.15
"""Temperature at which the temperature scalar is 1 [K]."""

TURNOVER_TIMES = ("taucwd", "taul1", "taul2", "taul2", "tau4s1", "tau4s2", "tau4s3")
"""Parameter that holds the turnover time of each of the seven pools; lignin litter shares that of cellulose litter."""

_IS_LITTER = np.isin(np.arange(len(POOLS)), np.arange(len(POOLS))[LITTER])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Environment:
    """The part of the environmental scalars that does not depend on parameters; arrays of (layer, month, site)."""

    temperature_exponent: Array
    """(T - 298.15 K) / 10 K: the power to which Q10 is raised, above and below freezing alike"""
    water_scalar: Array
    oxygen: Array
    """oxygen scalar"""
    oxygen_nitrogen: Array
    """oxygen scalar × nitrogen scalar"""


def prepare_environment(forcing: Forcing) -> Environment:
    """Compute once per site what decomposition needs whatever the parameters."""

    def last(array: Array) -> Array:
        return jnp.moveaxis(array, 0, -1)

    return Environment(
        temperature_exponent=last((forcing.soil_temperature - REFERENCE_TEMPERATURE) / 10.0),
        water_scalar=last(forcing.water_scalar),
        oxygen=last(forcing.oxygen_scalar),
        oxygen_nitrogen=last(forcing.oxygen_scalar * forcing.nitrogen_scalar),
    )


def temperature_scalar(q10: Array, environment: Environment) -> Array:
    """Temperature scalar ``q10 ** ((T - 298.15) / 10)`` [1], (layer, month, site)."""
    return jnp.exp(environment.temperature_exponent * jnp.log(q10))


def water_scalar(w_scaling: Array, environment: Environment) -> Array:
    """Moisture scalar ``min(1, w_scaling * W)`` [1], (layer, month, site)."""
    return jnp.minimum(1.0, w_scaling * environment.water_scalar)


def depth_scalar(efolding: Array) -> Array:
    """Depth scalar ``exp(-z / efolding)`` [1], (layer, site).

    It stops at the square root of the smallest number of the precision in use: PRODA's range lets ``efolding`` come so
    near 0 that the scalar would become 0 and the carbon infinite.
    """
    steepest = -0.5 * jnp.log(jnp.finfo(efolding.dtype).tiny)
    depth = NODE_DEPTH[:LAYERS, None]
    return jnp.exp(-depth / jnp.maximum(efolding, depth / steepest))


def modifiers(parameters: Mapping[str, Array], environment: Environment) -> tuple[Array, Array]:
    """Factors by which the environment slows decomposition.

    The annual mean is that of the monthly products, months unweighted.

    Returns
    -------
    tuple of arrays (layer, site) [1]
        For pools that feel no nitrogen limitation (woody debris, soil), and for the litter pools.
    """
    depth = depth_scalar(parameters["efolding"]) / MONTHS
    unlimited, limited = _annual_sums(parameters["q10"], parameters["w-scaling"], environment)
    return depth * unlimited, depth * limited


@jax.custom_jvp
def _annual_sums(q10: Array, w_scaling: Array, environment: Environment) -> tuple[Array, Array]:
    """Add up over the months the scalars but for depth, without and with nitrogen, each (layer, site).

    The rule below takes the slopes by the two parameters along with the sums, so that nothing monthly is kept for the
    reverse mode.
    """
    return _sums(temperature_scalar(q10, environment) * water_scalar(w_scaling, environment), environment)


@partial(_annual_sums.defjvp, symbolic_zeros=True)
def _sums_and_slopes(primals: Any, tangents: Any) -> tuple[Any, Any]:
    q10, w_scaling, environment = primals
    if not all(isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(tangents[2])):  # derivatives by climate
        return jax.jvp(_annual_sums.fun, primals, jax.tree.map(_instantiated, tangents))
    temperature, water = temperature_scalar(q10, environment), water_scalar(w_scaling, environment)
    unclipped = jnp.where(w_scaling * environment.water_scalar < 1.0, environment.water_scalar, 0.0)
    sums = _sums(temperature * water, environment)
    by_log_q10 = _sums(environment.temperature_exponent * temperature * water, environment)
    by_w_scaling = _sums(temperature * unclipped, environment)
    of_log_q10, of_w_scaling = _instantiated(tangents[0]) / q10, _instantiated(tangents[1])
    return sums, tuple(a * of_log_q10 + b * of_w_scaling for a, b in zip(by_log_q10, by_w_scaling, strict=True))


def _sums(scalar: Array, environment: Environment) -> tuple[Array, Array]:
    return jnp.sum(scalar * environment.oxygen, axis=1), jnp.sum(scalar * environment.oxygen_nitrogen, axis=1)


def _instantiated(tangent: Any) -> Any:
    return jnp.zeros(tangent.shape, tangent.dtype) if isinstance(tangent, SymbolicZero) else tangent


def decomposition_rates(parameters: Mapping[str, Array], environment: Environment) -> Array:
    """Decomposition rate of every pool and layer, the diagonal of K [day-1], (pool, layer, site)."""
    unlimited, limited = modifiers(parameters, environment)
    turnover = jnp.stack([parameters[name] for name in TURNOVER_TIMES])[:, None, :] * DAYS_PER_YEAR
    return jnp.where(_IS_LITTER[:, None, None], limited, unlimited) / turnover
