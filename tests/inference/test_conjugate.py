"""Every method against a posterior that is known: the weights of a linear regression with Gaussian prior and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from quick_models import Sited

from binn_prob.inference import METHODS, NUTS, SGHMC, VI, DeepEnsemble, Laplace

pytestmark = pytest.mark.slow

NOISE = 0.5
"""Standard deviation of the outputs."""

OUTPUT = np.array([False, True, True])
"""Weights that the model calls its last layer."""


@dataclass(frozen=True)
class LinearRegression(Sited):
    """Known inputs, two of them correlated, so nothing is read from the sites."""

    def prepare(self, dataset, encoding):
        mixing = jnp.array([[1.0, 0.8, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 1.0]])
        inputs = jax.random.normal(jax.random.key(10), (20, 3)) @ mixing
        return inputs, inputs @ jnp.array([1.0, -0.5, 0.2]) + NOISE * jax.random.normal(jax.random.key(11), (20,))

    def prior(self, profiles):
        standard = dist.Normal().expand((3,)).to_event(1)
        return numpyro.sample("weights", standard, infer={"last_layer": OUTPUT})

    def __call__(self, profiles):
        inputs, outputs = profiles
        weights = self.prior(profiles)
        numpyro.sample("outputs", dist.Normal(inputs @ weights, NOISE).to_event(1), obs=outputs)


class Gaussian(NamedTuple):
    mean: np.ndarray
    covariance: np.ndarray


def exact() -> Gaussian:
    """Bishop 2006, *Pattern Recognition and Machine Learning*, equations 3.50 and 3.51."""
    inputs, outputs = map(np.asarray, LinearRegression().prepare(None, None))
    covariance = np.linalg.inv(np.eye(3) + inputs.T @ inputs / NOISE**2)
    return Gaussian(covariance @ inputs.T @ outputs / NOISE**2, covariance)


def factorised() -> Gaussian:
    """Bishop 2006, section 10.1.2: the best product of independent Gaussians has the conditional variances."""
    mean, covariance = exact()
    return Gaussian(mean, np.diag(1.0 / np.diag(np.linalg.inv(covariance))))


def of_the_last_layer() -> Gaussian:
    """The other weights at the mode, which is the mean: the conditional distribution of the last layer."""
    mean, covariance = exact()
    precision = np.linalg.inv(covariance)[np.ix_(OUTPUT, OUTPUT)]
    conditional = np.zeros((3, 3))
    conditional[np.ix_(OUTPUT, OUTPUT)] = np.linalg.inv(precision)
    return Gaussian(mean, conditional)


def discretised(step_size: float, friction: float) -> Gaussian:
    """What finite steps make of a Gaussian, in the numbers that the mean-field fit standardises: see :class:`SGHMC`."""
    mean, covariance = exact()
    scale = np.sqrt(np.diag(factorised().covariance))
    curvature, directions = np.linalg.eigh(np.outer(scale, scale) * np.linalg.inv(covariance))
    rest = 1.0 - 0.5 * friction * step_size
    variance = rest / (rest - 0.25 * step_size**2 * curvature) / curvature
    return Gaussian(mean, np.outer(scale, scale) * ((directions * variance) @ directions.T))


def point() -> Gaussian:
    """The mode."""
    return Gaussian(exact().mean, np.zeros((3, 3)))


class Case(NamedTuple):
    method: Any
    theory: Callable[[], Gaussian]
    optimisation: float
    """What is allowed for where an optimiser ended, beyond Monte Carlo error: error of a mean in posterior standard
    deviations, and half that relative error of a standard deviation."""


def vi(guide: str, **options: Any) -> VI:
    return VI(
        guide=guide, draws=4000, **{"steps": 3000, "learning_rate": 0.02, "particles": 8, "patience": None} | options
    )


def sghmc(**options: Any) -> SGHMC:
    return SGHMC(chains=4, warmup=50, draws=1000, **options)


# The noise of an ELBO's gradient over 8 particles leaves a Gaussian guide within a few per cent of its optimum; a flow
# has further to go, and its optimum is as near to a Gaussian as its family comes.
CASES = {
    "nuts": Case(NUTS(chains=4, warmup=500, draws=500, start_steps=500), exact, 0.0),
    "nuts, neutra": Case(NUTS(chains=4, warmup=500, draws=500, start_steps=500, neutra="iaf"), exact, 0.0),
    "laplace": Case(Laplace(draws=4000, steps=2000, learning_rate=0.02, patience=None), exact, 0.01),
    "laplace, last layer": Case(
        Laplace(weights="last_layer", draws=4000, steps=2000, learning_rate=0.02, patience=None),
        of_the_last_layer,
        0.01,
    ),
    "deep_ensemble": Case(DeepEnsemble(members=4, steps=2000, learning_rate=0.02, patience=None), point, 0.01),
    "sghmc": Case(sghmc(step_size=0.2, thinning=40), partial(discretised, 0.2, 1.0), 0.0),
    "sghmc, long steps": Case(sghmc(step_size=0.8, thinning=10), partial(discretised, 0.8, 1.0), 0.1),
    "vi, mean_field": Case(vi("mean_field"), factorised, 0.1),
    "vi, low_rank": Case(vi("low_rank"), exact, 0.1),
    "vi, full_rank": Case(vi("full_rank"), exact, 0.1),
    "vi, iaf": Case(vi("iaf"), exact, 0.2),
    "vi, bnaf": Case(vi("bnaf"), exact, 0.2),
}


SLOW = {"vi, bnaf"}
"""Set up by NumPyro in half a minute."""

TABLE = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in SLOW else ()) for name in CASES]
)


@pytest.fixture(scope="module")
def fits():
    """Every case fitted once, when first asked for."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = CASES[name].method.fit(jax.random.key(0), LinearRegression(), None, progress=False)
        return made[name]

    return get


