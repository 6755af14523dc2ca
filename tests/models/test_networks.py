from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from binn_prob.clm5 import NAMES
from binn_prob.models.encoding import Encoding
from binn_prob.models.networks import ACTIVATIONS, ParameterNetwork, weight_scales


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
