"""Independent sites as densities on the unit cube: each latent number is a quantile of its prior."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from numpyro.handlers import block, seed, trace
from numpyro.infer.util import compute_log_probs

from binn_prob.errors import InputError
from binn_prob.inference.base import Model

__all__ = ["coordinates", "latents", "log_likelihood"]


def coordinates(model: Model, profiles: Any, sites: int) -> int:
    """Return how many latent numbers a site has.

    Parameters
    ----------
    model : Model
    profiles : pytree of arrays
        What the model is called with.
    sites : int
        Number of sites in it.

    Raises
    ------
    InputError
        If a latent is shared by sites, or the quantiles of its prior are unknown.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def look(profiles: Any) -> None:
        for name, prior in _priors(model, profiles).items():
            shapes[name] = prior.shape()
            try:
                _elementwise(prior).icdf(jnp.array(0.5))
            except (NotImplementedError, ImportError):  # some need a library of their own
                got = f"a prior of {name!r} whose quantiles NumPyro does not know"
                raise InputError(got, "a prior such as a normal or a log-normal", "change the prior") from None

    jax.eval_shape(look, profiles)
    shared = [name for name, shape in shapes.items() if shape[:1] != (sites,)]
    if model.has_network or shared:
        got = f"the model {model.name!r}, whose sites share {', '.join(shared) or 'a network'}"
        raise InputError(got, "a model of independent sites, such as 'site'", "choose another method or model")
    return sum(math.prod(shape[1:]) for shape in shapes.values())


def latents(model: Model, profiles: Any, unit: Array) -> dict[str, Array]:
    """Return the latents, each (site, …), at quantiles ``unit`` (site, coordinate) of their priors."""
    found, taken = {}, 0
    for name, prior in _priors(model, profiles).items():
        shape = prior.shape()
        size = math.prod(shape[1:])
        found[name] = _elementwise(prior).icdf(unit[:, taken : taken + size].reshape(shape))
        taken += size
    return found


def log_likelihood(model: Model, profiles: Any, unit: Array) -> Array:
    """Return the log-likelihood of each site, (site,), at quantiles ``unit`` (site, coordinate) of the priors."""
    # Else XLA works the quantiles out anew in every loop that reads them, which takes three times as long as the soil.
    values = jax.lax.optimization_barrier(latents(model, profiles, unit))
    terms, _ = compute_log_probs(model, (profiles,), {}, values, sum_log_prob=False)
    sums = [term.reshape(len(unit), -1).sum(axis=1) for name, term in terms.items() if name not in values]
    return jnp.sum(jnp.stack(sums), axis=0)


def _priors(model: Model, profiles: Any) -> dict[str, dist.Distribution]:
    """Return the prior of every latent."""
    sites = trace(seed(block(model, hide_fn=lambda site: site["type"] != "sample"), rng_seed=0)).get_trace(profiles)
    return {name: site["fn"] for name, site in sites.items() if not site["is_observed"]}


def _elementwise(prior: dist.Distribution) -> dist.Distribution:
    """Return the distribution of the single numbers of a prior, whose quantiles NumPyro knows."""
    while isinstance(prior, dist.Independent | dist.ExpandedDistribution):
        prior = prior.base_dist
    return prior
