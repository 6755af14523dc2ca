"""Vertical mixing by bioturbation and cryoturbation (the matrix V).

Mixing is diffusion.  Between the nodes of layers j and j + 1 the conductance is the distance-weighted harmonic mean of
the diffusivities at the two levels (Patankar 1980, *Numerical Heat Transfer and Fluid Flow*, section 4.2-3), and layer
j exchanges carbon with its neighbours at the rates ``up`` and ``down``:

    dX_j/dt = up_j (X_{j-1} - X_j) + down_j (X_{j+1} - X_j)

Both are linear in the two diffusivities, so each site needs one template for each, whatever the parameters.  Source of
the diffusivity profile: Koven et al. 2013 (Biogeosciences 10:7109), section 2; CLM5 technical note, section 2.21.7.

Two columns exist.  The ``closed`` column ends at bedrock: nothing crosses the interface below the last soil layer.  The
``published`` column repeats the programs of BINN and PRODA, whose first bedrock layer mixes downwards into a layer that
does not answer: it gives carbon away, or receives carbon that nobody lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array

from binn_prob.clm5.forcing import Forcing
from binn_prob.clm5.layers import DAYS_PER_YEAR, INTERFACE_DEPTH, LAYERS, NODE_DEPTH, NODE_SPACING, THICKNESS
from binn_prob.errors import InputError

__all__ = ["Column", "Mixing", "check_column", "exchange_rates", "prepare_mixing"]

Column = Literal["closed", "published"]

CRYOTURBATION_ACTIVE_LAYER = 2.0
"""Deepest active layer with cryoturbation; deeper thaw means bioturbation [m]."""

CRYOTURBATION_DEPTH = 3.0
"""Depth at which cryoturbation has vanished [m]."""

_FLOOR = 1e-30
"""Diffusivity [m2 day-1] and advection [m day-1] that the published programs put in place of zero."""

_LEVELS = INTERFACE_DEPTH[: LAYERS + 1, None, None]
_INTERFACES = slice(1, LAYERS + 1)
_WEIGHT = ((NODE_DEPTH[_INTERFACES] - INTERFACE_DEPTH[:LAYERS]) / NODE_SPACING[_INTERFACES])[:, None, None]
_DISTANCE = NODE_SPACING[_INTERFACES][:, None, None]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixing:
    """Exchange rates per unit of diffusivity, annual means; arrays of (direction, layer, site).

    Direction 0 is exchange with the layer above, 1 with the layer below.
    """

    bioturbation: Array
    """[m-2]"""
    cryoturbation: Array
    """[m-2]"""
    background: Array
    """[day-1], what the published programs' floor on diffusivity leaves; zero in the closed column"""


def check_column(column: str) -> None:
    """Refuse a column that is neither closed nor published.

    Raises
    ------
    InputError
        If there is no column of that name.
    """
    if column not in get_args(Column):
        raise InputError(f"column {column!r}", "'closed' or 'published'", "choose one of them")


def prepare_mixing(forcing: Forcing, column: Column) -> Mixing:
    """Compute the mixing templates of every site.

    Parameters
    ----------
    forcing : Forcing
    column : {"closed", "published"}
    """
    bioturbation, cryoturbation = _relative_diffusivity(forcing)
    bedrock = forcing.bedrock_layer[None, :]
    templates = [_exchange(_conductance(level), bedrock, column) for level in (bioturbation, cryoturbation)]
    if column == "closed":
        background = jnp.zeros_like(templates[0])
    else:
        background = _published_background(bioturbation + cryoturbation, bedrock)
    return Mixing(templates[0], templates[1], background)


def exchange_rates(parameters: Mapping[str, Array], mixing: Mixing) -> Array:
    """Exchange rates of every layer with the layers above and below [day-1], (direction, layer, site)."""
    diffusion = parameters["diffus"] * mixing.bioturbation + parameters["cryo"] * mixing.cryoturbation
    return diffusion / DAYS_PER_YEAR + mixing.background


def _relative_diffusivity(forcing: Forcing) -> tuple[Array, Array]:
    """Diffusivity at the layer interfaces relative to the bio- and cryoturbation parameters, (level, month, site)."""
    active = jnp.maximum(forcing.active_layer_depth, forcing.active_layer_depth_last_year).T[None]
    level = jnp.arange(LAYERS + 1)[:, None, None]
    in_soil = level <= forcing.bedrock_layer[None, None, :]
    decline = jnp.clip(1.0 - (_LEVELS - active) / (CRYOTURBATION_DEPTH - active), 0.0, 1.0)
    freezes = (active > 0.0) & (active <= CRYOTURBATION_ACTIVE_LAYER)
    cryoturbation = jnp.where(freezes & in_soil & (_LEVELS <= CRYOTURBATION_DEPTH), decline, 0.0)
    bioturbation = jnp.where((active > CRYOTURBATION_ACTIVE_LAYER) & in_soil, 1.0, 0.0)
    return bioturbation, cryoturbation


def _harmonic(upper: Array, lower: Array) -> Array:
    """Conductance between neighbouring nodes from positive diffusivities at their levels."""
    return 1.0 / (jnp.divide(1.0 - _WEIGHT, upper) + jnp.divide(_WEIGHT, lower)) / _DISTANCE


def _conductance(relative: Array) -> Array:
    """Annual mean conductance of the 20 interfaces per unit of diffusivity [m-1], (layer, site); 0 next to a zero."""
    upper, lower = relative[:-1], relative[1:]
    conducts = (upper > 0.0) & (lower > 0.0)
    harmonic = _harmonic(jnp.where(conducts, upper, 1.0), jnp.where(conducts, lower, 1.0))
    return jnp.mean(jnp.where(conducts, harmonic, 0.0), axis=1)


def _exchange(conductance: Array, bedrock: Array, column: Column) -> Array:
    """Exchange rates of the layers from the conductance of the interfaces below them, (direction, layer, site)."""
    layer = jnp.arange(LAYERS)[:, None]
    if column == "closed":
        conductance = jnp.where(layer < bedrock - 1, conductance, 0.0)
    above = jnp.concatenate([jnp.zeros_like(conductance[:1]), conductance[:-1]])
    below = conductance if column == "closed" else jnp.where(layer < bedrock, conductance, above)
    below = below.at[-1].set(0.0)
    return jnp.stack([above, below]) / THICKNESS[:LAYERS, None]


def _published_background(relative: Array, bedrock: Array) -> Array:
    """Exchange rates that the published floors leave where nothing else mixes, (direction, layer, site).

    Only layers that hardly decompose anything feel them: diffusivity and downward advection of 1e-30 instead of 0.
    """
    typical = 1e-6  # m2 day-1; any diffusivity far above the floor gives the same result
    level = jnp.where(relative > 0.0, typical, _FLOOR)
    still = (relative[:-1] <= 0.0) | (relative[1:] <= 0.0)
    conductance = jnp.mean(jnp.where(still, _harmonic(level[:-1], level[1:]), 0.0), axis=1)
    advection = jnp.full_like(conductance[0], _FLOOR) / THICKNESS[1:LAYERS, None]
    return _exchange(conductance, bedrock, "published").at[0, 1:].add(advection)
