"""Simulated observations: drawn from the model, at the depths of the sites, with the truth beside them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import binn_prob as bp
from binn_prob.clm5.parameters import NAMES, unit

SITES = 40


@pytest.fixture(scope="module")
def sites() -> xr.Dataset:
    return bp.data.load("synthetic", sites=SITES, seed=3)


@pytest.fixture(scope="module")
def exact(sites: xr.Dataset) -> xr.Dataset:
    return bp.simulate("site", sites, seed=1, noise=0.0)


def test_the_truth_explains_what_is_observed(exact: xr.Dataset) -> None:
    forcing = bp.clm5.Forcing.from_dataset(exact)
    parameters = exact["true_parameters"].to_numpy()
    pools = bp.clm5.steady_state(parameters, forcing)
    soc = bp.clm5.at_depth(bp.clm5.soil_organic_carbon(pools), exact["depth"].to_numpy(), forcing.bedrock_layer)
    observed = exact["soc"].notnull().to_numpy()
    np.testing.assert_allclose(exact["soc"].to_numpy()[observed], np.asarray(soc)[observed], rtol=1e-12)
    np.testing.assert_allclose(exact["true_processes"], bp.clm5.processes(parameters, forcing), rtol=1e-9)
    np.testing.assert_allclose(exact["true_soc_layer"], bp.clm5.soil_organic_carbon(pools), rtol=1e-9)


def test_parameters_are_draws_from_the_prior(exact: xr.Dataset) -> None:
    drawn = np.asarray(unit(exact["true_parameters"].to_numpy(), "binn"))
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-3


def test_noise_is_as_asked_for(sites: xr.Dataset, exact: xr.Dataset) -> None:
    noisy = bp.simulate("site", sites, seed=1, noise=0.2)
    np.testing.assert_array_equal(noisy["true_parameters"], exact["true_parameters"])
    errors = np.log(noisy["soc"] / exact["soc"]).to_numpy()
    errors = errors[np.isfinite(errors)]
    low, high = np.sqrt(stats.chi2.ppf([5e-4, 1 - 5e-4], len(errors)) / len(errors))
    assert low < np.sqrt(np.mean(errors**2)) / 0.2 < high


def test_covariates_are_encoded_like_those_that_are_learnt_from(sites: xr.Dataset) -> None:
    few = sites.isel(site=slice(0, 10))
    alone, among, other = (
        bp.simulate("binn", given, seed=1, noise=0.0, like=like)["true_parameters"][:10]
        for given, like in ((few, None), (sites, few), (sites, None))
    )
    np.testing.assert_allclose(among, alone, rtol=1e-12)
    assert not np.allclose(other, alone, rtol=1e-3)


def test_sites_and_depths_are_kept_and_the_rest_is_said(sites: xr.Dataset, exact: xr.Dataset) -> None:
    observed = exact["soc"].notnull()
    np.testing.assert_array_equal(exact["depth"].where(observed), sites["depth"].where(observed))
    assert int(sites["soc"].count() - observed.sum()) == sum(json.loads(exact.attrs["exclusions"]).values())
    for name in ("soil_temperature", "continuous", "bedrock_layer"):
        xr.testing.assert_identical(exact[name].variable, sites[name].variable)
    assert (exact.attrs["name"], list(exact["parameter"].values)) == ("simulated-synthetic", list(NAMES))
    assert "noise 0, seed 1" in exact.attrs["source"]


def test_with_a_network_sites_of_one_place_have_one_truth(sites: xr.Dataset) -> None:
    truth = bp.simulate(bp.models.BINN(hidden=(4,)), sites)["true_parameters"].to_numpy()
    places = np.unique(sites["continuous"].to_numpy(), axis=0, return_inverse=True)[1].ravel()
    assert len(np.unique(places)) < SITES
    for place in np.unique(places):
        np.testing.assert_array_equal(*np.broadcast_arrays(truth[places == place], truth[places == place][:1]))
    assert len(np.unique(truth[:, 0])) == len(np.unique(places))


def test_parameters_that_are_fixed_are_so(sites: xr.Dataset) -> None:
    truth = bp.simulate(bp.models.SiteModel(fixed={"q10": 2.0}), sites)["true_parameters"]
    np.testing.assert_allclose(truth.sel(parameter="q10"), 2.0)


def test_the_seed_determines_everything(sites: xr.Dataset, exact: xr.Dataset) -> None:
    xr.testing.assert_identical(bp.simulate("site", sites, seed=1, noise=0.0), exact)
    other = bp.simulate("site", sites, seed=2, noise=0.0)
    assert not np.allclose(other["true_parameters"], exact["true_parameters"])


def test_what_cannot_be_simulated_is_refused(sites: xr.Dataset) -> None:
    with pytest.raises(bp.InputError, match="noise -1"):
        bp.simulate("site", sites, noise=-1)
    with pytest.raises(bp.InputError, match="unknown model"):
        bp.simulate("forest", sites)
    nothing = sites.assign(soc=sites["soc"] * np.nan, depth=sites["depth"] * np.nan)
    with pytest.raises(bp.InputError, match="sites without observations"):
        bp.simulate("site", nothing)
