"""What draws of a model's latent sites say about sites, run through the model once more."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer import Predictive

from binn_prob.sharding import everywhere

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from binn_prob.inference.base import Likelihood, Model

__all__ = ["BY_LAYER", "draw", "labelled", "log_density", "of_new_sites", "rows", "within"]

BY_LAYER = ("parameters", "soc_layer", "processes")
"""What a model says of a site whether it is observed or not"""

_OF_SITES = 2**32 - 1
"""Number of the key from which those of sites come; draws have the numbers from 0 on"""


@partial(jax.jit, static_argnames=("model", "options", "only"))
def draw(
    model: Model,
    options: tuple[tuple[str, Any], ...],
    key: Array,
    draws: dict[str, Array],
    profiles: Any,
    only: tuple[str, ...] | None = None,
) -> dict[str, Array]:
    """Run the model for every draw, and return all or ``only`` some of what it says.

    A second prediction for as many sites compiles nothing.
    """
    predictive = Predictive(model, draws, return_sites=only, batch_ndims=2)
    drawn: dict[str, Array] = predictive(key, profiles, **dict(options))
    return everywhere(drawn) if only is None else drawn  # some of very many sites: each device keeps its own


def of_new_sites(model: Model, key: Array, draws: Mapping[str, Array], sites: int, first: int = 0) -> dict[str, Array]:
    """Draw from their prior the latent sites that every site has of its own, where the draws do not hold them.

    The number of a site among all that are predicted, from ``first`` on, determines its draws, not the company.
    """
    missing = [name for name in model.site_latents if name not in draws]
    if not model.has_network or not missing:
        return {}
    shape = next(iter(draws.values())).shape[:2]
    drawn = _of_prior(model, jax.random.fold_in(key, _OF_SITES), jnp.arange(first, first + sites), shape)
    return {name: drawn[name] for name in missing}


@partial(jax.jit, static_argnames=("model", "shape"))
def _of_prior(model: Model, key: Array, numbers: Array, shape: tuple[int, int]) -> dict[str, Array]:
    return model.prior_of_sites(jax.vmap(jax.random.fold_in, (None, 0))(key, numbers), shape)


def rows(fitted: xr.Dataset, asked: xr.Dataset) -> np.ndarray:
    """Return the rows of some sites among the fitted ones; -1 for others, even where an id is the same."""
    found: np.ndarray = fitted.indexes["site"].get_indexer(asked.indexes["site"])
    own, others = (each["continuous"].transpose("site", ...).to_numpy() for each in (fitted, asked))
    if own.shape[1:] != others.shape[1:]:
        return np.full_like(found, -1)
    same = np.isclose(own[found], others, rtol=1e-6, atol=0.0, equal_nan=True).all(axis=1)
    return np.where(same, found, -1)


def labelled(model: Model, name: str, values: Array) -> xr.DataArray:
    """Return the draws of a latent site with the names of its axes."""
    import xarray as xr

    first = ("chain", "draw", "site") if name in model.site_latents else ("chain", "draw")
    own = [f"{name}_{axis}" for axis in range(values.ndim - len(first))]
    return xr.DataArray(np.asarray(values), dims=(*first, *own))


@partial(jax.jit, static_argnames="likelihood")
def log_density(likelihood: Likelihood, soc: Array, scale: Array | None, observed: Array) -> Array:
    """Return the log predictive density of every observation for every draw, (chain, draw, site, observation)."""
    each = jax.vmap(jax.vmap(likelihood.log_density, (0, 0, None)), (0, 0, None))
    density: Array = everywhere(each(soc, scale, observed))
    return density


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
