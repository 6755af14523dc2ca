"""A model's free parameters on the logit scale of their ranges, whatever network or latents give them."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logit
from numpyro.handlers import seed, substitute, trace

from binn_prob.clm5.parameters import NAMES, unit
from binn_prob.inference.base import Model

__all__ = ["ParameterModel", "carbon", "free_unit", "free_units", "line", "mean_unit", "offsets", "run", "to_logit"]

_EDGE = 1e-6
"""Distance from the ends of its range to which a parameter is confined, so that its logit is finite [1]."""


class ParameterModel(Model, Protocol):
    """A model that says which parameters it learns and in which ranges."""

    ranges: str

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the parameters that are learnt."""


def run(model: Model, profiles: Any, latents: dict[str, Array] | None = None) -> dict[str, Array]:
    """Run the model with given latents, the others drawn, and return the value of every site."""
    traced = trace(substitute(seed(model, rng_seed=0), data=latents or {})).get_trace(profiles)
    return {name: site["value"] for name, site in traced.items() if site["type"] != "plate"}


def free_unit(model: ParameterModel, profiles: Any, latents: dict[str, Array]) -> Array:
    """Return the free parameters of the sites in the unit cube, (site, free parameter)."""
    places = np.array([NAMES.index(name) for name in model.free])
    return unit(run(model, profiles, latents)["parameters"], model.ranges)[:, places]


@partial(jax.jit, static_argnames=("model",))
def free_units(model: ParameterModel, profiles: Any, latents: dict[str, Array]) -> Array:
    """Return the same of many draws, (draw, site, free parameter)."""
    return jax.vmap(partial(free_unit, model, profiles))(latents)


@partial(jax.jit, static_argnames=("model",))
def mean_unit(model: ParameterModel, profiles: Any, latents: dict[str, Array]) -> Array:
    """Return their mean over all draws, (site, free parameter), without holding them all."""
    draws = len(next(iter(latents.values())))
    first = free_unit(model, profiles, {name: values[0] for name, values in latents.items()})
    total, _ = jax.lax.scan(
        lambda total, latents: (total + free_unit(model, profiles, latents), None), jnp.zeros_like(first), latents
    )
    return total / draws


def to_logit(unit: Array) -> Array:
    """Return the logits of numbers in the unit interval, finite at its ends too."""
    return logit(jnp.clip(unit, _EDGE, 1.0 - _EDGE))


def line(model: ParameterModel, profiles: Any, weights: Array) -> tuple[Array, Array]:
    """Return where the network puts the sites' parameters, and their spread about it, (site, free parameter) [logit].

    A model without offsets has no such spread; 1 makes the loss a squared error.
    """

    def at(offset: float) -> Array:
        same = jnp.full((len(profiles.mask), len(model.free)), offset)
        return to_logit(free_unit(model, profiles, {"weights": weights, "offsets": same}))

    location = at(0.0)
    return location, at(1.0) - location if "offsets" in model.site_latents else jnp.ones_like(location)


@partial(jax.jit, static_argnames=("model",))
def offsets(model: ParameterModel, profiles: Any, weights: Array, targets: Array) -> Array:
    """Return the offsets at which the fitted sites have their targets, (member, site, free parameter)."""

    def of_member(member: tuple[Array, Array]) -> Array:
        location, scale = line(model, profiles, member[0])
        return (member[1] - location) / scale

    return jax.lax.map(of_member, (weights, targets))


@partial(jax.jit, static_argnames=("model",))
def carbon(model: Model, profiles: Any, latents: dict[str, Array]) -> Array:
    """Return the modelled carbon of many draws at the depths of the observations, (draw, site, observation)."""
    return jax.lax.map(lambda drawn: run(model, profiles, drawn)["soc_at_depth"], latents)
