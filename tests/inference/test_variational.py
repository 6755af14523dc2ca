from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.handlers import seed, trace
from numpyro.infer.util import log_density

from binn_prob.errors import InputError
from binn_prob.inference import VI, DeepEnsemble, MCDropout
from binn_prob.inference.base import prepared
from binn_prob.inference.training import of_batches
from binn_prob.models import BINN, NeuralPrior, SiteModel

pytestmark = pytest.mark.usefixtures("soil_that_costs_nothing")


def test_batches_of_sites_give_the_density_and_its_gradient_in_the_mean(split):
    _, profiles, model = prepared(BINN(hidden=()), split[0])
    shape = trace(seed(BINN(hidden=()).prior, rng_seed=0)).get_trace(profiles)["weights"]["value"].shape
    latents = {"weights": 0.3 * jax.random.normal(jax.random.key(0), shape), "soc_scale": jnp.array(0.5)}

    def density_and_gradient(model):
        value, slope = jax.value_and_grad(lambda sites: log_density(model, (profiles,), {}, sites)[0])(latents)
        return jnp.concatenate([value[None], slope["soc_scale"][None], slope["weights"]])

    batches = of_batches(model, profiles, 3)
    keys = jax.random.split(jax.random.key(1), 500)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: density_and_gradient(seed(batches, key))))(keys))
    whole = np.asarray(jax.jit(lambda: density_and_gradient(model))())
    assert drawn[:, 0].std() > 1.0  # batches differ
    error = np.abs(drawn.mean(axis=0) - whole)
    rounding = 1e-9 * np.abs(whole).max()
    assert (error < 5.0 * drawn.std(axis=0) / np.sqrt(len(keys)) + rounding).all()


@pytest.mark.slow
@pytest.mark.parametrize("made", [VI(draws=2), MCDropout(draws=2), DeepEnsemble(members=2)], ids=lambda made: made.name)
def test_a_batch_as_large_as_the_data_is_the_data(split, made):
    losses = [
        replace(made, steps=100, batch_sites=batch).fit(jax.random.key(0), BINN(hidden=(2,)), split[0], progress=False)
        for batch in (None, 8, 1000)
    ]
    for fit in losses[1:]:
        np.testing.assert_array_equal(fit.sample_stats["loss"], losses[0].sample_stats["loss"])


@pytest.mark.slow
@pytest.mark.parametrize("made", [MCDropout(draws=2), DeepEnsemble(members=2)], ids=lambda made: made.name)
def test_batches_are_another_way_to_the_same_point(split, made):
    whole, batches = (
        replace(made, steps=600, patience=None, batch_sites=batch).fit(
            jax.random.key(0), BINN(hidden=(2,)), split[0], progress=False
        )
        for batch in (None, 4)
    )
    assert batches.gradients == pytest.approx(whole.gradients * 4 / split[0].sizes["site"])
    losses = [np.asarray(fit.sample_stats["loss"]) for fit in (whole, batches)]
    assert losses[1][:100].mean() == pytest.approx(losses[0][:100].mean(), rel=0.3)  # the likelihood is scaled up
    assert losses[1][-100:].mean() < losses[0][:100].mean()


@pytest.mark.parametrize(
    ("made", "model"),
    [(VI, SiteModel()), (VI, NeuralPrior()), (MCDropout, NeuralPrior()), (DeepEnsemble, SiteModel())],
)
def test_sites_that_learn_apart_are_not_seen_in_batches(split, made, model):
    with pytest.raises(InputError, match="batch_sites 3"):
        made(batch_sites=3).fit(jax.random.key(0), model, split[0], progress=False)


def test_some_of_the_prepared_sites_are_those_sites_prepared(split):
    model = BINN()
    encoding, profiles, _ = prepared(model, split[0])
    chosen = [5, 0, 3]
    taken, expected = profiles.take(jnp.array(chosen)), model.prepare(split[0].isel(site=chosen), encoding)
    assert taken.sites == 3
    jax.tree.map(np.testing.assert_array_equal, taken, expected)
