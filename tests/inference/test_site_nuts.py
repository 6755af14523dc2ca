"""Every site by itself: against numerical integration, by the ranks of simulated truths, and when sites fail."""

from __future__ import annotations

import arviz_stats
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.ecdf_utils import ecdf_pit
from jax.scipy.special import ndtr, ndtri
from numpyro.infer import Predictive

import binn_prob as bp
from binn_prob.inference import SiteNUTS
from binn_prob.models import SiteModel, at_defaults

FREE = ("efolding", "tau4s3", "w-scaling")
THREE = SiteModel(fixed=at_defaults(FREE))


@pytest.fixture(scope="module")
def sites():
    """With as many observations that all of them are one program."""
    return bp.data.load("synthetic", sites=6, seed=4).isel(observation=slice(8))


@pytest.fixture(scope="module")
def fit(sites):
    """Six sites in three parameters, and what each round said."""
    return SiteNUTS().fit(jax.random.key(0), THREE, sites, progress=False)


def on_a_grid(model, dataset, points):
    """The middles of equal cells of the prior and their weights: unit parameters (cell, free), weights (cell, site)."""
    profiles = model.prepare(dataset)
    middles = (np.arange(points) + 0.5) / points
    units = np.stack(np.meshgrid(*[middles] * len(model.free), indexing="ij"), axis=-1).reshape(-1, len(model.free))

    @jax.jit
    def log_likelihood(unit):
        offsets = jnp.broadcast_to(ndtri(unit), (dataset.sizes["site"], len(model.free)))
        return model.marginal_log_density(offsets, profiles) + 0.5 * jnp.sum(offsets**2, axis=-1)

    logarithms = np.asarray(jax.lax.map(log_likelihood, jnp.asarray(units), batch_size=100))
    weights = np.exp(logarithms - logarithms.max(axis=0))
    return units, weights / weights.sum(axis=0)


@pytest.mark.slow
def test_means_and_spreads_are_those_of_numerical_integration(fit, sites):
    units, weights = on_a_grid(THREE, sites, points=24)
    sampled = np.asarray(ndtr(fit.draws["offsets"]))
    for site in range(sites.sizes["site"]):
        for parameter, name in enumerate(FREE):
            values, weight = units[:, parameter], weights[:, site]
            mean = np.sum(weight * values)
            deviation = np.sqrt(np.sum(weight * (values - mean) ** 2))
            assert deviation > 1.5 / 24, (site, name)  # else the cells are too wide for it
            drawn = sampled[:, :, site, parameter]
            for moment, found, wanted in (("mean", drawn.mean(), mean), ("sd", drawn.std(), deviation)):
                error = np.hypot(arviz_stats.mcse(drawn, method=moment), 1.0 / 24**2)  # cells: of second order
                assert abs(found - wanted) < 5.0 * error, (site, name, moment)


@pytest.mark.long
def test_the_error_scale_is_drawn_from_its_posterior(fit, sites):
    """Its mean is that of importance sampling in which it is sampled with the rest."""
    profiles = THREE.prepare(sites)
    draws, number = 100_000, sites.sizes["site"]
    offsets = jax.random.normal(jax.random.key(2), (draws, number, len(FREE)))
    standard = jax.random.normal(jax.random.key(3), (draws, number))
    logarithm = jnp.log(THREE.likelihood.scale_median) + THREE.likelihood.scale_spread * standard

    @jax.jit
    def log_likelihood(one):
        offsets, logarithm, standard = one
        density = THREE.log_density({"offsets": offsets, "soc_scale": logarithm}, profiles)
        return density + 0.5 * jnp.sum(offsets**2, axis=-1) + 0.5 * standard**2

    logarithms = np.asarray(jax.lax.map(log_likelihood, (offsets, logarithm, standard), batch_size=100))
    weights = np.exp(logarithms - logarithms.max(axis=0))
    weights /= weights.sum(axis=0)
    scale = np.exp(np.asarray(logarithm))
    mean = np.sum(weights * scale, axis=0)
    deviation = np.sqrt(np.sum(weights * (scale - mean) ** 2, axis=0))
    for site in range(number):
        effective = 1.0 / np.sum(weights[:, site] ** 2)
        assert effective > 300.0
        drawn = fit.draws["soc_scale"][:, :, site]
        error = np.hypot(arviz_stats.mcse(drawn, method="mean"), deviation[site] / np.sqrt(effective))
        assert abs(drawn.mean() - mean[site]) < 5.0 * error


@pytest.mark.slow
def test_sites_converge_and_say_in_which_round(fit, sites):
    assert fit.verdict.converged, str(fit.verdict)
    assert not np.asarray(fit.sample_stats["diverging"]).any()
    assert fit.sample_stats["round"].shape == (sites.sizes["site"],)
    assert set(fit.sample_stats["round"]) <= {1, 2, 3, 4}


@pytest.mark.long
def test_ranks_of_simulated_truths_are_uniform():
    """Simulation-based calibration (Talts et al. 2018, arXiv 1804.06788; bands: Säilynoja et al. 2022).

    Truths drawn from the prior and profiles simulated from them: the rank of a truth among draws from its posterior is
    then uniform, for each of the parameters and the error scale.
    """
    dataset = bp.data.load("synthetic", sites=128, seed=11)
    model = SiteModel()
    profiles = model.prepare(dataset)
    simulated = Predictive(model, num_samples=1)(jax.random.key(1), profiles.without_observations())
    soc = dataset["soc"].copy(data=np.where(np.isfinite(dataset["soc"]), np.asarray(simulated["soc"][0]), np.nan))
    fit = SiteNUTS(draws=250, thinning=4).fit(jax.random.key(2), model, dataset.assign(soc=soc), progress=False)

    drawn = np.concatenate([fit.draws["offsets"], np.log(fit.draws["soc_scale"])[..., None]], axis=-1)
    truth = np.concatenate([simulated["offsets"][0], np.log(simulated["soc_scale"][0])[:, None]], axis=-1)
    ranks = (drawn < truth).mean(axis=(0, 1))  # (site, quantity)
    quantities = ranks.shape[1]
    outside = []
    for quantity in range(quantities):
        _, found, low, high = ecdf_pit(
            ranks[:, quantity], ci_prob=1.0 - 0.01 / quantities, n_simulations=20_000, rng=np.random.default_rng(0)
        )
        if ((found < low) | (found > high)).any():
            outside.append((*model.free, "soc_scale")[quantity])
    assert not outside
