"""What draws of a model's latent sites say about sites, run through the model once more."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import Array
from numpyro.infer import Predictive

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.inference.base import Likelihood, Model

__all__ = ["draw", "log_density", "within"]


@partial(jax.jit, static_argnames=("model", "options"))
def draw(
    model: Model, options: tuple[tuple[str, Any], ...], key: Array, draws: dict[str, Array], profiles: Any
) -> dict[str, Array]:
    """Run the model for every draw; a second prediction for as many sites compiles nothing."""
    drawn: dict[str, Array] = Predictive(model, draws, batch_ndims=2)(key, profiles, **dict(options))
    return drawn


@partial(jax.jit, static_argnames="likelihood")
def log_density(likelihood: Likelihood, soc: Array, scale: Array | None, observed: Array) -> Array:
    """Return the log predictive density of every observation for every draw, (chain, draw, site, observation)."""
    each = jax.vmap(jax.vmap(likelihood.log_density, (0, 0, None)), (0, 0, None))
    return each(soc, scale, observed)


def within(dataset: xr.Dataset, mask: np.ndarray) -> xr.Dataset:
    """Leave out the observations (site, observation) that the model does not reach, and count them."""
    observed = ("site", "observation")
    beyond = dataset["soc"].transpose(*observed).notnull().to_numpy() & ~mask
    if not beyond.any():
        return dataset
    exclusions = json.loads(dataset.attrs.get("exclusions", "{}"))
    reason = "observations below bedrock"
    exclusions[reason] = exclusions.get(reason, 0) + int(beyond.sum())
    kept = {name: dataset[name].transpose(*observed).where(mask) for name in ("soc", "depth")}
    return dataset.assign(kept).assign_attrs(exclusions=json.dumps(exclusions))
