"""What every method promises on every model that it serves, through one table.  A new method is a new row."""

from __future__ import annotations

import json
from dataclasses import replace
from html import escape
from typing import NamedTuple

import jax
import numpy as np
import numpyro
import pytest

from binn_prob.clm5 import INTERFACE_DEPTH
from binn_prob.errors import InputError
from binn_prob.inference import (
    METHODS,
    NUTS,
    SGHMC,
    VI,
    DeepEnsemble,
    Fit,
    Laplace,
    MCDropout,
    ProdaMetropolis,
    SiteNUTS,
)
from binn_prob.models import BINN, NeuralPrior, SiteModel
from binn_prob.results import convergence
from binn_prob.results.posterior import LATENTS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("soil_that_costs_nothing")]


class Case(NamedTuple):
    method: object
    model: object
    chains: int
    draws: int
    statistics: frozenset[str]


TRAINED = frozenset({"loss"})
SAMPLED = frozenset({"diverging", "acceptance_rate", "n_steps", "energy", "step_size", "reached_max_treedepth"})
STIRRED = frozenset({"kinetic_temperature", "step_size"})
WALKED = frozenset({"acceptance_rate", "chains_out_of_bounds"})
ALONE = frozenset({"diverging", "acceptance_rate", "n_steps", "energy", "squared_energy_change", "step_size", "round"})
SMALL = BINN(hidden=(4,))
PRIOR = NeuralPrior(hidden=(4,))
QUICK = NUTS(chains=2, warmup=30, draws=20, max_tree_depth=4, start_steps=200)
STIR = SGHMC(chains=2, warmup=10, draws=20, thinning=5, batch_sites=4, start_steps=200)
BY_SITE = SiteNUTS(chains=2, warmup=20, draws=20, thinning=1, rounds=1)
WALK = ProdaMetropolis(chains=2, exploration=1000, iterations=2000, adapt_after=500, draws=20, reruns=0)

CASES = {
    "mc_dropout, binn": Case(MCDropout(draws=30, steps=200), SMALL, 1, 30, TRAINED),
    "vi, binn": Case(VI(draws=30, steps=200), SMALL, 1, 30, TRAINED),
    "deep_ensemble, binn": Case(DeepEnsemble(members=3, steps=200), SMALL, 1, 3, TRAINED),
    "laplace, binn": Case(Laplace(draws=30, steps=200), SMALL, 1, 30, TRAINED),
    "nuts, binn": Case(QUICK, SMALL, 2, 20, SAMPLED),
    "sghmc in batches, binn": Case(STIR, SMALL, 2, 20, STIRRED),
    "site_nuts, site": Case(BY_SITE, SiteModel(), 2, 20, ALONE),
    "proda metropolis, site": Case(WALK, SiteModel(), 1, 20, WALKED),
}
ALSO = {
    "vi, site": Case(VI(draws=30, steps=200), SiteModel(), 1, 30, TRAINED),
    "vi, neural prior": Case(VI(draws=30, steps=200), PRIOR, 1, 30, TRAINED),
    "mc_dropout, neural prior": Case(MCDropout(draws=30, steps=200), PRIOR, 1, 30, TRAINED),
    "deep_ensemble, neural prior": Case(DeepEnsemble(members=3, steps=200), PRIOR, 1, 3, TRAINED),
    "laplace, neural prior": Case(Laplace(draws=30, steps=200), PRIOR, 1, 30, TRAINED),
    "nuts, neural prior": Case(QUICK, PRIOR, 2, 20, SAMPLED),
    "sghmc, neural prior": Case(replace(STIR, batch_sites=None), PRIOR, 2, 20, STIRRED),
    "deep_ensemble, site": Case(DeepEnsemble(members=3, steps=200), SiteModel(), 1, 3, TRAINED),
    "laplace, site": Case(Laplace(draws=30, steps=200), SiteModel(), 1, 30, TRAINED),
    "nuts, site": Case(QUICK, SiteModel(), 2, 20, SAMPLED),
    "sghmc, site": Case(replace(STIR, batch_sites=None), SiteModel(), 2, 20, STIRRED),
}
"""Every other model that a method serves: of little that is new, and so only when asked for."""
CASES |= ALSO


def table(chosen=lambda case: True):
    """Run a test on the cases that are chosen."""
    names = [name for name, case in CASES.items() if chosen(case)]
    marked = [pytest.param(name, marks=pytest.mark.long if name in ALSO else ()) for name in names]
    return pytest.mark.parametrize("name", marked)


