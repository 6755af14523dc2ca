"""The error scale that observations share, given all else."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.handlers import seed, substitute, trace

from binn_prob.inference.base import Model

__all__ = ["error_scales"]

_TAIL = 1e-9
"""Probability of the prior of the error scale beyond each end of where that scale is looked for."""

_ROUNDS, _GRID, _FINE_GRID = 3, 41, 161
"""How often that range is narrowed, on how many scales, and on how many the draw is made."""

_NEGLIGIBLE = 25.0
"""Log density below the largest at which a scale is left out."""


@partial(jax.jit, static_argnames=("model",))
def error_scales(model: Model, profiles: Any, keys: Array, soc: Array, counted: Array) -> Array:
    """Draw the error scale from its posterior given the modelled carbon, several times.

    Where the density of this one number is not negligible is found on ever finer grids; it has one mode.

    Parameters
    ----------
    model : Model
        With one ``soc_scale`` for all sites.
    profiles : pytree of arrays
        The sites with their observations.
    keys : array of random keys (draw,)
    soc : array (draw, site, observation)
        Modelled carbon [g C m-3].
    counted : array of bool (draw, site)
        Whose observations count.

    Returns
    -------
    array (draw,)
    """

    def run(values: dict[str, Array]) -> dict[str, Any]:
        return trace(substitute(seed(model, rng_seed=0), data=values)).get_trace(profiles)

    def draw(given: tuple[Array, Array, Array]) -> Array:
        key, soc, counted = given

        def log_density(log_scale: Array) -> Array:
            sites = run({"soc_at_depth": soc, "soc_scale": jnp.exp(log_scale)})  # so that no column is solved
            prior, likely = (sites[name]["fn"].log_prob(sites[name]["value"]) for name in ("soc_scale", "soc"))
            return prior + log_scale + jnp.sum(counted[:, None] * likely)

        low, high = jnp.log(run({})["soc_scale"]["fn"].icdf(jnp.array([_TAIL, 1.0 - _TAIL])))
        for _ in range(_ROUNDS):
            grid = jnp.linspace(low, high, _GRID)
            density = jax.vmap(log_density)(grid)
            spacing, kept = grid[1] - grid[0], density > density.max() - _NEGLIGIBLE
            low = jnp.min(jnp.where(kept, grid, high)) - spacing
            high = jnp.max(jnp.where(kept, grid, grid[0])) + spacing
        grid = jnp.linspace(low, high, _FINE_GRID)
        node_key, jitter_key = jax.random.split(key)
        node = jax.random.categorical(node_key, jax.vmap(log_density)(grid))
        return jnp.exp(grid[node] + (grid[1] - grid[0]) * jax.random.uniform(jitter_key, minval=-0.5, maxval=0.5))

    return jax.lax.map(draw, (keys, soc, counted))
