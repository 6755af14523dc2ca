"""The flax network that maps a site's covariates to its parameters, and the prior of its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.flatten_util import ravel_pytree

from binn_prob.clm5.parameters import NAMES
from binn_prob.models.encoding import Covariates

__all__ = ["ACTIVATIONS", "DropoutRate", "ParameterNetwork", "last_layer", "learned_rate", "weight_scales"]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "leaky_relu": lambda values: jax.nn.leaky_relu(values, 0.3),
}
"""Activations by name.  ``leaky_relu`` with slope 0.3 is BINN's; the smooth ones suit NUTS better."""

DropoutRate = float | Literal["learned"]
"""Share of the hidden units that are off, or ``learned`` together with the weights"""

_TEMPERATURE = 0.1
"""Of the relaxed mask, as in Gal, Hron and Kendall 2017."""


class ParameterNetwork(nn.Module):
    """Covariates → logits: one per parameter, or as many as ``outputs`` says.

    Categorical covariates pass through embeddings; all inputs then pass through dense layers, each followed by its
    activation and dropout, and a linear output layer.
    """

    hidden: tuple[int, ...]
    embedding_size: int
    activation: str
    dropout_rate: float = 0.0
    shared_mask: bool = False
    """Whether one dropout mask serves all sites, so that a pass is one thinned network, or each site has its own"""
    outputs: int = len(NAMES)

    @nn.compact
    def __call__(self, covariates: Covariates, relaxed_rate: Array | None = None) -> Array:
        """Return the logits (site, output).

        With a ``relaxed_rate`` () units are switched off by degrees, such that the logits are differentiable in it.
        """
        embedded = [
            nn.Embed(size, self.embedding_size, name=f"embedding_{column}")(covariates.categorical[:, column])
            for column, size in enumerate(covariates.vocabulary_sizes)
        ]
        values = jnp.concatenate([covariates.continuous, *embedded], axis=-1)
        for depth, width in enumerate(self.hidden):
            values = ACTIVATIONS[self.activation](nn.Dense(width, name=f"hidden_{depth}")(values))
            if relaxed_rate is not None:
                off = dist.RelaxedBernoulli(_TEMPERATURE, relaxed_rate).sample(self.make_rng("dropout"), values.shape)
                values = values * (1.0 - off) / (1.0 - relaxed_rate)
            elif self.dropout_rate > 0.0:
                dims = (0,) if self.shared_mask else ()
                values = nn.Dropout(self.dropout_rate, broadcast_dims=dims, deterministic=False)(values)
        return nn.Dense(self.outputs, name="output")(values)


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

    def scale(path: tuple[jax.tree_util.DictKey, ...], leaf: jax.ShapeDtypeStruct) -> Array:
        layer, name = path[-2].key, path[-1].key
        value = {"kernel": gain / leaf.shape[0] ** 0.5, "embedding": 1.0}.get(name)
        if value is None:
            value = intercept_scale if layer == "output" else 1.0
        return jnp.full(leaf.shape, value)

    return ravel_pytree(jax.tree_util.tree_map_with_path(scale, _shapes(network, covariates)))


def last_layer(network: ParameterNetwork, covariates: Covariates) -> np.ndarray:
    """Say of every weight, flat as in :func:`weight_scales`, whether it belongs to the output layer, (weight,)."""
    return _flags(network, covariates, lambda layer, _: layer == "output")


def learned_rate(network: ParameterNetwork, covariates: Covariates, weights: Array) -> Array:
    """Sample the site ``dropout_rate`` (), and charge for it as concrete dropout does (Gal, Hron and Kendall 2017).

    The distribution over networks that dropout at rate p makes of the weights has a divergence from their standard
    normal prior of ``|w|² / (2 (1 - p)) - units H(p)`` up to a constant (section 3 of the paper; here kept units are
    scaled by ``1 / (1 - p)``), with the entropy H of a coin and the weights w of the units that can be off.  The prior
    of the weights is ``|w|² / 2`` of it; the site ``dropout_divergence`` adds the rest.  All layers share the rate.

    Parameters
    ----------
    weights : array (weight,)
        As they are sampled, before they are scaled.
    """
    rate = numpyro.sample("dropout_rate", dist.Uniform())
    of_units = _flags(network, covariates, lambda layer, kind: kind == "kernel" and layer != "hidden_0")
    surplus = 0.5 * jnp.sum(weights[of_units] ** 2) * (1.0 / (1.0 - rate) - 1.0)
    numpyro.factor("dropout_divergence", sum(network.hidden) * dist.BernoulliProbs(rate).entropy() - surplus)
    return jnp.asarray(rate)


def _flags(network: ParameterNetwork, covariates: Covariates, belongs: Callable[[str, str], bool]) -> np.ndarray:
    """Say of every weight, (weight,), whether it belongs, by the name of its layer and its own."""
    shapes = jax.tree_util.tree_leaves_with_path(_shapes(network, covariates))
    return np.concatenate([np.full(leaf.size, belongs(path[-2].key, path[-1].key)) for path, leaf in shapes])


def _shapes(network: ParameterNetwork, covariates: Covariates) -> Any:
    """Return the network's variables as shapes."""
    return jax.eval_shape(network.clone(dropout_rate=0.0).init, jax.random.key(0), covariates)
