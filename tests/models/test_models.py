"""What every model promises, through one table."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.handlers import block, seed, trace
from numpyro.infer import Predictive
from numpyro.infer.util import initialize_model

from binn_prob.clm5 import LAYERS, NAMES, PROCESS_NAMES, Forcing, at_depth, soil_organic_carbon, steady_state
from binn_prob.clm5.parameters import ranges
from binn_prob.errors import InputError
from binn_prob.models import BINN, MODELS, SiteModel, StudentTLogSOC

CASES = {
    "binn": BINN(),
    "binn, wide": BINN(hidden=(8, 8), activation="gelu"),
    "binn, linear": BINN(hidden=()),
    "binn, published column": BINN(hidden=(4,), column="published", ranges="proda"),
    "site": SiteModel(),
    "site, heavy tails": SiteModel(likelihood=StudentTLogSOC(degrees_of_freedom=1.5)),
}


@pytest.fixture(params=CASES, scope="module")
def model(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def profiles(model, sites):
    return model.prepare(sites, model.encode(sites))


@pytest.fixture(scope="module")
def drawn(model, profiles):
    """Draws from the prior."""
    return jax.device_get(Predictive(model, num_samples=200)(jax.random.key(0), profiles.without_observations()))


def test_every_model_defines_the_same_sites(drawn, sites):
    count, observations = sites.sizes["site"], sites.sizes["observation"]
    expected = {
        "parameters": (200, count, len(NAMES)),
        "soc_layer": (200, count, LAYERS),
        "processes": (200, count, len(PROCESS_NAMES)),
        "soc_at_depth": (200, count, observations),
        "soc": (200, count, observations),
    }
    assert {name: drawn[name].shape for name in expected} == expected
    assert drawn["soc_scale"].shape[0] == 200


def test_parameters_of_the_prior_fill_their_ranges(model, drawn):
    low, high = ranges(model.ranges).T
    unit = (drawn["parameters"] - low) / (high - low)
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


def potential(model, profiles, z):
    start = initialize_model(jax.random.key(0), silent(model), model_args=(profiles,))
    return start.potential_fn(z)


def silent(model):
    return block(model, hide_fn=lambda site: site["type"] == "deterministic")


def test_log_density_and_its_gradient_are_finite_and_ignore_the_padding(model, profiles):
    start = initialize_model(jax.random.key(0), silent(model), model_args=(profiles,))
    value, gradient = jax.value_and_grad(start.potential_fn)(start.param_info.z)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    padded = jnp.where(profiles.mask, profiles.soc, 123.0)
    changed = type(profiles)(
        **{**vars(profiles), "soc": padded, "depth": jnp.where(profiles.mask, profiles.depth, 2.0)}
    )
    assert potential(model, changed, start.param_info.z) == pytest.approx(float(value), rel=1e-12)


def test_observations_inform_the_density(model, profiles):
    start = initialize_model(jax.random.key(0), silent(model), model_args=(profiles,))
    value = float(start.potential_fn(start.param_info.z))
    doubled = type(profiles)(**{**vars(profiles), "soc": 2.0 * profiles.soc})
    assert potential(model, doubled, start.param_info.z) != pytest.approx(value)


def test_sites_of_the_site_model_are_independent(sites):
    model = SiteModel()
    all_sites, few = model.prepare(sites), model.prepare(sites.isel(site=slice(0, 3)))
    z = initialize_model(jax.random.key(0), silent(model), model_args=(all_sites,)).param_info.z

    def gradient(profiles, z):
        return jax.grad(lambda z: potential(model, profiles, z))(z)

    subset = jax.tree.map(lambda values: values[:3], z)
    for full, part in zip(jax.tree.leaves(gradient(all_sites, z)), jax.tree.leaves(gradient(few, subset)), strict=True):
        np.testing.assert_allclose(full[:3], part, rtol=1e-9, atol=1e-12)


def test_dropout_in_the_model_draws_another_network_each_time(sites):
    model = BINN()
    profiles = model.prepare(sites, model.encode(sites))
    weights = trace(seed(model, 0)).get_trace(profiles)["weights"]["value"]
    fixed = {"weights": jnp.stack([weights] * 8), "soc_scale": jnp.full(8, 0.3)}
    on = Predictive(model, fixed)(jax.random.key(0), profiles, dropout_rate=0.5)["parameters"]
    off = Predictive(model, fixed)(jax.random.key(0), profiles)["parameters"]
    assert (np.std(on, axis=0) > 0.0).mean() > 0.9
    np.testing.assert_array_equal(np.ptp(off, axis=0), 0.0)


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
        (lambda: SiteModel(ranges="mine"), "ranges"),
        (lambda: SiteModel(column="open"), "column"),
        (lambda: StudentTLogSOC(scale_median=0.0), "positive"),
        (lambda: StudentTLogSOC(degrees_of_freedom=-1), "positive"),
    ],
)
def test_impossible_options_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize("column", ["closed", "published"])
def test_only_the_closed_column_ends_at_bedrock(column, sites):
    deep = sites.copy(deep=True)
    deep["depth"][0, 0] = 8.0
    deep["bedrock_layer"][0] = 10
    mask = SiteModel(column=column).prepare(deep).mask
    assert bool(mask[0, 0]) == (column == "published")
    assert bool(mask[0, 1])