def independent_draws(fit) -> float:
    """Number of independent draws that say as much about a mean."""
    from numpyro.diagnostics import effective_sample_size

    draws = np.asarray(fit.draws["weights"])
    return float(effective_sample_size(draws).min()) if fit.markov_chain else float(draws.shape[1])


@TABLE
def test_the_mean_is_that_of_theory(name, fits):
    case, fit = CASES[name], fits(name)
    mean, covariance = case.theory()
    noise = 4.0 * np.sqrt(np.diag(covariance) / independent_draws(fit))
    allowed = noise + case.optimisation * np.sqrt(np.diag(exact().covariance))
    error = np.abs(np.asarray(fit.draws["weights"]).mean(axis=(0, 1)) - mean)
    assert (error < allowed).all(), error / allowed


@TABLE
def test_the_covariance_is_that_of_theory(name, fits):
    case, fit = CASES[name], fits(name)
    expected = case.theory().covariance
    found = np.cov(np.asarray(fit.draws["weights"]).reshape(-1, 3).T)
    # The standard error of a covariance from n independent Gaussian draws, Anderson 2003, theorem 3.4.4.
    variance = np.diag(expected)
    noise = 4.0 * np.sqrt((np.outer(variance, variance) + expected**2) / independent_draws(fit))
    scale = np.sqrt(np.diag(exact().covariance))
    error, allowed = np.abs(found - expected), noise + case.optimisation * np.outer(scale, scale)
    assert (error < allowed).all(), error / allowed


def test_the_table_tells_the_theories_apart():
    wide, narrow = np.diag(exact().covariance), np.diag(factorised().covariance)
    assert (narrow / wide).min() < 0.6  # far more than any case allows
    longer, shorter = (np.diag(discretised(step_size, 1.0).covariance) for step_size in (0.8, 0.2))
    assert (longer / wide).max() > 1.3
    assert (shorter / wide).max() < 1.03


@pytest.mark.parametrize("guide", ["low_rank", "full_rank", "iaf"])
def test_a_guide_of_the_right_family_has_a_low_k_hat(guide, fits):
    assert fits(f"vi, {guide}").attributes["pareto_k"] < 0.5


def test_a_guide_that_cannot_correlate_has_a_higher_k_hat(fits):
    assert fits("vi, mean_field").attributes["pareto_k"] > fits("vi, full_rank").attributes["pareto_k"] + 0.2


def test_a_guide_that_is_far_off_has_a_k_hat_that_says_so():
    barely = VI(steps=100, learning_rate=1e-6).fit(jax.random.key(0), LinearRegression(), None, progress=False)
    assert barely.attributes["pareto_k"] > 0.7


@pytest.mark.parametrize("name", ["laplace", "laplace, last layer"])
def test_a_gaussian_has_a_hessian_that_needs_no_help(name, fits):
    assert fits(name).attributes["raised_eigenvalues"] == 0
    assert fits(name).attributes["distance_to_mode"] < 0.01


def test_every_method_that_serves_the_model_is_in_the_table():
    """MC dropout has no unit to switch off here; samplers of single sites have tests with posteriors of their own."""
    others = {"mc_dropout", "site_nuts", "proda_metropolis"}
    assert {case.method.name for case in CASES.values()} == set(METHODS) - others
