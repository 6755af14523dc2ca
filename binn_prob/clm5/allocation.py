"""Distribution of litter input over depth.

Source: Jackson et al. 1996 (Oecologia 108:389), whose root profile ``1 - beta ** depth`` (depth in cm) CLM5 uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from binn_prob.clm5.forcing import Forcing
from binn_prob.clm5.layers import DAYS_PER_YEAR, INTERFACE_DEPTH, LAYERS, THICKNESS

__all__ = ["Litter", "allocation_fractions", "litter_source", "prepare_litter"]

_CENTIMETRES = 100.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Litter:
    """The part of the litter input that does not depend on parameters."""

    input: Array
    """(litter_pool, site) [g C m-2 day-1]"""
    receives: Array
    """(layer, site) whether the layer receives litter"""


def prepare_litter(forcing: Forcing, soil: Array) -> Litter:
    """Compute once per site the daily litter input and the layers that receive it.

    Where the ground did not thaw at all last year, only the uppermost layer receives litter.

    Parameters
    ----------
    forcing : Forcing
    soil : array of bool (layer, site)
        Layers over which input may be distributed.
    """
    thaws = jnp.mean(forcing.active_layer_depth_last_year, axis=1) > 0.0
    uppermost = jnp.arange(LAYERS)[:, None] == 0
    return Litter(
        input=jnp.sum(forcing.litter_input, axis=2).T / DAYS_PER_YEAR,
        receives=soil & (thaws[None, :] | uppermost),
    )


def allocation_fractions(parameters: Mapping[str, Array], receives: Array) -> Array:
    """Share of the litter input that each layer receives [1], (layer, site); the shares of a site add up to 1.

    The share of layer j is ``beta ** (100 z_upper) - beta ** (100 z_lower)`` over the sum of all layers, written
    without the cancellation that the difference suffers for beta near 1.
    """
    log_beta = jnp.log(parameters["beta"])[None, :]
    thickness = _CENTIMETRES * THICKNESS[:LAYERS, None]
    upper = _CENTIMETRES * (INTERFACE_DEPTH - THICKNESS)[:LAYERS, None]
    shares = jnp.where(receives, -jnp.exp(upper * log_beta) * jnp.expm1(thickness * log_beta), 0.0)
    return shares / jnp.sum(shares, axis=0)


def litter_source(parameters: Mapping[str, Array], litter: Litter) -> Array:
    """Litter input per volume of soil [g C m-3 day-1], (litter_pool, layer, site)."""
    density = allocation_fractions(parameters, litter.receives) / THICKNESS[:LAYERS, None]
    return litter.input[:, None, :] * density
