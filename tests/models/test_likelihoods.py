"""What every likelihood promises, through one table, and what is its own."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from numpyro.handlers import seed, trace
from numpyro.infer import Predictive
from scipy import integrate, stats
from scipy.special import gammaln

from binn_prob.errors import InputError
from binn_prob.models import LogNormalSOC, ProdaLikelihood, StudentTLogSOC

LIKELIHOODS = {
    "student_t": StudentTLogSOC(),
    "student_t, heavy tails": StudentTLogSOC(degrees_of_freedom=1.5, scale_median=0.2),
    "log_normal": LogNormalSOC(),
    "log_normal, narrow prior": LogNormalSOC(scale_spread=0.1),
    "proda": ProdaLikelihood(),
    "proda, precise": ProdaLikelihood(relative_error=0.1),
}
TABLE = pytest.mark.parametrize("name", LIKELIHOODS)
LEARNT = [name for name in LIKELIHOODS if "proda" not in name]

RESIDUALS = {
    "as expected": lambda rng, shape: 0.4 * rng.standard_normal(shape),
    "met exactly": lambda rng, shape: np.zeros(shape),
    "far off": lambda rng, shape: 5.0 * rng.standard_normal(shape),
    "one outlier": lambda rng, shape: np.where(np.arange(shape[1]) == 0, 8.0, 0.01 * rng.standard_normal(shape)),
}
COUNTS = np.array([0, 1, 2, 3, 5, 8, 13, 20])
"""Observations of each site."""


def profiles(kind="as expected", seed=0):
    """Modelled and observed carbon [g C m-3] and depth [m] of sites with 0 to 20 observations, and their mask."""
    rng = np.random.default_rng(seed)
    shape = (len(COUNTS), COUNTS.max())
    mask = np.arange(shape[1]) < COUNTS[:, None]
    soc = np.exp(rng.normal(9.0, 1.0, shape))
    observed = np.where(mask, soc * np.exp(RESIDUALS[kind](rng, shape)), 1.0)
    return jnp.asarray(soc), jnp.asarray(observed), np.sort(rng.uniform(0.0, 2.0, shape)), jnp.asarray(mask)


def log_error(likelihood, residual, scale):
    """Log density of errors of log SOC (…, observation) of a scale, summed over the observations."""
    standard, count = residual / scale, residual.shape[-1]
    if isinstance(likelihood, LogNormalSOC):
        return np.sum(-0.5 * standard**2, axis=-1) - count * np.log(scale * np.sqrt(2.0 * np.pi))
    tail = likelihood.degrees_of_freedom
    constant = gammaln(0.5 * (tail + 1.0)) - gammaln(0.5 * tail) - np.log(scale * np.sqrt(tail * np.pi))
    return count * constant - 0.5 * (tail + 1.0) * np.sum(np.log1p(standard**2 / tail), axis=-1)


def log_joint(likelihood, residual, standard):
    """Log density of the residuals of one site and of its standardised log scale."""
    scale = likelihood.scale_median * np.exp(likelihood.scale_spread * standard)
    return log_error(likelihood, residual, scale) - 0.5 * standard**2 - 0.5 * np.log(2.0 * np.pi)


def peak(function):
    """Where a function of one peak has it, and the pieces about it that together span all that matters."""
    coarse = np.arange(-45.0, 45.0, 0.5)
    about = coarse[np.argmax([function(point) for point in coarse])]
    fine = about + np.arange(-0.5, 0.51, 0.02)
    top = fine[np.argmax([function(point) for point in fine])]
    return top, top + np.array([-50.0, -15.0, -5.0, -2.0, -1.0, -0.4, 0.0, 0.4, 1.0, 2.0, 5.0, 15.0, 50.0])


@pytest.mark.parametrize("kind", RESIDUALS)
@pytest.mark.parametrize("name", LEARNT)
def test_the_scale_is_integrated_out(name, kind):
    likelihood = LIKELIHOODS[name]
    soc, observed, _, mask = profiles(kind)
    found = jax.jit(likelihood.marginal)(soc, observed, mask)
    for site, count in enumerate(COUNTS):
        carbon = np.log(observed[site, :count])
        residual = carbon - np.log(soc[site, :count])
        top, pieces = peak(lambda standard, residual=residual: log_joint(likelihood, residual, standard))
        highest = log_joint(likelihood, residual, top)
        mass = sum(
            integrate.quad(
                lambda standard, residual=residual, highest=highest: np.exp(
                    log_joint(likelihood, residual, standard) - highest
                ),
                start, end, epsabs=0.0, epsrel=1e-9, limit=200,
            )[0]
            for start, end in pairwise(pieces)
        )  # fmt: skip
        assert float(found[site]) == pytest.approx(highest + np.log(mass) - carbon.sum(), abs=1e-6), count


@pytest.mark.parametrize("kind", ["as expected", "far off"])
@TABLE
def test_the_marginal_is_differentiable(name, kind):
    likelihood = LIKELIHOODS[name]
    soc, observed, depth, mask = profiles(kind)
    weights = likelihood.weights(observed, depth, mask)

    def total(log_soc):
        return likelihood.marginal(jnp.exp(log_soc), observed, mask, weights).sum()

    check_grads(jax.jit(total), (jnp.log(soc),), order=1, modes=("rev",), rtol=1e-4)


@pytest.mark.parametrize("kind", ["as expected", "met exactly", "one outlier"])
@pytest.mark.parametrize("name", ["student_t", "log_normal"])
def test_scales_are_drawn_from_their_conditional(name, kind):
    likelihood, draws = LIKELIHOODS[name], 2000
    soc, observed, _, mask = profiles(kind)
    keys = jax.random.split(jax.random.key(1), draws)
    drawing = jax.jit(jax.vmap(lambda key: likelihood.draw_scale(key, soc, observed, mask)))
    scale = np.asarray(drawing(keys))
    drawn = np.log(scale / likelihood.scale_median) / likelihood.scale_spread
    for site, count in enumerate(COUNTS):
        residual = np.log(observed[site, :count]) - np.log(soc[site, :count])
        grid = np.linspace(drawn[:, site].min() - 3.0, drawn[:, site].max() + 3.0, 4001)
        log_density = np.array([log_joint(likelihood, residual, standard) for standard in grid])
        below = integrate.cumulative_trapezoid(np.exp(log_density - log_density.max()), grid, initial=0.0)
        cumulative = stats.kstest(drawn[:, site], lambda at: np.interp(at, grid, below / below[-1]))  # noqa: B023
        assert cumulative.pvalue > 1e-3, count


def joint(likelihood, arguments):
    """The sites that a likelihood samples, with its scale one per site."""

    def model():
        import numpyro

        soc, observed, depth, mask = arguments
        weights = None if observed is None else likelihood.weights(observed, depth, mask)
        with numpyro.plate("sites", len(soc), dim=-1):
            scale = likelihood.scale()
        likelihood(soc, scale, observed, mask, weights)

    return model


@TABLE
def test_only_a_learnt_scale_is_a_site(name):
    sites = trace(seed(joint(LIKELIHOODS[name], profiles()), 0)).get_trace()
    sampled = {key for key, site in sites.items() if site["type"] == "sample"}
    assert sampled == ({"soc", "soc_scale"} if name in LEARNT else {"soc"})
    if name not in LEARNT:
        assert LIKELIHOODS[name].draw_scale(jax.random.key(0), *[None] * 4) is None


@TABLE
def test_predicted_carbon_is_positive_and_scatters_about_the_modelled(name):
    soc, _, depth, mask = profiles()
    drawn = Predictive(joint(LIKELIHOODS[name], (soc, None, depth, mask)), num_samples=1000)(jax.random.key(0))["soc"]
    assert (drawn > 0.0).all()
    median = np.median(np.log(drawn / soc), axis=0)
    # a truncated Gaussian of 60 % has its median 3.5 % above the mode; the rest is Monte Carlo error
    np.testing.assert_allclose(median, 0.0, atol=0.04 + 4.0 * 1.25 * 0.6 / np.sqrt(1000))


@TABLE
def test_the_predictive_density_is_that_of_what_is_predicted(name):
    """Its integral up to a value is the share of predictions below it."""
    likelihood = LIKELIHOODS[name]
    soc, scale = jnp.array([[1e4]]), jnp.array([0.3])

    compiled = jax.jit(lambda observed: jnp.exp(likelihood.log_density(soc, scale, observed)))

    def density(observed):
        return float(compiled(np.array([[observed]]))[0, 0])

    def sites():
        likelihood(jnp.full((1, 20_000), soc[0, 0]), scale, None, jnp.ones((1, 20_000), bool))

    predicted = np.asarray(Predictive(sites, num_samples=1)(jax.random.key(0))["soc"]).ravel()
    for bound in (5e3, 1e4, 2e4):
        below, _ = integrate.quad(density, 0.0, bound, points=[1e4], limit=200)
        error = np.sqrt(below * (1.0 - below) / predicted.size)
        assert np.mean(predicted < bound) == pytest.approx(below, abs=4.0 * error + 1e-6)


@TABLE
def test_padding_does_not_count(name):
    likelihood = LIKELIHOODS[name]
    soc, observed, depth, mask = profiles()
    weights = likelihood.weights(observed, depth, mask)
    others = jnp.where(mask, soc, 3.0), jnp.where(mask, observed, 50.0), jnp.where(mask, depth, 9.0)
    again = likelihood.weights(others[1], others[2], mask)
    np.testing.assert_array_equal(
        likelihood.marginal(soc, observed, mask, weights), likelihood.marginal(others[0], others[1], mask, again)
    )


# ProdaLikelihood


def test_weights_follow_the_ranks():
    # mean carbon 4, mean depth 3: distances 6, 2, 3, 1 and 3, 2, 1, 4, so the mean ranks are 1.5, 3, 3, 2.5
    observed, depth = jnp.array([[10.0, 2.0, 1.0, 3.0]]), jnp.array([[0.0, 1.0, 4.0, 7.0]])
    weights = ProdaLikelihood().weights(observed, depth, jnp.ones((1, 4), bool))
    mean_rank = np.array([[1.5, 3.0, 3.0, 2.5]])
    np.testing.assert_allclose(weights, np.maximum(1.0, 10.0 * np.exp(1.0 - mean_rank)))


def test_weights_are_at_least_one_and_at_most_ten():
    rng = np.random.default_rng(0)
    weights = ProdaLikelihood().weights(
        rng.lognormal(9, 1, (5, 30)), rng.uniform(0, 2, (5, 30)), np.ones((5, 30), bool)
    )
    assert weights.min() == 1.0
    assert 3.0 < weights.max() <= 10.0


@pytest.mark.parametrize("pair", [(8000.0, 3000.0), (0.3, 0.1), (1 / 3, 1 / 7)])
def test_two_observations_are_equally_far_from_their_mean(pair):
    weights = ProdaLikelihood().weights(jnp.array([pair]), jnp.array([[0.1, 0.7]]), jnp.ones((1, 2), bool))
    np.testing.assert_allclose(weights, 10.0 * np.exp(-0.5))


def test_proda_likelihood_is_its_cost():
    likelihood = ProdaLikelihood()
    soc, observed, depth, mask = profiles()
    weights = likelihood.weights(observed, depth, mask)

    def cost(modelled):
        terms = weights * (modelled - observed) ** 2 / (2.0 * (0.6 * observed) ** 2)
        return jnp.sum(jnp.where(mask, terms, 0.0), axis=1)

    def fit(modelled):
        return likelihood.marginal(modelled, observed, mask, weights)

    np.testing.assert_allclose(fit(soc) - fit(2.0 * soc), cost(2.0 * soc) - cost(soc), rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: StudentTLogSOC(degrees_of_freedom=0.0), "student_t degrees_of_freedom"),
        (lambda: StudentTLogSOC(scale_median=0.0), "student_t scale_median"),
        (lambda: LogNormalSOC(scale_spread=-1.0), "log_normal scale_spread"),
        (lambda: ProdaLikelihood(relative_error=0.0), "proda relative_error"),
    ],
)
def test_impossible_options_are_refused(make, field):
    with pytest.raises(InputError, match=field):
        make()
