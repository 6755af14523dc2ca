"""The density of a model by site, read from the model itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array
from numpyro.distributions import biject_to
from numpyro.handlers import substitute, trace

__all__ = ["log_densities"]


def log_densities(
    model: Callable[..., None], latents: Mapping[str, Array], *arguments: Any
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the log density of every sample site of a NumPyro model, by row of its plate ``sites``.

    Parameters
    ----------
    model : callable
        NumPyro model whose sample sites all lie in a plate called ``sites``.
    latents : mapping of arrays
        Values of its latent sites on the unconstrained scale, as NumPyro's algorithms use it; further names are
        ignored.
    *arguments
        What the model is called with.

    Returns
    -------
    densities : dict of arrays (site,)
        Name of the sample site → log density, that of a latent site with the Jacobian of its constraint.
    trace : dict
        NumPyro's trace.

    Raises
    ------
    KeyError
        If a latent site has no value.
    """

    def constrained(message: Mapping[str, Any]) -> Array | None:
        if message["type"] != "sample" or message["is_observed"]:
            return None
        value: Array = biject_to(message["fn"].support)(latents[message["name"]])
        return value

    traced = trace(substitute(model, substitute_fn=constrained)).get_trace(*arguments)
    sampled = {name: site for name, site in traced.items() if site["type"] == "sample"}
    return {name: _density(site, latents) for name, site in sampled.items()}, traced


def _density(site: Mapping[str, Any], latents: Mapping[str, Array]) -> Array:
    """Return the log density of one sample site, summed over all axes but that of the plate ``sites``."""
    density = site["fn"].log_prob(site["value"])
    if not site["is_observed"]:
        transform, latent = biject_to(site["fn"].support), latents[site["name"]]
        jacobian = transform.log_abs_det_jacobian(latent, site["value"])
        density = density + jnp.sum(jacobian.reshape(*density.shape, -1), axis=-1)
    (axis,) = (frame.dim for frame in site["cond_indep_stack"] if frame.name == "sites")
    others = tuple(place for place in range(-density.ndim, 0) if place != axis)
    return jnp.sum(density, axis=others)
