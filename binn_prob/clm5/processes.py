"""The six processes into which BINN and PRODA condense the 21 parameters and the steady state.

Each has a ``corrected`` formula, which computes what the name says, and a ``published`` one, which computes what the
BINN program prints.  ``proda`` has PRODA's own baseline decomposition, the mean of 1 / tau_p over the three soil pools
weighted by sum_j X_pj D_j, and the published formulas of the rest.  D_j is the thickness of layer j, X_pj the carbon of
pool p there, M_j the soil organic carbon of the layer [g C m-2], k_pj the decomposition rate, s_j the depth scalar, and
e_j the product of s_j and the annual means of the temperature and moisture scalars.

======================== ======= ============================================ ==========================================
process                  unit    corrected                                    published
======================== ======= ============================================ ==========================================
plant_carbon_input       g C m⁻² sum of the monthly litter inputs             the same
                         yr⁻¹
carbon_transfer          1       share of the carbon decomposed in litter and the same with X_pj e_j D_j / tau_p for the
_efficiency                      soil pools that goes to a soil pool          decomposed carbon
baseline_decomposition   yr⁻¹    mean of 1 / tau_p weighted by sum_j X_pj D_j weighted by sum_j X_pj
environmental_modifier   1       mean over layers, weighted by M_j, of the    of e_j: product of annual means, no oxygen
                                 annual mean product of temperature,
                                 moisture, oxygen and depth scalars
carbon_input_allocation  1       beta                                         mean over layers of the beta that the
                                                                              cumulated input above the lower interface
                                                                              would have at the node
vertical_transport_rate  yr⁻¹    exchange rate with the layers above and      the same
                                 below, weighted by M_j
======================== ======= ============================================ ==========================================

Source: Xu et al. 2025 (arXiv 2502.00672), Tao et al. 2023 (Nature 618:981).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from binn_prob.clm5.allocation import allocation_fractions
from binn_prob.clm5.environment import TURNOVER_TIMES, depth_scalar, modifiers, temperature_scalar, water_scalar
from binn_prob.clm5.forcing import Forcing
from binn_prob.clm5.layers import DAYS_PER_YEAR, LAYERS, NODE_DEPTH, THICKNESS
from binn_prob.clm5.parameters import named
from binn_prob.clm5.pools import SOIL
from binn_prob.clm5.profile import soil_organic_carbon
from binn_prob.clm5.steady_state import SoilColumn, prepare, solve, system
from binn_prob.clm5.transfers import TRANSFERS, fraction
from binn_prob.clm5.transport import Column
from binn_prob.errors import InputError

__all__ = ["PROCESSES", "PROCESS_NAMES", "Formulas", "Process", "check_formulas", "processes", "processes_of"]

Formulas = Literal["corrected", "published", "proda"]


class Process(NamedTuple):
    """One of the six processes."""

    name: str
    unit: str
    meaning: str


PROCESSES: tuple[Process, ...] = (
    Process("plant_carbon_input", "g C m-2 yr-1", "litter input"),
    Process("carbon_transfer_efficiency", "1", "share of decomposed carbon passed on to soil pools"),
    Process("baseline_decomposition", "yr-1", "decomposition rate without environmental limits"),
    Process("environmental_modifier", "1", "factor by which the environment slows decomposition"),
    Process("carbon_input_allocation", "1", "shape of the input profile"),
    Process("vertical_transport_rate", "yr-1", "exchange rate between layers"),
)
"""The six processes in the order of the last axis of :func:`processes`."""

PROCESS_NAMES: tuple[str, ...] = tuple(process.name for process in PROCESSES)
"""Their names, in that order."""

_THICKNESS = THICKNESS[:LAYERS, None]
_COMPLETE = 1e-12
"""Input that is left below counts as none up to this; the published program leaves that to rounding."""


def processes(
    parameters: ArrayLike, forcing: Forcing, column: Column = "closed", formulas: Formulas = "corrected"
) -> Array:
    """Compute the six processes at the steady state.

    Parameters
    ----------
    parameters : array (site, parameter)
        Physical units.
    forcing : Forcing
        Of the same sites.
    column : {"closed", "published"}
        See :func:`binn_prob.clm5.prepare`.
    formulas : {"corrected", "published", "proda"}
        See the head of this module.

    Returns
    -------
    array (site, process)
        Units in :data:`PROCESSES`.

    Raises
    ------
    InputError
        If the shapes do not fit, or there are no such formulas or column.
    """
    soil = prepare(forcing, column)
    return processes_of(parameters, solve(parameters, soil), soil, formulas)


def processes_of(parameters: ArrayLike, pools: Array, soil: SoilColumn, formulas: Formulas = "corrected") -> Array:
    """Compute the six processes (site, process) from pools (site, pool, layer) solved for; see :func:`processes`."""
    check_formulas(formulas)
    values: Array = _processes_of(jnp.asarray(parameters), pools, soil, formulas)
    return values


def check_formulas(formulas: str) -> None:
    """Refuse formulas that do not exist.

    Raises
    ------
    InputError
        If there are no such formulas.
    """
    if formulas not in get_args(Formulas):
        raise InputError(f"formulas {formulas!r}", f"one of {', '.join(get_args(Formulas))}", "choose one of them")


@partial(jax.jit, static_argnames="formulas")
def _processes_of(parameters: Array, pools: Array, soil: SoilColumn, formulas: Formulas) -> Array:
    by_name = named(parameters)
    carbon = jnp.moveaxis(pools, 0, -1)
    stock = soil_organic_carbon(pools).T * _THICKNESS
    terms = [
        jnp.sum(soil.litter.input, axis=0) * DAYS_PER_YEAR,
        _transfer_efficiency(by_name, carbon, soil, formulas),
        _baseline_decomposition(by_name, carbon, formulas),
        _layer_mean(_environmental_modifier(by_name, soil, formulas), stock),
        by_name["beta"] if formulas == "corrected" else _published_allocation(by_name, soil),
        _layer_mean(jnp.sum(system(by_name, soil).exchange, axis=0) * DAYS_PER_YEAR, stock),
    ]
    return jnp.stack(terms, axis=-1)


def _layer_mean(value: Array, stock: Array) -> Array:
    """Mean over layers weighted by soil organic carbon."""
    return jnp.sum(value * stock, axis=0) / jnp.sum(stock, axis=0)


def _published_modifier(parameters: Mapping[str, Array], soil: SoilColumn) -> Array:
    """e_j: product of annual means and the depth scalar, (layer, site)."""
    temperature = jnp.mean(temperature_scalar(parameters["q10"], soil.environment), axis=1)
    water = jnp.mean(water_scalar(parameters["w-scaling"], soil.environment), axis=1)
    return temperature * water * depth_scalar(parameters["efolding"])


def _environmental_modifier(parameters: Mapping[str, Array], soil: SoilColumn, formulas: Formulas) -> Array:
    if formulas == "corrected":
        return modifiers(parameters, soil.environment)[0]
    return _published_modifier(parameters, soil)


def _turnover_times(parameters: Mapping[str, Array]) -> Array:
    """Turnover time of each pool [yr], (pool, site)."""
    return jnp.stack([parameters[name] for name in TURNOVER_TIMES])


def _transfer_efficiency(parameters: Mapping[str, Array], carbon: Array, soil: SoilColumn, formulas: Formulas) -> Array:
    if formulas == "corrected":
        rate = system(parameters, soil).rate
    else:
        rate = _published_modifier(parameters, soil) / _turnover_times(parameters)[:, None]
    decomposed = jnp.sum(rate * carbon * _THICKNESS, axis=1)
    passed_on = sum(fraction(parameters, row) * decomposed[row.donor] for row in TRANSFERS if row.donor > 0)
    return passed_on / jnp.sum(decomposed[1:], axis=0)


def _baseline_decomposition(parameters: Mapping[str, Array], carbon: Array, formulas: Formulas) -> Array:
    pools = SOIL if formulas == "proda" else slice(None)
    weight = jnp.sum(carbon[pools] * (1.0 if formulas == "published" else _THICKNESS), axis=1)
    return jnp.sum(weight / _turnover_times(parameters)[pools], axis=0) / jnp.sum(weight, axis=0)


def _published_allocation(parameters: Mapping[str, Array], soil: SoilColumn) -> Array:
    """Estimate of beta from the layers down to which only a part of the litter is counted; NaN where there is none."""
    fractions = allocation_fractions(parameters, soil.litter.receives)
    below = jnp.cumsum(fractions[:0:-1], axis=0)[::-1]  # not 1 less what is above, which loses it to rounding
    remaining = jnp.concatenate([below, jnp.zeros_like(fractions[:1])])
    incomplete = remaining > _COMPLETE
    remaining = jnp.where(incomplete, remaining, 1.0)
    estimate = jnp.exp(jnp.log(remaining) / (100.0 * NODE_DEPTH[:LAYERS, None]))
    return jnp.sum(jnp.where(incomplete, estimate, 0.0), axis=0) / jnp.sum(incomplete, axis=0)
