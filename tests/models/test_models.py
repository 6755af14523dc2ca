"""What every model promises, through one table."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.handlers import seed, trace
from numpyro.infer import Predictive
from numpyro.infer.util import log_density
from scipy import stats

from binn_prob.clm5 import LAYERS, NAMES, PROCESS_NAMES, Forcing, at_depth, soil_organic_carbon, steady_state
from binn_prob.clm5.parameters import ranges
from binn_prob.errors import InputError
from binn_prob.models import (
    BINN,
    MODELS,
    LogNormalSOC,
    NeuralPrior,
    ProdaLikelihood,
    SiteModel,
    StudentTLogSOC,
    at_defaults,
)

CASES = {
    "binn": BINN(),
    "binn, wide": BINN(hidden=(8, 8), activation="gelu"),
    "binn, linear": BINN(hidden=(), likelihood=LogNormalSOC()),
    "binn, published column": BINN(hidden=(4,), column="published", ranges="proda", likelihood=ProdaLikelihood()),
    "neural_prior": NeuralPrior(),
    "neural_prior, four free": NeuralPrior(fixed=at_defaults(("efolding", "tau4s3", "fs1s3", "w-scaling"))),
    "site": SiteModel(),
    "site, heavy tails": SiteModel(likelihood=StudentTLogSOC(degrees_of_freedom=1.5)),
    "site, as in PRODA": SiteModel(ranges="proda", likelihood=ProdaLikelihood()),
}


SELDOM = {"binn, wide", "neural_prior, four free", "site, heavy tails"}
"""What differs from another case in a number alone."""


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.long if name in SELDOM else ()) for name in CASES], scope="module"
)
def model(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def profiles(model, sites):
    return model.prepare(sites, model.encode(sites))


@pytest.fixture(scope="module")
def drawn(model, profiles):
    """Draws from the prior."""
    predict = jax.jit(Predictive(model, num_samples=200))  # a program, where NumPyro runs the model step by step
    return jax.device_get(predict(jax.random.key(0), profiles.without_observations()))


def test_every_model_defines_the_same_sites(model, drawn, sites):
    count, observations = sites.sizes["site"], sites.sizes["observation"]
    expected = {
        "parameters": (200, count, len(NAMES)),
        "soc_layer": (200, count, LAYERS),
        "processes": (200, count, len(PROCESS_NAMES)),
        "soc_at_depth": (200, count, observations),
        "soc": (200, count, observations),
    }
    assert {name: drawn[name].shape for name in expected} == expected
    learnt = not isinstance(model.likelihood, ProdaLikelihood)
    assert ("soc_scale" in drawn) == learnt


def test_latents_of_the_sites_have_a_row_each(model, drawn, sites):
    latents = {"weights", "offsets", "soc_scale"} & set(drawn)
    rows = {name for name in latents if drawn[name].shape[1:2] == (sites.sizes["site"],)}
    assert rows == set(model.site_latents) & latents


def test_parameters_of_the_prior_fill_their_ranges(model, drawn):
    low, high = ranges(model.ranges).T
    free = np.isin(NAMES, model.free)
    unit = ((drawn["parameters"] - low) / (high - low))[..., free]
    assert unit.min() > 0.0
    assert unit.max() < 1.0
    # a uniform prior has mean 1/2 and standard deviation 0.29
    np.testing.assert_allclose(unit.mean(axis=(0, 1)), 0.5, atol=0.1)
    assert (unit.std(axis=(0, 1)) > 0.2).all()


def test_carbon_is_that_of_the_solver(model, drawn, sites):
    forcing = Forcing.from_dataset(sites)
    soc = soil_organic_carbon(steady_state(drawn["parameters"][0], forcing, model.column))
    np.testing.assert_allclose(drawn["soc_layer"][0], soc, rtol=1e-10)
    bedrock = forcing.bedrock_layer if model.column == "closed" else None
    mask = np.isfinite(sites["depth"].to_numpy())
    expected = np.asarray(at_depth(soc, jnp.asarray(sites["depth"].to_numpy()), bedrock))
    np.testing.assert_allclose(drawn["soc_at_depth"][0][mask], expected[mask], rtol=1e-10)


def test_predicted_observations_scatter_about_the_modelled_carbon(drawn, sites):
    mask = np.isfinite(sites["depth"].to_numpy())
    residual = (np.log(drawn["soc"]) - np.log(drawn["soc_at_depth"]))[:, mask]
    assert abs(np.median(residual)) < 0.05
    assert 0.2 < np.median(np.abs(residual)) < 0.6  # 0.74 × 0.4, times the spread of the scale's prior


@cache
def density(model):
    """Program for the log density and its gradient, of latent sites and profiles."""
    return jax.jit(jax.value_and_grad(lambda latents, profiles: log_density(model, (profiles,), {}, latents)[0]))


def latents_of(drawn):
    """The first draw of the latent sites."""
    return {name: drawn[name][0] for name in ("weights", "offsets", "soc_scale") if name in drawn}


def test_log_density_and_its_gradient_are_finite_and_ignore_the_padding(model, profiles, drawn):
    value, gradient = density(model)(latents_of(drawn), profiles)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    padded = jnp.where(profiles.mask, profiles.soc, 123.0)
    changed = type(profiles)(
        **{**vars(profiles), "soc": padded, "depth": jnp.where(profiles.mask, profiles.depth, 2.0)}
    )
    assert density(model)(latents_of(drawn), changed)[0] == pytest.approx(float(value), rel=1e-12)


def test_observations_inform_the_density(model, profiles, drawn):
    value, _ = density(model)(latents_of(drawn), profiles)
    doubled = type(profiles)(**{**vars(profiles), "soc": 2.0 * profiles.soc})
    assert density(model)(latents_of(drawn), doubled)[0] != pytest.approx(float(value))


@pytest.mark.parametrize("likelihood", [StudentTLogSOC(), pytest.param(ProdaLikelihood(), marks=pytest.mark.slow)])
def test_sites_of_the_site_model_are_independent(likelihood, sites):
    model = SiteModel(likelihood=likelihood)
    all_sites, few = model.prepare(sites), model.prepare(sites.isel(site=slice(0, 3)))
    traced = trace(seed(model.prior, 0)).get_trace(all_sites)
    latents = latents_of({name: [site["value"]] for name, site in traced.items()})
    _, whole = density(model)(latents, all_sites)
    _, parts = density(model)(jax.tree.map(lambda values: values[:3], latents), few)
    for name, part in parts.items():
        np.testing.assert_allclose(whole[name][:3], part, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("model", [BINN(), pytest.param(NeuralPrior(), marks=pytest.mark.slow)])
def test_dropout_in_the_model_draws_another_network_each_time(model, sites):
    profiles = model.prepare(sites, model.encode(sites))
    latent = trace(seed(model.prior, 0)).get_trace(profiles)
    names = ("weights", *model.site_latents, "soc_scale")
    fixed = {name: jnp.stack([latent[name]["value"]] * 8) for name in names}
    predict = jax.jit(Predictive(model, fixed), static_argnames="dropout_rate")
    on = predict(jax.random.key(0), profiles, dropout_rate=0.5)["parameters"]
    off = predict(jax.random.key(0), profiles)["parameters"]
    assert (np.std(on, axis=0) > 0.0).mean() > 0.9
    np.testing.assert_array_equal(np.ptp(off, axis=0), 0.0)


def logits_of_the_prior(model, profiles, draws):
    """Logits (draw, site, parameter) of parameters drawn from the prior."""
    run = jax.jit(jax.vmap(lambda key: trace(seed(model, key)).get_trace(profiles)["parameters"]["value"]))
    low, high = ranges(model.ranges).T
    unit = (np.asarray(run(jax.random.split(jax.random.key(0), draws))) - low) / (high - low)
    return np.log(unit / (1.0 - unit))


def test_the_prior_of_the_neural_prior_is_close_to_uniform(sites):
    model = NeuralPrior()
    profiles = model.prepare(sites.isel(site=[0]), model.encode(sites))
    logits = logits_of_the_prior(model, profiles, 2000)[:, 0]
    # the Kolmogorov distance of n uniform draws is below 1.95 / √n in all but one of a thousand cases
    assert all(stats.kstest(column, "logistic").statistic < 0.02 + 1.95 / np.sqrt(2000) for column in logits.T)


def test_sites_of_the_neural_prior_share_a_prior_but_not_their_parameters(sites):
    model = NeuralPrior()
    twins = sites.isel(site=[0, 0]).assign_coords(site=[0, 1])
    logits = logits_of_the_prior(model, model.prepare(twins, model.encode(sites)), 1000)
    correlation = [np.corrcoef(logits[:, 0, place], logits[:, 1, place])[0, 1] for place in range(len(NAMES))]
    # the share of the variance that the covariates explain: 1.4² of 1.7²
    assert np.mean(correlation) == pytest.approx(0.68, abs=0.05)


def test_models_have_their_words():
    assert {word: made().name for word, made in MODELS.items()} == {word: word for word in MODELS}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BINN(gain=0.0), "positive"),
        (lambda: BINN(gain=float("inf")), "positive"),
        (lambda: BINN(intercept_scale=-1.0), "positive"),
        (lambda: BINN(embedding_size=-1), "embedding_size"),
        (lambda: BINN(activation="softmax"), "softmax"),
        (lambda: BINN(hidden=(4, 0)), "hidden"),
        (lambda: BINN(ranges="mine"), "ranges"),
        (lambda: NeuralPrior(site_scale_median=0.0), "site_scale_median"),
        (lambda: NeuralPrior(site_scale_spread=-1.0), "site_scale_spread"),
        (lambda: NeuralPrior(gain=0.0), "gain"),
        (lambda: SiteModel(ranges="mine"), "ranges"),
        (lambda: SiteModel(column="open"), "column"),
    ],
)
def test_impossible_options_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_taken_sites_are_prepared_as_they_would_be_alone(model, profiles, sites):
    chosen = [5, 0, 2]
    taken = profiles.take(jnp.array(chosen))
    alone = model.prepare(sites.isel(site=chosen), model.encode(sites))
    assert taken.sites == 3
    for one, other in zip(jax.tree.leaves(taken), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("column", ["closed", "published"])
def test_only_the_closed_column_ends_at_bedrock(column, sites):
    deep = sites.copy(deep=True)
    deep["depth"][0, 0] = 8.0
    deep["bedrock_layer"][0] = 10
    mask = SiteModel(column=column).prepare(deep).mask
    assert bool(mask[0, 0]) == (column == "published")
    assert bool(mask[0, 1])
