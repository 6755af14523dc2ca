"""Where carbon stays, for how long, and where it leaves: residence times and respiration.

The residence time of a layer is the soil organic carbon that it holds in the steady state over the litter input of the
whole column: the time that carbon entering the soil spends in the soil pools of that layer on average, over all its
ways [yr].  Those of all layers add up to that of the column (Luo et al. 2017, Biogeosciences 14:145; Xia et al. 2013,
GCB 19:2104, who call the one without the environment the baseline residence time).
"""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from binn_prob.clm5.environment import Environment, temperature_scalar, water_scalar
from binn_prob.clm5.forcing import Forcing
from binn_prob.clm5.layers import DAYS_PER_YEAR, LAYERS, THICKNESS
from binn_prob.clm5.parameters import named
from binn_prob.clm5.processes import Formulas, check_formulas
from binn_prob.clm5.profile import soil_organic_carbon
from binn_prob.clm5.steady_state import SoilColumn, check_shapes, prepare, respired, solve, system
from binn_prob.clm5.transport import Column

__all__ = ["baseline_residence_times", "residence_times", "respiration"]

_WET = 1e20
"""A moisture scalar that limits nothing, whatever it is multiplied with"""


def residence_times(parameters: ArrayLike, forcing: Forcing, column: Column = "closed") -> Array:
    """Residence time of carbon in each layer at the steady state [yr], (site, layer).

    Parameters
    ----------
    parameters : array (site, parameter)
        Physical units.
    forcing : Forcing
        Of the same sites.
    column : {"closed", "published"}
        See :func:`binn_prob.clm5.prepare`.

    Raises
    ------
    InputError
        If the shapes do not fit, or there is no such column.
    """
    soil = prepare(forcing, column)
    return _per_input(solve(parameters, soil), soil)


def baseline_residence_times(
    parameters: ArrayLike, forcing: Forcing, column: Column = "closed", formulas: Formulas = "corrected"
) -> Array:
    """Residence time of each layer if neither temperature, moisture, oxygen nor nitrogen limited decomposition [yr].

    ``corrected``: the steady state with these scalars at 1; depth still slows decomposition, and mixing is as it is.
    ``published`` and ``proda``: as PRODA's program, the residence time over the annual mean of the reciprocal of the
    product of all four scalars in the layer, which frees the mixing of the environment, too, and lets nitrogen limit
    all pools.
    (BINN's program multiplies elementwise where PRODA's multiplies matrices, so that nothing reaches its soil pools.)

    Parameters
    ----------
    parameters : array (site, parameter)
        Physical units.
    forcing : Forcing
        Of the same sites.
    column : {"closed", "published"}
        See :func:`binn_prob.clm5.prepare`.
    formulas : {"corrected", "published", "proda"}

    Returns
    -------
    array (site, layer)

    Raises
    ------
    InputError
        If the shapes do not fit, or there are no such formulas or column.
    """
    check_formulas(formulas)
    soil = prepare(forcing, column)
    if formulas == "corrected":
        return _per_input(solve(parameters, replace(soil, environment=_unlimited(soil.environment))), soil)
    by_name, environment = named(jnp.asarray(parameters)), soil.environment
    scalar = temperature_scalar(by_name["q10"], environment) * water_scalar(by_name["w-scaling"], environment)
    slower = jnp.mean(1.0 / (scalar * environment.oxygen_nitrogen), axis=1)
    return _per_input(solve(parameters, soil), soil) / slower.T


def respiration(parameters: ArrayLike, pools: ArrayLike, soil: SoilColumn) -> Array:
    """Carbon that each layer respires [g C m-2 yr-1], (site, layer); in the steady state it adds up to the input.

    Parameters
    ----------
    parameters : array (site, parameter)
        Physical units.
    pools : array (site, pool, layer) [g C m-3]
    soil : SoilColumn
        Of the same sites, closed: the published column loses carbon at bedrock as well.

    Returns
    -------
    array (site, layer)

    Raises
    ------
    InputError
        If the shapes do not fit.
    """
    parameters, pools = jnp.asarray(parameters), jnp.asarray(pools)
    check_shapes(soil.active.shape[-1], parameters=parameters, pools=pools)
    by_name = named(parameters)
    return respired(system(by_name, soil), soil, jnp.moveaxis(pools, 0, -1)).T * DAYS_PER_YEAR


def _per_input(pools: Array, soil: SoilColumn) -> Array:
    litter = jnp.sum(soil.litter.input, axis=0) * DAYS_PER_YEAR
    return soil_organic_carbon(pools) * THICKNESS[:LAYERS] / litter[:, None]


def _unlimited(environment: Environment) -> Environment:
    """Return an environment at the reference temperature, in which nothing is short."""
    one = jnp.ones_like(environment.oxygen)
    return Environment(jnp.zeros_like(one), _WET * one, one, one)
