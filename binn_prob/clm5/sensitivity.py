"""Which parameters matter for soil organic carbon and for each process.

Two questions, one answer each:

- :func:`sensitivity`: how does the logarithm of a quantity change at given parameters, by a change of one of them that
  is its whole range wide?  By forward-mode derivatives of the steady state.
- :func:`sobol_indices`: which share of the variance of that logarithm is due to a parameter, if all are uniform over
  their ranges?  By the estimators of Saltelli et al. (2010, Computer Physics Communications 181:259) for the first
  order and of Jansen (1999, Computer Physics Communications 117:35) for the total order, as SciPy has them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from binn_prob.clm5.forcing import Forcing
from binn_prob.clm5.layers import INTERFACE_DEPTH, LAYERS, NODE_DEPTH, THICKNESS
from binn_prob.clm5.parameters import NAMES, physical, ranges
from binn_prob.clm5.processes import PROCESS_NAMES, processes_of
from binn_prob.clm5.profile import soil_organic_carbon
from binn_prob.clm5.steady_state import SoilColumn, prepare, solve
from binn_prob.clm5.transport import Column
from binn_prob.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["QUANTITIES", "sensitivity", "sobol_indices"]

QUANTITIES = ("soil_organic_carbon", *PROCESS_NAMES)
"""What is looked at: the carbon of the three soil pools of the column [g C m-2], and the six processes"""

_AT_ONCE = 64
"""Parameter vectors that are solved for at a time, at all sites"""


def sensitivity(
    parameters: ArrayLike,
    forcing: Forcing,
    column: Column = "closed",
    ranges_name: str = "binn",
    depth: float = math.inf,
) -> xr.Dataset:
    """Return normalised local sensitivities: the slope of a logarithm over the range of a parameter.

    Parameters
    ----------
    parameters : array (site, parameter)
        Physical units.
    forcing : Forcing
        Of the same sites.
    column : {"closed", "published"}
        See :func:`binn_prob.clm5.prepare`.
    ranges_name : {"binn", "proda"}
        Whose ranges the slopes refer to.
    depth : float
        Down to which soil organic carbon is counted [m].

    Returns
    -------
    xarray.Dataset
        ``local`` (site, quantity, parameter) of :data:`QUANTITIES`, and ``soc_layer`` (site, layer, parameter) of the
        soil organic carbon of each layer: ``(high - low) d ln(quantity) / d parameter`` [1].  NaN below bedrock, and
        for what is 0, as is vertical transport in a single layer.

    Raises
    ------
    InputError
        If the shapes do not fit, ``depth`` is not positive, or there is no such column or range.
    """
    import xarray as xr

    parameters, soil = jnp.asarray(parameters, float), prepare(forcing, column)
    every, layers = _local(parameters, soil, jnp.asarray(np.ptp(ranges(ranges_name), axis=1)), _counted(depth))
    below = np.asarray(~soil.active).T[:, :, None]
    found: xr.Dataset = xr.Dataset(
        {
            "local": (("site", "quantity", "parameter"), np.asarray(every)),
            "soc_layer": (("site", "layer", "parameter"), np.where(below, np.nan, layers)),
        },
        coords={"quantity": list(QUANTITIES), "parameter": list(NAMES), "layer": NODE_DEPTH[:LAYERS]},
    )
    return found


@jax.jit
def _local(parameters: Array, soil: SoilColumn, widths: Array, counted: Array) -> tuple[Array, Array]:
    """Return the slopes of all quantities and of the carbon of all layers, (site, of, parameter)."""

    def logarithms(parameters: Array) -> tuple[Array, Array]:
        pools = solve(parameters, soil)
        soc = soil_organic_carbon(pools)
        return _logarithms(parameters, pools, soil, counted), jnp.log(jnp.where(soc > 0.0, soc, 1.0))

    def along(direction: Array) -> tuple[Array, Array]:
        tangent = jnp.broadcast_to(direction, parameters.shape)
        (quantities, _), (slopes, of_layers) = jax.jvp(logarithms, (parameters,), (tangent,))
        return jnp.where(jnp.isfinite(quantities), slopes, jnp.nan), of_layers

    every, layers = jax.lax.map(along, jnp.diag(widths))
    return jnp.moveaxis(every, 0, -1), jnp.moveaxis(layers, 0, -1)


def sobol_indices(
    forcing: Forcing,
    samples: int = 256,
    repeats: int = 4,
    seed: int = 0,
    column: Column = "closed",
    ranges_name: str = "binn",
    depth: float = math.inf,
) -> xr.Dataset:
    """Return the shares of the variance of the logarithm of each quantity, by site.

    Parameters
    ----------
    forcing : Forcing
        Of any number of sites.
    samples : int
        Of each repeat, a power of two; each takes 23 solutions at each site.
    repeats : int
        Independently scrambled Sobol sequences, at least two: the errors are those over them.
    seed : int
    column : {"closed", "published"}
        See :func:`binn_prob.clm5.prepare`.
    ranges_name : {"binn", "proda"}
        Whose ranges the parameters are drawn from, uniformly and independently.
    depth : float
        Down to which soil organic carbon is counted [m].

    Returns
    -------
    xarray.Dataset
        ``first_order`` and ``total_order`` (site, quantity, parameter) of :data:`QUANTITIES` [1], and their standard
        errors ``first_order_error`` and ``total_order_error``.  NaN for plant carbon input, which no parameter changes,
        and for what is 0, as is vertical transport in a single layer.

    Raises
    ------
    InputError
        If ``samples`` is not a power of two, there are fewer than two repeats, ``depth`` is not positive, or there is
        no such column or range.
    """
    import xarray as xr
    from scipy import stats

    if samples < 2 or samples & (samples - 1):
        raise InputError(f"samples {samples}", "a power of two", "give for example 256")
    if repeats < 2:
        raise InputError(f"repeats {repeats}", "at least 2", "give more, for the error is that over them")
    soil, counted = prepare(forcing, column), _counted(depth)
    shape = (soil.active.shape[-1], len(QUANTITIES), len(NAMES))
    varies = np.broadcast_to(np.array(QUANTITIES) != PROCESS_NAMES[0], shape[:2]).copy()

    def quantities(units: np.ndarray) -> np.ndarray:
        sampled = np.array(_sampled(physical(units.T, ranges_name), soil, counted))  # a copy: SciPy writes into it
        np.logical_and(varies, np.isfinite(sampled).all(axis=0), out=varies)
        return sampled.reshape(len(units.T), -1).T

    found: dict[str, Any] = {"first_order": [], "total_order": []}
    for generator in np.random.default_rng(seed).spawn(repeats):
        with np.errstate(invalid="ignore", divide="ignore"):  # plant carbon input has no variance
            indices = stats.sobol_indices(
                func=quantities, n=samples, dists=[stats.uniform()] * len(NAMES), rng=generator
            )
        for name, listed in found.items():
            listed.append(np.where(varies[..., None], getattr(indices, name).reshape(shape), np.nan))
    dimensions = ("site", "quantity", "parameter")
    means = {name: (dimensions, np.mean(listed, axis=0)) for name, listed in found.items()}
    errors = {
        f"{name}_error": (dimensions, np.std(listed, axis=0, ddof=1) / repeats**0.5) for name, listed in found.items()
    }
    result: xr.Dataset = xr.Dataset(means | errors, coords={"quantity": list(QUANTITIES), "parameter": list(NAMES)})
    return result


@jax.jit
def _sampled(parameters: Array, soil: SoilColumn, counted: Array) -> Array:
    """Return the logarithms of all quantities for parameters (sample, parameter), (sample, site, quantity)."""

    def at_all_sites(one: Array) -> Array:
        everywhere = jnp.broadcast_to(one, (soil.active.shape[-1], len(NAMES)))
        return _logarithms(everywhere, solve(everywhere, soil), soil, counted)

    found: Array = jax.lax.map(at_all_sites, parameters, batch_size=_AT_ONCE)
    return found


def _counted(depth: float) -> Array:
    """Return how much of each layer lies above a depth [m], (layer,)."""
    if not depth > 0.0:
        raise InputError(f"depth {depth}", "a positive depth in metres", "give for example 1.0")
    return jnp.clip(depth - (INTERFACE_DEPTH - THICKNESS)[:LAYERS], 0.0, THICKNESS[:LAYERS])


def _logarithms(parameters: Array, pools: Array, soil: SoilColumn, counted: Array) -> Array:
    stock = jnp.sum(soil_organic_carbon(pools) * counted, axis=-1)
    found = jnp.concatenate([stock[:, None], processes_of(parameters, pools, soil)], axis=-1)
    return jnp.where(found > 0.0, jnp.log(jnp.where(found > 0.0, found, 1.0)), jnp.nan)
