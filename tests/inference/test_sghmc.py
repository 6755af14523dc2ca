"""SGHMC: what steps and batches do to a Gaussian is known to the last factor; what cannot be sampled is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.diagnostics import effective_sample_size
from quick_models import Sited

from binn_prob.errors import InputError
from binn_prob.inference import SGHMC, FitError
from binn_prob.models import SiteModel

SITES, BATCH = 40, 10
QUICK = SGHMC(chains=4, warmup=50, draws=1500, thinning=25, step_size=0.4, start_steps=2000)


class Observed(NamedTuple):
    values: Any

    @property
    def sites(self):
        return len(self.values)

    def take(self, sites):
        return Observed(self.values[sites])


@dataclass(frozen=True)
class Mean(Sited):
    """One observation a site, of a mean that all share, with noise and prior of unit variance."""

    def prepare(self, dataset, encoding):
        return Observed(0.5 + jax.random.normal(jax.random.key(3), (SITES,)))

    def prior(self, profiles):
        return numpyro.sample("mean", dist.Normal())

    def __call__(self, profiles):
        mean = self.prior(profiles)
        with numpyro.plate("sites", profiles.sites):
            numpyro.sample("outputs", dist.Normal(mean, 1.0), obs=profiles.values)


def inflation(step_size, friction, curvature, noise):
    """By how much the stationary variance of the discretised dynamics exceeds that of a Gaussian.

    With x' = x + ε p and p' = (1 - α ε) p - ε k x' + sqrt(2 α ε + ε² V) n, the second moments that a step leaves as
    they are solve three linear equations; by hand, k <x²> = (1 - α ε / 2) <p²>.
    """
    ahead = np.array(
        [[1.0, step_size], [-step_size * curvature, 1.0 - friction * step_size - step_size**2 * curvature]]
    )
    source = np.diag([0.0, 2.0 * friction * step_size + step_size**2 * noise])
    moments = np.linalg.solve(np.eye(4) - np.kron(ahead, ahead), source.ravel()).reshape(2, 2)
    return curvature * moments[0, 0]


@pytest.mark.parametrize(("batch", "friction"), [(None, 1.0), (BATCH, 1.0), (BATCH, 2.0)])
def test_steps_and_batches_widen_a_gaussian_by_the_factor_of_theory(batch, friction):
    observed = np.asarray(Mean().prepare(None, None).values)
    variance = 1.0 / (1.0 + SITES)
    # Of n times the mean of m values drawn without replacement, Cochran 1977, theorem 2.2; no position changes it.
    noise = 0.0 if batch is None else SITES**2 * observed.var(ddof=1) / batch * (1.0 - batch / SITES)
    expected = inflation(QUICK.step_size, friction, curvature=1.0, noise=noise * variance)
    method = SGHMC(**{**vars(QUICK), "batch_sites": batch, "friction": friction})
    fit = method.fit(jax.random.key(0), Mean(), None, progress=False)
    draws = np.asarray(fit.draws["mean"])
    size = min(effective_sample_size(draws), draws.size)
    fitted_scale = 0.1 * (expected - 1.0)  # the mean-field fit is within some per cent, and enters squared
    assert draws.var() / variance == pytest.approx(expected, abs=4.0 * expected * np.sqrt(2.0 / size) + fitted_scale)
    assert abs(draws.mean() - variance * observed.sum()) < 4.0 * np.sqrt(expected * variance / size)
    temperature = np.asarray(fit.sample_stats["kinetic_temperature"])
    deviation = 4.0 * temperature.std() / np.sqrt(temperature.size)
    assert temperature.mean() == pytest.approx(expected, abs=deviation + fitted_scale)


def test_the_step_size_decays_when_asked():
    made = SGHMC(chains=1, warmup=10, draws=20, thinning=2, decay=0.5, start_steps=100)
    fit = made.fit(jax.random.key(0), Mean(), None, progress=False)
    expected = 0.1 / np.sqrt(1.0 + np.arange(10, 30) / 10)
    np.testing.assert_allclose(fit.sample_stats["step_size"][0], expected)


def test_steps_that_are_too_long_are_an_error():
    runaway = SGHMC(chains=1, warmup=10, draws=10, step_size=3.0, friction=0.1, start_steps=1000)
    with pytest.raises(FitError, match="step_size"):
        runaway.fit(jax.random.key(0), Mean(), None, progress=False)


def test_batches_need_sites_that_share_what_is_learnt(split):
    with pytest.raises(InputError, match="learns something for each"):
        SGHMC(batch_sites=4).fit(jax.random.key(0), SiteModel(), split[0], progress=False)


def test_weights_without_a_prior_are_refused():
    class Fixed(Mean):
        def __call__(self, profiles):
            numpyro.param("slope", jnp.ones(()))
            super().__call__(profiles)

    with pytest.raises(InputError, match="slope"):
        SGHMC().fit(jax.random.key(0), Fixed(), None, progress=False)
