"""Recalibration, on predictions that are too narrow or too wide by a known factor."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from binn_prob.errors import InputError
from binn_prob.results import recalibration, skill
from binn_prob.results.calibration import LEVELS


@pytest.fixture
def gaussian(tree_of):
    """Make a tree whose log observations are N(10, 0.5) and whose log predictions N(10, width 0.5)."""

    def make(width, sites=200, draws=1000):
        rng = np.random.default_rng(5)
        tree = tree_of(sites=sites, draws=draws)
        observed = tree.children["observed_data"]["soc"]
        observed[:] = np.where(observed.notnull(), np.exp(10 + 0.5 * rng.standard_normal(observed.shape)), np.nan)
        predicted = tree.children["posterior_predictive"]["soc"]
        noise = width * 0.5 * rng.standard_normal(predicted.shape)
        predicted[:] = np.where(predicted.notnull(), np.exp(10 + noise), np.nan)
        return tree

    return make


@pytest.mark.parametrize("width", [0.4, 1.0, 2.5])
def test_coverage_is_mended_whatever_the_width_was(width, gaussian):
    found = recalibration.recalibrated(gaussian(width))
    for way in recalibration.WAYS[1:]:
        for level in LEVELS:
            coverage = found[way][f"coverage_{level * 100:g}"]
            assert abs(coverage.value - level) < 4 * coverage.error, (way, level)
            expected = 2 * norm.ppf((1 + level) / 2) * 0.5  # the width of the truth
            assert found[way][f"width_{level * 100:g}"].value == pytest.approx(expected, rel=0.15)
    assert found["variance-scaled"]["widened"].value == pytest.approx(1 / width, rel=0.1)


def test_what_was_is_beside_it(gaussian):
    tree = gaussian(0.4)
    found, points = recalibration.recalibrated(tree)["as predicted"], skill.scores(skill.pointwise(tree))
    for level in LEVELS:
        name = f"coverage_{level * 100:g}"
        assert found[name].value == pytest.approx(points[name].value, abs=0.005)  # interpolated between draws
    assert found["width_90"].value == pytest.approx(points["width"].value, rel=1e-9)


def test_conformal_intervals_cover_at_sites_that_are_all_alike_inside(tree_of):
    """One distance for each site: pooled observations would promise more than there are sites for."""
    tree = tree_of(sites=60, draws=500)
    rng = np.random.default_rng(8)
    observed = tree.children["observed_data"]["soc"]
    shift = rng.standard_normal((60, 1))
    observed[:] = np.where(observed.notnull(), np.exp(10 + shift), np.nan)
    predicted = tree.children["posterior_predictive"]["soc"]
    predicted[:] = np.where(predicted.notnull(), np.exp(10 + 0.3 * rng.standard_normal(predicted.shape)), np.nan)
    coverage = recalibration.recalibrated(tree)["conformal"]["coverage_80"]
    assert coverage.value > 0.8 - 2 * coverage.error


def test_too_few_sites_ask_for_infinite_intervals(gaussian):
    found = recalibration.recalibrated(gaussian(1.0, sites=10), folds=2)["conformal"]
    assert found["coverage_90"].value == found["coverage_95"].value == 1.0
    assert math.isnan(found["width_90"].value)
    assert math.isfinite(found["width_50"].value)


def test_draws_that_are_no_carbon_give_no_number(gaussian):
    tree = gaussian(1.0, sites=20, draws=50)
    there = np.argwhere(tree["observed_data/soc"].notnull().to_numpy())[0]
    tree.children["posterior_predictive"]["soc"][0, 0, there[0], there[1]] = 0.0
    found = recalibration.recalibrated(tree)
    for way in ("as predicted", "variance-scaled"):
        assert math.isnan(found[way]["coverage_90"].value)


def test_sites_of_one_place_are_in_one_fold_and_count_as_one(gaussian):
    tree = gaussian(1.0, sites=12, draws=50)
    place = ("site", np.arange(12) // 3 * 1.0)
    observed = tree["observed_data"].to_dataset()
    tree["observed_data"] = xr.DataTree(observed.assign_coords(longitude=place, latitude=place))
    with pytest.raises(InputError, match="5 folds of 4 places"):
        recalibration.recalibrated(tree)
    assert recalibration.recalibrated(tree, folds=4)["conformal"]["coverage_80"].value == 1.0  # 3 places: infinite


@pytest.mark.parametrize(("sites", "folds"), [(4, 5), (4, 1)])
def test_folds_need_sites(sites, folds, gaussian):
    with pytest.raises(InputError, match=f"{folds} folds of 4 places"):
        recalibration.recalibrated(gaussian(1.0, sites=sites, draws=20), folds=folds)


def test_the_seed_determines_the_folds(gaussian):
    tree = gaussian(0.5, sites=20, draws=50)
    assert recalibration.recalibrated(tree, seed=1) == recalibration.recalibrated(tree, seed=1)
    assert recalibration.recalibrated(tree, seed=1) != recalibration.recalibrated(tree, seed=2)