TABLE = table()


@pytest.fixture(scope="module")
def fits(split):
    """Every case fitted once, when first asked for."""
    made: dict[str, Fit] = {}

    def get(name: str) -> Fit:
        if name not in made:
            case = CASES[name]
            made[name] = case.method.fit(jax.random.key(1), case.model, split[0], progress=False)
        return made[name]

    return get


def structure(tree):
    """Names, dimensions and coordinates of a tree, without those of the draws and of what is the model's own."""
    return {
        f"{node.path}/{name}": (variable.dims[2:], sorted(map(str, variable.coords)))
        for node in tree.subtree
        for name, variable in node.data_vars.items()
        if node.name not in ("sample_stats", LATENTS) and name != "soc_scale"
    }


@TABLE
def test_draws_have_chains_and_draws_in_front(name, fits):
    case, fit = CASES[name], fits(name)
    assert {values.shape[:2] for values in fit.draws.values()} == {(case.chains, case.draws)}
    assert all(np.isfinite(values).all() for values in fit.draws.values())


@TABLE
def test_statistics_are_those_of_the_method(name, fits):
    case, fit = CASES[name], fits(name)
    assert set(fit.sample_stats) == case.statistics
    assert fit.markov_chain == (case.statistics in (SAMPLED, STIRRED, ALONE))
    assert fit.wall_seconds > 0.0


@TABLE
def test_gradients_are_counted(name, fits):
    case, fit = CASES[name], fits(name)
    assert fit.posterior().attrs["gradients"] == pytest.approx(fit.gradients, nan_ok=True)
    if case.method is WALK:
        assert np.isnan(fit.gradients)
        return
    counted = {
        MCDropout: lambda method: method.steps,
        DeepEnsemble: lambda method: method.members * method.steps,
        VI: lambda method: method.steps * method.particles,
    }
    if type(case.method) in counted and case.method.patience is None:
        assert fit.gradients == counted[type(case.method)](case.method)
    statistics = fit.posterior()["sample_stats"]
    if "n_steps" in statistics:  # of the draws, to which those of the warm-up and of the start come
        by_site = statistics["n_steps"].sum(("chain", "draw")).mean()
        assert fit.gradients > float(by_site)
    assert fit.gradients >= 20


@TABLE
def test_notebooks_show_what_was_fitted(name, fits):
    shown, fit = fits(name)._repr_html_(), fits(name)
    assert escape(str(fit.method)) in shown
    assert escape(str(fit.model)) in shown
    assert f"{fit.wall_seconds:.1f} s" in shown


@TABLE
def test_results_have_the_same_form_whatever_the_method(name, fits):
    tree, reference = fits(name).posterior(), fits("nuts, binn").posterior()
    own = fits(name).attributes.keys()
    assert structure(tree) == structure(reference)
    assert tree.attrs.keys() - own == reference.attrs.keys() - own
    assert own <= tree.attrs.keys()
    assert tree.attrs["method"] == CASES[name].method.name


@TABLE
def test_draws_differ_from_each_other(name, fits):
    parameters = fits(name).posterior()["posterior/parameters"].std(("chain", "draw"))
    assert float((parameters > 0.0).mean()) > 0.99


@TABLE
def test_predictions_repeat(name, fits):
    first, second = fits(name).posterior(), fits(name).posterior()
    for group in ("posterior", "posterior_predictive", LATENTS):
        assert first[group].to_dataset().identical(second[group].to_dataset())


@TABLE
def test_the_verdict_is_that_of_the_whole_posterior(name, fits):
    assert fits(name).verdict == convergence.verdict(fits(name).posterior())


@table(lambda case: case.model.has_network)
def test_held_out_sites_are_predicted(name, fits, split):
    tree = fits(name).tree(split[1])
    held_out = tree["held_out/posterior/parameters"]
    assert list(held_out["site"].values) == list(split[1]["site"].values)
    assert np.isfinite(held_out).all()
    observed = np.isfinite(split[1]["depth"].values)
    predicted = tree["held_out/posterior_predictive/soc"].values
    assert (predicted[..., observed] > 0.0).all()
    assert np.isnan(predicted[..., ~observed]).all()


@table(lambda case: not case.model.has_network)
def test_independent_sites_say_nothing_about_others(name, fits, split):
    with pytest.raises(InputError, match="not fitted to"):
        fits(name).predict(split[1])


