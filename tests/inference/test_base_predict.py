"""Which sites a fit can predict, and with which draws: fits whose draws are made up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import numpy as np
import pytest
import xarray as xr
from numpyro.infer import Predictive
from scipy import stats

from binn_prob.clm5 import NAMES
from binn_prob.clm5.parameters import ranges
from binn_prob.errors import InputError
from binn_prob.inference import base
from binn_prob.inference.base import Fit
from binn_prob.models import BINN, NeuralPrior, ProdaLikelihood, SiteModel, at_defaults
from binn_prob.results import convergence

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("soil_that_costs_nothing")]

FIXED = at_defaults(("efolding", "q10"))
MODELS = {
    "binn": BINN(hidden=(3,), fixed=FIXED),
    "neural_prior": NeuralPrior(hidden=(3,), fixed=FIXED),
    "site": SiteModel(fixed=FIXED),
    "neural_prior, proda": NeuralPrior(hidden=(3,), fixed=FIXED, likelihood=ProdaLikelihood()),
    "site, proda": SiteModel(fixed=FIXED, likelihood=ProdaLikelihood()),
}
ROWS = [pytest.param(name, marks=pytest.mark.long if name == "neural_prior, proda" else ()) for name in MODELS]
TABLE = pytest.mark.parametrize("name", ROWS)


@dataclass(frozen=True)
class FromThePrior:
    name: ClassVar[str] = "from the prior"


@pytest.fixture(scope="module")
def fits(split):
    """A fit of every model whose draws are its prior's."""
    made: dict[tuple[str, int], Fit] = {}

    def get(name: str, draws: int = 3) -> Fit:
        if (name, draws) not in made:
            model, train = MODELS[name], split[0]
            encoding = model.encode(train)
            profiles = model.prepare(train, encoding).without_observations()
            drawn = jax.jit(Predictive(model, num_samples=2 * draws, batch_ndims=1))(jax.random.key(0), profiles)
            latent = {site: drawn[site].reshape(2, draws, *drawn[site].shape[1:]) for site in drawn if site in LATENTS}
            made[name, draws] = Fit(FromThePrior(), model, train, encoding, latent, jax.random.key(1), 0.0)
        return made[name, draws]

    return get


@pytest.mark.parametrize("name", ["binn", "site"])
def test_many_sites_are_judged_in_parts(name, fits, monkeypatch):
    """As all at once: chains of a network by their worst quantity anywhere, those of single sites one by one."""
    draws = 10
    made = replace(fits(name, draws), markov_chain=True)
    number = made.dataset.sizes["site"]
    if name == "site":
        made = replace(made, sample_stats={"diverging": np.arange(2 * draws * number).reshape(2, draws, -1) % 7 == 0})
    whole = convergence.verdict(made.posterior())
    assert len(whole.reasons) >= 3
    assert any("divergent" in one for one in whole.reasons) == (name == "site")
    monkeypatch.setattr(base, "_JUDGED_AT_ONCE", 3 * 2 * draws)
    assert number % 3
    assert made.verdict == whole


LATENTS = ("weights", "offsets", "soc_scale")


@TABLE
@pytest.mark.parametrize("chosen", [[2, 0, 5], list(range(8))[::-1]])
def test_fitted_sites_keep_their_draws_in_any_order(name, chosen, fits, split):
    fit = fits(name)
    whole, part = fit.posterior(), fit.predict(split[0].isel(site=chosen))
    names = {str(variable) for variable in part["posterior"].data_vars}
    assert ("soc_scale" in names) == ("proda" not in name)
    for variable in names:
        expected = whole["posterior"][variable]
        expected = expected.isel(site=chosen) if "site" in expected.dims else expected
        np.testing.assert_allclose(part["posterior"][variable], expected, rtol=1e-9)


@pytest.mark.parametrize("name", [row for row in ROWS if "site" not in row.values[0]])
def test_new_sites_share_the_network_but_have_latents_of_their_own(name, fits, split):
    fit = fits(name)
    new = split[1].isel(site=[0])
    first = fit.predict(new)["posterior/parameters"]
    again = fit.predict(new, key=jax.random.key(7))["posterior/parameters"]
    free = np.isin(first["parameter"], fit.model.free)
    if fit.model.site_latents:  # another key draws others from their prior
        assert not np.isclose(first, again)[..., free].any()
    else:
        np.testing.assert_array_equal(first, again)


def test_latents_of_new_sites_have_the_spread_of_their_prior(split):
    model, train = NeuralPrior(hidden=(3,), fixed=FIXED), split[0]
    encoding = model.encode(train)
    weights = Predictive(model.prior, num_samples=1)(jax.random.key(0), model.prepare(train, encoding))["weights"]
    draws = {
        "weights": np.broadcast_to(weights, (1, 300, weights.shape[-1])),
        "offsets": np.zeros((1, 300, train.sizes["site"], 2)),
        "soc_scale": np.full((1, 300), 0.4),
    }
    fit = Fit(FromThePrior(), model, train, encoding, draws, jax.random.key(1), 0.0)
    assert np.ptp(fit.posterior()["posterior/parameters"].values, axis=1).max() == 0.0
    low, high = ranges()[NAMES.index("q10")]
    unit = (fit.predict(split[1])["posterior/parameters"].sel(parameter="q10").values[0] - low) / (high - low)
    logits = np.log(unit / (1.0 - unit))
    # location and scale are those of one network, so that at each site the logits are Gaussian
    standard = (logits - logits.mean(axis=0)) / logits.std(axis=0)
    assert all(stats.kstest(column, "norm").pvalue > 1e-3 for column in standard.T)
    assert (logits.std(axis=0) > 0.1).all()


@pytest.mark.parametrize("name", ["neural_prior", "neural_prior, proda"])
def test_a_mixture_of_fitted_and_new_sites_is_refused(name, fits, split):
    mixture = xr.concat([split[0].isel(site=[0, 1]), split[1].isel(site=[0])], dim="site", data_vars="minimal")
    with pytest.raises(InputError, match=r"2 sites that were fitted among 3.*predict them apart"):
        fits(name).predict(mixture)
    assert fits("binn").predict(mixture)["posterior"].sizes["site"] == 3


@pytest.mark.parametrize("name", ["site", "site, proda"])
def test_independent_sites_say_nothing_about_others(name, fits, split):
    mixture = xr.concat([split[0].isel(site=[0]), split[1]], dim="site", data_vars="minimal")
    for dataset in (split[1], mixture):
        with pytest.raises(InputError, match="not fitted to"):
            fits(name).predict(dataset)


@TABLE
def test_the_log_likelihood_is_that_of_the_observations_given_each_draw(name, fits, split):
    fit = fits(name)
    tree = fit.posterior()
    posterior, likely = tree["posterior"].to_dataset(), tree["log_likelihood/soc"]
    assert likely.dims == ("chain", "draw", "site", "observation")
    observed = tree["observed_data/soc"]
    np.testing.assert_array_equal(likely[0, 0].notnull(), observed.notnull())
    held = xr.broadcast(likely, observed, posterior["soc_at_depth"], posterior.get("soc_scale", xr.DataArray(0.6)))
    _, observed, soc, scale = (values.transpose(*likely.dims).to_numpy() for values in held)
    if "proda" in name:
        expected = stats.truncnorm.logpdf(observed, -1.0 / scale, np.inf, soc, scale * soc)
    else:
        expected = stats.t.logpdf(np.log(observed / soc) / scale, 4.0) - np.log(scale * observed)
    np.testing.assert_allclose(likely, expected, rtol=1e-9)
