from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.handlers import substitute, trace

from binn_prob.clm5 import NAMES
from binn_prob.models.encoding import Encoding
from binn_prob.models.networks import ACTIVATIONS, ParameterNetwork, last_layer, learned_rate, weight_scales


@pytest.fixture(scope="module")
def covariates(sites):
    return Encoding.fit(sites)(sites)


def logits(network, covariates, seed=0, gain=1.0, intercept_scale=1.0, **keys):
    scales, unflatten = weight_scales(network, covariates, gain, intercept_scale)
    weights = scales * jax.random.normal(jax.random.key(seed), scales.shape)
    return network.apply(unflatten(weights), covariates, rngs=keys)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
def test_one_logit_per_site_and_parameter(covariates, activation, hidden):
    network = ParameterNetwork(hidden, 2, activation)
    values = logits(network, covariates)
    assert values.shape == (len(covariates.continuous), len(NAMES))
    assert np.isfinite(values).all()


def test_prior_scale_does_not_depend_on_width(covariates):
    spread = [
        float(
            jnp.std(jnp.stack([logits(ParameterNetwork((width,), 2, "tanh"), covariates, seed) for seed in range(60)]))
        )
        for width in (4, 64)
    ]
    assert spread[0] == pytest.approx(spread[1], rel=0.15)


@pytest.mark.parametrize("shared_mask", [True, False])
def test_dropout_needs_a_key_and_differs_between_keys(covariates, shared_mask):
    network = ParameterNetwork((32,), 2, "tanh", 0.5, shared_mask)
    first, again, other = (logits(network, covariates, dropout=jax.random.key(key)) for key in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert float(jnp.abs(first - other).max()) > 0.1


def test_a_shared_mask_is_the_same_at_every_site(covariates):
    same = jax.tree.map(lambda values: jnp.broadcast_to(values[:1], values.shape), covariates)
    shared = logits(ParameterNetwork((32,), 2, "tanh", 0.5, True), same, dropout=jax.random.key(0))
    own = logits(ParameterNetwork((32,), 2, "tanh", 0.5, False), same, dropout=jax.random.key(0))
    assert float(jnp.ptp(shared, axis=0).max()) == 0.0
    assert float(jnp.ptp(own, axis=0).max()) > 0.1


def test_the_last_layer_is_what_the_outputs_are_linear_in(covariates):
    network = ParameterNetwork((4, 3), 2, "tanh")
    scales, unflatten = weight_scales(network, covariates, 1.0, 1.0)
    last = last_layer(network, covariates)
    assert last.sum() == (3 + 1) * len(NAMES)
    weights = scales * jax.random.normal(jax.random.key(0), scales.shape)
    once, twice = (network.apply(unflatten(jnp.where(last, by * weights, weights)), covariates) for by in (1.0, 2.0))
    np.testing.assert_allclose(twice, 2.0 * once, rtol=1e-5)


def test_a_learned_rate_pays_for_the_weights_of_its_units_and_gains_their_entropy(covariates):
    network = ParameterNetwork((4, 3), 2, "tanh")
    scales, unflatten = weight_scales(network, covariates, 1.0, 1.0)
    weights, rate = jax.random.normal(jax.random.key(0), scales.shape), 0.3
    held = substitute(lambda: learned_rate(network, covariates, weights), {"dropout_rate": rate})
    site = trace(held).get_trace()["dropout_divergence"]
    layers = unflatten(weights)["params"]
    square = sum(float(jnp.sum(layers[layer]["kernel"] ** 2)) for layer in ("hidden_1", "output"))
    entropy = -(4 + 3) * (rate * np.log(rate) + (1.0 - rate) * np.log(1.0 - rate))
    expected = entropy - 0.5 * square * (1.0 / (1.0 - rate) - 1.0)
    assert float(site["fn"].log_prob(site["value"])) == pytest.approx(expected, rel=1e-5)


def test_a_relaxed_mask_is_that_of_dropout_in_the_mean_and_has_a_gradient_in_the_rate(covariates):
    network = ParameterNetwork((32,), 2, "tanh")
    scales, unflatten = weight_scales(network, covariates, 1.0, 1.0)
    variables = unflatten(scales * jax.random.normal(jax.random.key(0), scales.shape))

    def relaxed(rate, key):
        return network.apply(variables, covariates, rate, rngs={"dropout": key})

    drawn = np.asarray(jax.vmap(lambda key: relaxed(0.5, key))(jax.random.split(jax.random.key(1), 2000)))
    error = np.abs(drawn.mean(axis=0) - np.asarray(network.apply(variables, covariates)))
    assert (error < 5.0 * drawn.std(axis=0) / np.sqrt(2000)).all()
    slope = jax.jacobian(lambda rate: relaxed(rate, jax.random.key(2)))(0.3)
    assert np.isfinite(slope).all()
    assert float(jnp.abs(slope).max()) > 0.0
