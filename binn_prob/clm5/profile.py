"""From pools to soil organic carbon, per layer and at any depth."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from binn_prob.clm5.layers import LAYERS, NODE_DEPTH
from binn_prob.clm5.pools import SOIL

__all__ = ["at_depth", "soil_organic_carbon"]


def soil_organic_carbon(pools: ArrayLike) -> Array:
    """Sum the three soil pools; litter and woody debris do not count.

    Parameters
    ----------
    pools : array (..., pool, layer) [g C m-3]

    Returns
    -------
    array (..., layer) [g C m-3]
    """
    return jnp.sum(jnp.asarray(pools)[..., SOIL, :], axis=-2)


def at_depth(soc: ArrayLike, depth: ArrayLike, bedrock_layer: ArrayLike | None = None) -> Array:
    """Interpolate soil organic carbon linearly between the layer nodes.

    Above the first and below the last node the value of that node holds, as in BINN.

    Parameters
    ----------
    soc : array (..., site, layer) [g C m-3]
    depth : array (site, observation) [m]
        NaN where there is no observation; the result is NaN there, with a gradient of 0.
    bedrock_layer : array (site,), optional
        Number of soil layers above bedrock.  If given, the last soil node is the last one, so that the empty bedrock
        below it does not enter the interpolation; right for the closed column.

    Returns
    -------
    array (..., site, observation) [g C m-3]
    """
    soc, depth = jnp.asarray(soc), jnp.asarray(depth)
    last = jnp.full(depth.shape[0], LAYERS) if bedrock_layer is None else jnp.asarray(bedrock_layer)
    nodes = jnp.asarray(NODE_DEPTH[:LAYERS])
    missing = jnp.isnan(depth)
    # a depth of its own for the padding: NaN in the weights would spread to every gradient
    inside = jnp.clip(jnp.where(missing, nodes[0], depth), nodes[0], nodes[last - 1][:, None])
    upper = jnp.clip(jnp.searchsorted(nodes, inside, side="right") - 1, 0, jnp.maximum(last - 2, 0)[:, None])
    lower = jnp.minimum(upper + 1, LAYERS - 1)
    weight = (inside - nodes[upper]) / (nodes[lower] - nodes[upper])
    indices = (jnp.arange(depth.shape[0])[:, None],)
    value = (1.0 - weight) * soc[(..., *indices, upper)] + weight * soc[(..., *indices, lower)]
    return jnp.where(missing, jnp.nan, value)
