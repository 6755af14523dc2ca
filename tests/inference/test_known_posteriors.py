"""Methods against a posterior that is known: the weights of a linear regression with Gaussian prior and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from binn_prob.inference import NUTS, VI
from binn_prob.inference.base import FitError

NOISE = 0.5


@dataclass(frozen=True)
class LinearRegression:
    """Known inputs, so nothing is read from the sites."""

    name: ClassVar[str] = "linear regression"
    has_network: ClassVar[bool] = False

    def encode(self, dataset):
        return None

    def prepare(self, dataset, encoding):
        inputs = jax.random.normal(jax.random.key(10), (20, 3)) @ jnp.array(
            [[1.0, 0.8, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 1.0]]
        )
        outputs = inputs @ jnp.array([1.0, -0.5, 0.2]) + NOISE * jax.random.normal(jax.random.key(11), (20,))
        return inputs, outputs

    def __call__(self, profiles):
        inputs, outputs = profiles
        weights = numpyro.sample("weights", dist.Normal().expand((3,)).to_event(1))
        numpyro.sample("outputs", dist.Normal(inputs @ weights, NOISE).to_event(1), obs=outputs)

    def exact(self):
        inputs, outputs = self.prepare(None, None)
        precision = jnp.eye(3) + inputs.T @ inputs / NOISE**2
        covariance = jnp.linalg.inv(precision)
        return covariance @ inputs.T @ outputs / NOISE**2, covariance


def draws(method):
    fit = method.fit(jax.random.key(0), LinearRegression(), None, progress=False)
    return fit.draws["weights"]


def test_nuts_recovers_the_posterior():
    from numpyro.diagnostics import effective_sample_size

    sampled = np.asarray(draws(NUTS(chains=4, warmup=500, draws=500, start_steps=500)))
    mean, covariance = LinearRegression().exact()
    spread = np.sqrt(np.diag(covariance))
    effective = effective_sample_size(sampled)
    assert (effective > 400).all()
    error = np.abs(sampled.mean(axis=(0, 1)) - mean) / spread
    assert (error < 4.0 / np.sqrt(effective)).all()
    # the relative error of a standard deviation from n independent draws is 1 / sqrt(2 n)
    np.testing.assert_allclose(sampled.std(axis=(0, 1)) / spread, 1.0, atol=4.0 / np.sqrt(2 * effective.min()))
    correlation = np.corrcoef(sampled.reshape(-1, 3).T)[0, 1]
    assert correlation == pytest.approx(
        float(covariance[0, 1] / spread[0] / spread[1]), abs=4.0 / np.sqrt(effective.min())
    )


@pytest.mark.parametrize("guide", ["mean_field", "low_rank", "full_rank", "flow"])
def test_variational_inference_recovers_what_its_family_can_express(guide):
    method = VI(guide=guide, draws=4000, steps=4000, learning_rate=0.02, particles=8, patience=None)
    sampled = np.asarray(draws(method))[0]
    mean, covariance = LinearRegression().exact()
    spread = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((sampled.mean(axis=0) - mean) / spread, 0.0, atol=0.2)
    # an optimal mean-field Gaussian has the conditional standard deviations, not the marginal ones
    conditional = 1.0 / np.sqrt(np.diag(np.linalg.inv(covariance)))
    expected = conditional if guide == "mean_field" else spread
    np.testing.assert_allclose(sampled.std(axis=0) / expected, 1.0, atol=0.15)


@dataclass(frozen=True)
class Cliff(LinearRegression):
    """A density that rises towards an edge behind which it does not exist."""

    edge: float = 0.0

    def __call__(self, profiles):
        weights = numpyro.sample("weights", dist.Normal().expand((3,)).to_event(1))
        total = jnp.sum(weights)
        numpyro.factor("cliff", jnp.where(total < self.edge, 1000.0 * total, jnp.nan))


@pytest.mark.parametrize("method", [VI(steps=2000, learning_rate=0.1), NUTS(chains=1, start_learning_rate=0.1)])
def test_a_diverging_optimisation_is_an_error_that_says_what_to_do(method):
    with pytest.raises(FitError, match="smaller learning_rate"):
        method.fit(jax.random.key(0), Cliff(edge=5.0), None, progress=False)


def test_a_density_that_is_nowhere_finite_is_an_error_that_says_what_to_do():
    with pytest.raises(FitError, match="no start"):
        VI().fit(jax.random.key(0), Cliff(edge=-100.0), None, progress=False)
