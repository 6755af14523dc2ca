"""The flax network that maps a site's covariates to its parameters, and the prior of its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from binn_prob.clm5.parameters import NAMES
from binn_prob.models.encoding import Covariates

__all__ = ["ACTIVATIONS", "ParameterNetwork", "weight_scales"]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "leaky_relu": lambda values: jax.nn.leaky_relu(values, 0.3),
}
"""Activations by name.  ``leaky_relu`` with slope 0.3 is BINN's; the smooth ones suit NUTS better."""


class ParameterNetwork(nn.Module):
    """Covariates → 21 logits, one per parameter.

    Categorical covariates pass through embeddings; all inputs then pass through dense layers, each followed by its
    activation and dropout, and a linear output layer.
    """

    hidden: tuple[int, ...]
    embedding_size: int
    activation: str
    dropout_rate: float = 0.0
    shared_mask: bool = False
    """Whether one dropout mask serves all sites, so that a pass is one thinned network, or each site has its own"""

    @nn.compact
    def __call__(self, covariates: Covariates) -> Array:
        """Return the logits (site, parameter)."""
        embedded = [
            nn.Embed(size, self.embedding_size, name=f"embedding_{column}")(covariates.categorical[:, column])
            for column, size in enumerate(covariates.vocabulary_sizes)
        ]
        values = jnp.concatenate([covariates.continuous, *embedded], axis=-1)
        for depth, width in enumerate(self.hidden):
            values = ACTIVATIONS[self.activation](nn.Dense(width, name=f"hidden_{depth}")(values))
            if self.dropout_rate > 0.0:
                dims = (0,) if self.shared_mask else ()
                values = nn.Dropout(self.dropout_rate, broadcast_dims=dims, deterministic=False)(values)
        return nn.Dense(len(NAMES), name="output")(values)


def weight_scales(
    network: ParameterNetwork, covariates: Covariates, gain: float, intercept_scale: float
) -> tuple[Array, Callable[[Array], dict[str, Any]]]:
    """Prior standard deviation of every weight, flat, and how to unflatten.

    Kernels have ``gain / sqrt(fan_in)``, so that the prior of the network's output depends on neither its width nor the
    number of covariates (Neal 1996, *Bayesian Learning for Neural Networks*, section 2.1); embeddings and hidden biases
    have 1, output biases ``intercept_scale``.

    Returns
    -------
    scales : array (weight,)
    unflatten : callable
        (weight,) → the network's variables.

    """
    shapes = jax.eval_shape(network.clone(dropout_rate=0.0).init, jax.random.key(0), covariates)

    def scale(path: tuple[jax.tree_util.DictKey, ...], leaf: jax.ShapeDtypeStruct) -> Array:
        layer, name = path[-2].key, path[-1].key
        value = {"kernel": gain / leaf.shape[0] ** 0.5, "embedding": 1.0}.get(name)
        if value is None:
            value = intercept_scale if layer == "output" else 1.0
        return jnp.full(leaf.shape, value)

    return ravel_pytree(jax.tree_util.tree_map_with_path(scale, shapes))
