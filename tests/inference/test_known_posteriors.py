"""NUTS against a published reference posterior, and what every optimisation says when there is nothing to find."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from quick_models import Sited

from binn_prob.inference import NUTS, VI, DeepEnsemble, Laplace
from binn_prob.inference.base import FitError


@dataclass(frozen=True)
class EightSchools(Sited):
    """Rubin 1981, in the non-centred form and with the priors of posteriordb's ``eight_schools_noncentered``."""

    def __call__(self, profiles):
        effect = jnp.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
        error = jnp.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
        offset = numpyro.sample("offset", dist.Normal().expand((8,)).to_event(1))
        mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
        numpyro.sample("effect", dist.Normal(mu + tau * offset, error).to_event(1), obs=effect)

    prior = __call__


REFERENCE = {
    # mean, its Monte Carlo error; mean square, its Monte Carlo error
    "theta[1]": (6.1505, 0.0557, 69.363, 1.169),
    "theta[2]": (4.9396, 0.0462, 45.979, 0.635),
    "theta[3]": (3.9059, 0.0542, 43.139, 0.654),
    "theta[4]": (4.7960, 0.0475, 45.761, 0.619),
    "theta[5]": (3.6144, 0.0461, 34.358, 0.455),
    "theta[6]": (4.0511, 0.0485, 39.414, 0.539),
    "theta[7]": (6.3172, 0.0499, 64.933, 0.922),
    "theta[8]": (4.8840, 0.0543, 52.128, 0.902),
    "mu": (4.4105, 0.0330, 30.403, 0.335),
    "tau": (3.6021, 0.0319, 23.204, 0.485),
}
"""Summary statistics of the reference posterior ``eight_schools-eight_schools_noncentered`` of posteriordb (Magnusson
et al. 2025, AISTATS; github.com/stan-dev/posteriordb, reference_posteriors/summary_statistics), from 10,000 draws of
Stan; the mean squares are filed there under the centred form, whose posterior is the same."""


@pytest.mark.slow
def test_nuts_meets_the_published_posterior_of_eight_schools():
    import arviz_stats

    method = NUTS(chains=4, warmup=1000, draws=2000, target_accept=0.95, start_steps=500)
    drawn = method.fit(jax.random.key(0), EightSchools(), None, progress=False).draws
    mu, tau, offset = (np.asarray(drawn[name]) for name in ("mu", "tau", "offset"))
    theta = {f"theta[{school + 1}]": mu + tau * offset[..., school] for school in range(8)}
    for name, values in {**theta, "mu": mu, "tau": tau}.items():
        mean, mean_error, square, square_error = REFERENCE[name]
        assert float(arviz_stats.rhat(values)) < 1.01
        for found, expected, error in ((values, mean, mean_error), (values**2, square, square_error)):
            own_error = float(arviz_stats.mcse(found, method="mean"))
            assert abs(found.mean() - expected) < 4.0 * np.hypot(own_error, error), name
            assert own_error < 0.1 * found.std()  # so that the line above can fail


@dataclass(frozen=True)
class Cliff(Sited):
    """A density that rises towards an edge behind which it does not exist."""

    edge: float = 0.0

    def prior(self, profiles):
        return numpyro.sample("weights", dist.Normal().expand((3,)).to_event(1))

    def __call__(self, profiles):
        total = jnp.sum(self.prior(profiles))
        numpyro.factor("cliff", jnp.where(total < self.edge, 1000.0 * total, jnp.nan))


@pytest.mark.parametrize(
    "method",
    [
        VI(steps=2000, learning_rate=0.1),
        NUTS(chains=1, start_learning_rate=0.1),
        DeepEnsemble(members=3, learning_rate=0.1),
        Laplace(learning_rate=0.1),
    ],
    ids=lambda method: method.name,
)
def test_a_diverging_optimisation_is_an_error_that_says_what_to_do(method):
    with pytest.raises(FitError, match="smaller learning_rate"):
        method.fit(jax.random.key(0), Cliff(edge=5.0), None, progress=False)


def test_a_density_that_is_nowhere_finite_is_an_error_that_says_what_to_do():
    with pytest.raises(FitError, match="the start has no finite density"):
        VI().fit(jax.random.key(0), Cliff(edge=-100.0), None, progress=False)