@pytest.mark.parametrize("name", ["mc_dropout, binn", "vi, binn", "nuts, binn"])
def test_the_key_determines_every_number(name, fits, split):
    case = CASES[name]
    again = case.method.fit(jax.random.key(1), case.model, split[0], progress=False)
    other = case.method.fit(jax.random.key(2), case.model, split[0], progress=False)
    for site, values in fits(name).draws.items():
        np.testing.assert_array_equal(values, again.draws[site])
        assert not np.array_equal(values, other.draws[site])


@table(lambda case: case.statistics == TRAINED)
def test_training_lowers_the_loss(name, fits):
    loss = np.asarray(fits(name).sample_stats["loss"])
    assert loss[-50:].mean() < loss[:50].mean()


def test_statistics_of_sites_go_with_the_sites(fits, split):
    fit = fits("proda metropolis, site")
    whole, part = fit.posterior(), fit.predict(split[0].isel(site=[3, 1]))
    for name in WALKED:
        expected = whole[f"sample_stats/{name}"].isel(site=[3, 1])
        np.testing.assert_array_equal(part[f"sample_stats/{name}"], expected)


def test_dropout_draws_spread_with_the_rate(split):
    spread = []
    for rate in (0.05, 0.5):
        fit = MCDropout(rate=rate, draws=50, steps=100).fit(jax.random.key(0), SMALL, split[0], progress=False)
        spread.append(float(fit.posterior()["posterior/parameters"].std("draw").mean()))
        assert np.ptp(fit.draws["weights"], axis=1).max() == 0.0  # the weights are a point
    assert spread[1] > spread[0] > 0.0


@pytest.mark.parametrize("model", [SiteModel(), BINN(hidden=())])
def test_dropout_needs_hidden_units(model, split):
    with pytest.raises(InputError, match="hidden units"):
        MCDropout().fit(jax.random.key(0), model, split[0], progress=False)


def test_observations_below_bedrock_are_left_out_and_counted(fits, split):
    test = split[1].copy(deep=True)
    test["depth"][0, 0] = 8.0
    test["bedrock_layer"][0] = 10
    tree = fits("vi, binn").predict(test)
    assert np.isnan(tree["observed_data/soc"].values[0, 0])
    assert np.isnan(tree["posterior_predictive/soc"].values[..., 0, 0]).all()
    below = int((test["depth"][0] > INTERFACE_DEPTH[9]).sum())
    assert json.loads(tree["observed_data"].attrs["exclusions"]) == {"observations below bedrock": below}


def test_nuts_refuses_weights_without_a_prior(split):
    class Fixed(SiteModel):
        def __call__(self, profiles):
            numpyro.param("slope", 1.0)
            super().__call__(profiles)

    with pytest.raises(InputError, match="slope"):
        QUICK.fit(jax.random.key(0), Fixed(), split[0], progress=False)


def test_every_method_is_in_the_table():
    assert {case.method.name for case in CASES.values()} == set(METHODS)


def test_methods_have_their_words():
    assert {word: made().name for word, made in METHODS.items()} == {word: word for word in METHODS}


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: MCDropout(rate=1.0), "rate"),
        (lambda: MCDropout(rate="learnt"), "rate"),
        (lambda: MCDropout(draws=0), "draws"),
        (lambda: VI(guide="median_field"), "guide"),
        (lambda: VI(learning_rate=0.0), "learning_rate"),
        (lambda: VI(patience=0), "patience"),
        (lambda: VI(steps=1.5), "steps"),
        (lambda: VI(batch_sites=0), "batch_sites"),
        (lambda: MCDropout(batch_sites=0), "batch_sites"),
        (lambda: DeepEnsemble(members=0), "members"),
        (lambda: DeepEnsemble(batch_sites=True), "batch_sites"),
        (lambda: Laplace("first_layer"), "weights"),
        (lambda: NUTS(chains=0), "chains"),
        (lambda: NUTS(target_accept=1.5), "target_accept"),
        (lambda: NUTS(chain_method="serial"), "chain_method"),
        (lambda: NUTS(neutra="mean_field"), "neutra"),
        (lambda: SGHMC(thinning=0), "thinning"),
        (lambda: SGHMC(decay=-0.5), "decay"),
        (lambda: SGHMC(batch_sites=1.5), "batch_sites"),
        (lambda: SGHMC(friction=10.0), "friction"),
        (lambda: SGHMC(chain_method="serial"), "chain_method"),
    ],
)
def test_impossible_options_are_named(make, word):
    with pytest.raises(InputError, match=word):
        make()
