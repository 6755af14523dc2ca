"""PRODA's second stage: from posteriors of single sites, made up here, to sites never seen."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import ndtr, ndtri
from scipy.integrate import trapezoid
from scipy.stats import norm

from binn_prob import data
from binn_prob.clm5.parameters import NAMES, unit
from binn_prob.errors import InputError
from binn_prob.inference import VI, Fit, FitError, Upscaling, bootstrap
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.error_scale import error_scales
from binn_prob.models import BINN, LogNormalSOC, NeuralPrior, ProdaLikelihood, SiteModel, at_defaults

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("soil_that_costs_nothing")]

NETWORK = BINN(hidden=(8,))
METHOD = Upscaling(members=20, steps=1500)


@pytest.fixture(scope="module")
def sites():
    """Sites whose parameters are smooth functions of their covariates: to learn from, and held out."""
    return data.split(data.load("synthetic", sites=80, seed=0), test_fraction=0.25, seed=0)


def truth(dataset):
    return np.asarray(unit(dataset["true_parameters"].to_numpy()))


def first_stage(dataset, width, model=None):
    """Posteriors of the sites: Gaussians of that width about a centre that lies off the truth by as much."""
    model = SiteModel() if model is None else model
    true = ndtri(truth(dataset)[:, [NAMES.index(name) for name in model.free]])
    centre_key, draw_key = jax.random.split(jax.random.key(7))
    centre = true + width * jax.random.normal(centre_key, true.shape)
    draws = {"offsets": centre + width * jax.random.normal(draw_key, (2, 100, *true.shape))}
    if not isinstance(model.likelihood, ProdaLikelihood):
        draws["soc_scale"] = jnp.full((2, 100, len(true)), 0.2)
    return Fit(
        VI(), model, dataset, None, draws, jax.random.key(8), wall_seconds=10.0, attributes={"seed": 3, "pareto_k": 0.2}
    )


@pytest.fixture(scope="module")
def upscaled(sites):
    """Second stages, each made once, when first asked for."""
    made: dict[object, Fit] = {}

    def get(width=0.3, model=NETWORK, method=METHOD):
        if (width, model, method) not in made:
            first = first_stage(sites[0], width)
            made[width, model, method] = method.fit(jax.random.key(0), model, first, progress=False)
        return made[width, model, method]

    return get


def spread(tree):
    return float(tree["posterior/parameters"].std("draw").mean())


def predicted(fit, dataset):
    """Unit parameters (draw, site, parameter) at sites never seen."""
    return np.asarray(unit(fit.predict(dataset)["posterior/parameters"].to_numpy()))[0]


def test_parameters_at_sites_never_seen_are_recovered(upscaled, sites):
    mean, true = predicted(upscaled(), sites[1]).mean(axis=0), truth(sites[1])
    error, of_prior = (np.sqrt(((guess - true) ** 2).mean()) for guess in (mean, 0.5))
    assert error < 0.5 * of_prior
    correlation = [np.corrcoef(mean[:, place], true[:, place])[0, 1] for place in range(len(NAMES))]
    # that of pure noise at 20 sites has a standard deviation of 0.23
    assert np.mean(correlation) > 0.6
    assert np.mean(np.array(correlation) > 0.23) > 0.8


def test_processes_at_sites_never_seen_are_recovered(upscaled, sites):
    draws = {"offsets": ndtri(truth(sites[1]))[None, None], "soc_scale": jnp.ones((1, 1, sites[1].sizes["site"]))}
    exact = Fit(VI(), SiteModel(), sites[1], None, draws, jax.random.key(0), 0.0).posterior()
    true = exact["posterior/processes"].to_numpy()[0, 0]
    mean = upscaled().predict(sites[1])["posterior/processes"].to_numpy()[0].mean(axis=0)
    correlation = [np.corrcoef(mean[:, place], true[:, place])[0, 1] for place in range(true.shape[1])]
    assert min(correlation) > 0.6


@pytest.mark.parametrize("model", [NETWORK, pytest.param(NeuralPrior(hidden=(8,)), marks=pytest.mark.long)])
def test_the_uncertainty_of_the_sites_is_carried_through(model, upscaled, sites):
    narrow, wide = (spread(upscaled(width, model).predict(sites[1])) for width in (0.1, 0.9))
    assert wide > 1.5 * narrow


def test_means_leave_out_the_uncertainty_of_the_sites(upscaled, sites):
    means, draws = (
        spread(upscaled(0.9, method=replace(METHOD, target=target)).predict(sites[1])) for target in ("means", "draws")
    )
    assert means < 0.9 * draws


def test_a_network_that_gives_a_prior_leaves_fitted_sites_their_draws(upscaled, sites):
    drawn = np.asarray(unit(upscaled(0.3, NeuralPrior(hidden=(8,))).posterior()["posterior/parameters"].to_numpy()))[0]
    own = np.asarray(ndtr(first_stage(sites[0], 0.3).draws["offsets"])).reshape(200, *drawn.shape[1:])
    nearest = np.abs(drawn[:, None] - own[None]).max(axis=-1).min(axis=1)  # (member, site)
    assert nearest.max() < 1e-5


def test_a_network_that_gives_a_prior_says_how_far_sites_scatter(upscaled, sites):
    of_network, of_prior = (upscaled(0.3, model) for model in (NETWORK, NeuralPrior(hidden=(8,))))
    assert spread(of_prior.predict(sites[1])) > 1.5 * spread(of_network.predict(sites[1]))


def test_the_tree_has_the_form_of_any_other(upscaled, sites):
    fit = upscaled()
    plain = replace(fit, method=VI(), sample_stats={}, attributes={})
    tree, expected = fit.tree(sites[1]), plain.tree(sites[1])
    for node in expected.subtree:
        for name, values in node.data_vars.items():
            assert tree[f"{node.path}/{name}"].dims == values.dims
    assert tree.attrs["method"] == "upscaling"
    assert tree.attrs["seed"] == 3
    assert "pareto_k" not in tree.attrs  # of the first stage
    assert tree.attrs["first_stage_convergence"] == "converged"
    assert tree.attrs["wall_seconds"] > 10.0
    assert [list(stage) for stage in json.loads(tree.attrs["first_stage"])] == [["vi"], ["site"]]
    assert not fit.markov_chain
    assert np.isfinite(tree["held_out/posterior_predictive/soc"].to_numpy()[..., 0]).all()


def test_the_key_determines_every_number(upscaled, sites):
    first = first_stage(sites[0], 0.3)
    again, other = (METHOD.fit(jax.random.key(seed), NETWORK, first, progress=False) for seed in (0, 1))
    for name, values in upscaled().draws.items():
        np.testing.assert_array_equal(values, again.draws[name])
        assert not np.array_equal(values, other.draws[name])


def test_parameters_that_are_fixed_stay_fixed(sites):
    fixed = at_defaults(("efolding", "tau4s3", "fs1s3", "w-scaling"))
    first = first_stage(sites[0], 0.3, SiteModel(fixed=fixed, likelihood=ProdaLikelihood()))
    network = BINN(hidden=(4,), fixed=fixed, likelihood=ProdaLikelihood())
    fit = replace(METHOD, members=3, steps=100).fit(jax.random.key(0), network, first, progress=False)
    assert "soc_scale" not in fit.draws
    parameters = fit.predict(sites[1])["posterior/parameters"]
    for name, value in fixed.items():
        np.testing.assert_allclose(parameters.sel(parameter=name), value)
    assert (parameters.sel(parameter=["efolding", "tau4s3"]).std("draw") > 0.0).all()


@pytest.mark.parametrize(
    ("model", "first", "word"),
    [
        (SiteModel(), SiteModel(), "network"),
        (BINN(), BINN(), "independent"),
        (BINN(ranges="proda"), SiteModel(), "ranges"),
        (BINN(), SiteModel(fixed={"q10": 2.0}), "fixed"),
    ],
)
def test_models_that_do_not_fit_together_are_refused(model, first, word, sites):
    fit = replace(first_stage(sites[0], 0.3), model=first)
    with pytest.raises(InputError, match=word):
        METHOD.fit(jax.random.key(0), model, fit, progress=False)


@pytest.mark.parametrize("options", [{"target": "modes"}, {"members": 0}, {"steps": 0}, {"patience": 0}])
def test_impossible_options_are_named(options):
    with pytest.raises(InputError, match=next(iter(options))):
        Upscaling(**options)


@pytest.mark.parametrize("noise", [0.1, 0.6])
def test_error_scales_are_drawn_from_their_posterior(noise, sites):
    model = BINN(hidden=(), likelihood=LogNormalSOC())
    profiles = model.prepare(sites[0], model.encode(sites[0]))
    residual = noise * jax.random.normal(jax.random.key(0), profiles.soc.shape)
    counted = jnp.arange(len(profiles.soc)) < 10
    draws = 2000
    soc = jnp.broadcast_to(profiles.soc * jnp.exp(residual), (draws, *residual.shape))
    keys = jax.random.split(jax.random.key(1), draws)
    scales = np.log(error_scales(model, profiles, keys, soc, jnp.broadcast_to(counted, (draws, len(counted)))))
    errors = np.asarray(residual)[np.asarray(profiles.mask & counted[:, None])]
    grid = np.linspace(np.log(0.01), np.log(5.0), 4001)
    log_density = norm.logpdf(grid, np.log(0.4), 0.5) + norm.logpdf(errors, 0.0, np.exp(grid)[:, None]).sum(axis=1)
    density = np.exp(log_density - log_density.max())
    density /= trapezoid(density, grid)
    mean = trapezoid(grid * density, grid)
    deviation = np.sqrt(trapezoid((grid - mean) ** 2 * density, grid))
    assert scales.mean() == pytest.approx(mean, abs=4.0 * deviation / np.sqrt(draws))
    assert scales.std() == pytest.approx(deviation, rel=4.0 / np.sqrt(2 * draws))


def test_samples_are_drawn_with_replacement():
    counts = np.asarray(bootstrap.resampled(jax.random.key(0), 400, 30))
    assert (counts.sum(axis=1) == 30).all()
    # the number of times that a site is drawn is binomial with variance 1 - 1/30
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=4.0 / np.sqrt(400))
    absent = np.asarray(bootstrap.held_out(jnp.asarray(counts)))
    np.testing.assert_array_equal(absent, counts == 0)
    assert absent.mean() == pytest.approx((1.0 - 1.0 / 30.0) ** 30, abs=0.02)
    assert bootstrap.held_out(jnp.ones((1, 3), dtype=int)).all()


def squares(weights, target, inputs):
    return (inputs @ weights - target) ** 2


def regressions(**options):
    """Ten regressions on eight inputs each, of which two matter."""
    inputs = jax.random.normal(jax.random.key(0), (40, 8))
    true = jnp.array([1.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    targets = inputs @ true + 0.1 * jax.random.normal(jax.random.key(1), (10, 40))
    counts = bootstrap.resampled(jax.random.key(2), 10, 40)
    settings = {"steps": 2000, "learning_rate": 0.05, "weight_decay": 1e-6, "patience": None} | options
    starts = jnp.zeros((10, 8))
    weights, losses = bootstrap.train(
        squares, starts, targets, counts, inputs, label="test", progress=False, **settings
    )
    return inputs, targets, counts, weights, losses


def test_every_member_learns_from_its_own_sample():
    inputs, targets, counts, weights, losses = regressions()
    assert losses[-1] < 0.02 < losses[0]
    for member in range(10):
        root = np.sqrt(np.asarray(counts[member]))
        expected = np.linalg.lstsq(root[:, None] * np.asarray(inputs), root * np.asarray(targets[member]), rcond=None)
        # early stopping may end before the optimum of the sample, yet within the error of the regression
        np.testing.assert_allclose(weights[member], expected[0], atol=0.1)


def test_training_ends_when_no_member_improves():
    assert len(regressions()[4]) == 2000
    assert len(regressions(patience=1)[4]) < 2000


def test_a_diverging_regression_is_an_error_that_says_what_to_do():
    with pytest.raises(FitError, match="learning_rate"):
        regressions(learning_rate=1e200)


class KilledError(Exception):
    pass


@dataclass(frozen=True)
class Deadly(Checkpoint):
    """Dies after its third save."""

    def save(self, name, tree):
        super().save(name, tree)
        if int(tree.taken) == 300:
            raise KilledError


def test_a_killed_fit_goes_on_to_the_same_draws(sites, tmp_path):
    first = first_stage(sites[0], 0.3)
    fit = partial(replace(METHOD, steps=500).fit, jax.random.key(0), NETWORK, first, progress=False)
    with pytest.raises(KilledError):
        fit(checkpoint=Deadly(tmp_path))
    resumed, whole = fit(checkpoint=Checkpoint(tmp_path)), fit()
    for name, values in whole.draws.items():
        np.testing.assert_array_equal(resumed.draws[name], values)
