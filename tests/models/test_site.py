"""The densities by site that batched samplers use, held against NumPyro and against each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.test_util import check_grads
from numpyro.infer.util import potential_energy
from scipy import integrate

from binn_prob.models import LogNormalSOC, ProdaLikelihood, SiteModel, StudentTLogSOC, at_defaults
from binn_prob.models.density import log_densities

MODELS = {
    "student_t": SiteModel(likelihood=StudentTLogSOC()),
    "log_normal, four free": SiteModel(
        likelihood=LogNormalSOC(scale_median=0.3), fixed=at_defaults(("efolding", "tau4s3", "fs1s3", "w-scaling"))
    ),
    "proda": SiteModel(likelihood=ProdaLikelihood(), column="published"),
}


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def profiles(model, sites):
    return model.prepare(sites)


@pytest.fixture(scope="module")
def latents(model, sites):
    offset_key, scale_key = jax.random.split(jax.random.key(0))
    count = sites.sizes["site"]
    latents = {"offsets": jax.random.normal(offset_key, (count, len(model.free)))}
    if isinstance(model.likelihood, ProdaLikelihood):
        return latents
    return latents | {"soc_scale": jax.random.normal(scale_key, (count,))}


def test_densities_of_the_sites_add_up_to_that_of_the_model(model, profiles, latents):
    by_site = model.log_density(latents, profiles)
    assert by_site.shape == (len(profiles.depth),)
    assert float(by_site.sum()) == pytest.approx(-float(potential_energy(model, (profiles,), {}, latents)), rel=1e-12)


def test_the_density_of_a_site_is_its_own(model, sites, profiles, latents):
    one = model.prepare(sites.isel(site=[3]))
    alone = model.log_density({name: values[3:4] for name, values in latents.items()}, one)
    assert float(alone[0]) == pytest.approx(float(model.log_density(latents, profiles)[3]), rel=1e-10)


def test_the_marginal_density_is_the_integral_over_the_scale(model, profiles, latents):
    marginal = model.marginal_log_density(latents["offsets"], profiles)
    if "soc_scale" not in latents:
        np.testing.assert_allclose(marginal, model.log_density(latents, profiles), rtol=1e-12)
        return
    grid = np.linspace(-6.0, 4.0, 2001)
    along = jax.jit(lambda log_scale: model.log_density(latents | {"soc_scale": log_scale}, profiles))
    densities = np.array([along(jnp.full(len(marginal), log_scale)) for log_scale in grid])
    highest = densities.max(axis=0)
    integral = np.log(integrate.simpson(np.exp(densities - highest), x=grid, axis=0)) + highest
    np.testing.assert_allclose(marginal, integral, rtol=0.0, atol=1e-6)


def test_the_marginal_density_is_differentiable(model, profiles, latents):
    check_grads(
        jax.jit(lambda offsets: model.marginal_log_density(offsets, profiles).sum()), (latents["offsets"],),
        order=1, modes=("rev",), rtol=1e-4,
    )  # fmt: skip


def test_a_drawn_scale_follows_the_density(model, profiles, latents):
    keys = jax.random.split(jax.random.key(2), 500)
    offsets = latents["offsets"]
    if "soc_scale" not in latents:
        assert model.draw_scale(keys[0], offsets, profiles) is None
        return
    drawn = np.log(jax.jit(jax.vmap(lambda key: model.draw_scale(key, offsets, profiles)))(keys))
    assert drawn.shape == (500, len(offsets))
    grid = np.linspace(drawn.min() - 1.0, drawn.max() + 1.0, 401)
    along = jax.jit(lambda log_scale: model.log_density(latents | {"soc_scale": log_scale}, profiles))
    densities = np.array([along(jnp.full(len(offsets), log_scale)) for log_scale in grid])
    share = np.exp(densities - densities.max(axis=0))
    share /= share.sum(axis=0)
    mean = grid @ share
    spread = np.sqrt((grid**2) @ share - mean**2)
    assert (np.abs(drawn.mean(axis=0) - mean) < 4.0 * spread / np.sqrt(500)).all()
    np.testing.assert_allclose(drawn.std(axis=0) / spread, 1.0, atol=4.0 / np.sqrt(2 * 500) + 0.02)


def test_offsets_are_quantiles_of_a_uniform_prior(sites):
    from binn_prob.clm5.parameters import ranges

    model = SiteModel()
    latents = {"offsets": jnp.full((sites.sizes["site"], 21), 0.6744897501960817), "soc_scale": jnp.zeros(8)}
    _, trace = log_densities(model, latents, model.prepare(sites))
    low, high = ranges().T
    np.testing.assert_allclose(trace["parameters"]["value"], np.tile(low + 0.75 * (high - low), (8, 1)))


def test_densities_count_the_jacobian_and_each_site_alone():
    def model():
        with numpyro.plate("sites", 2, dim=-2), numpyro.plate("columns", 3, dim=-1):
            numpyro.sample("inner", dist.LogNormal(0.0, 1.0))

    inner = jnp.arange(6.0).reshape(2, 3)
    densities, _ = log_densities(model, {"inner": inner})
    # the log of a log-normal variable is normal
    np.testing.assert_allclose(densities["inner"], dist.Normal().log_prob(inner).sum(axis=1), rtol=1e-12)


def test_a_latent_without_a_value_is_named(sites):
    model = SiteModel()
    with pytest.raises(KeyError, match="soc_scale"):
        model.log_density({"offsets": jnp.zeros((8, 21))}, model.prepare(sites))
