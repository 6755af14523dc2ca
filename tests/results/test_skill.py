"""Skill and calibration of the whole and of classes, against closed forms and direct calculation; their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from binn_prob.results import calibration, skill


@pytest.fixture
def gaussian(tree_of):
    """Make a tree whose log observations are N(10, 0.5) and whose log predictions N(10, sd)."""

    def make(sd=0.5, draws=400, sites=120):
        rng = np.random.default_rng(5)
        tree = tree_of(sites=sites, draws=draws)
        observed = tree.children["observed_data"]["soc"]
        observed[:] = np.where(observed.notnull(), np.exp(10 + 0.5 * rng.standard_normal(observed.shape)), np.nan)
        predicted = tree.children["posterior_predictive"]["soc"]
        predicted[:] = np.where(predicted.notnull(), np.exp(10 + sd * rng.standard_normal(predicted.shape)), np.nan)
        likely = tree.children["log_likelihood"]["soc"]
        likely[:] = np.broadcast_to(norm.logpdf(np.log(observed), 10, sd) - np.log(observed), likely.shape)
        return tree

    return make


def test_every_observation_has_its_scores(tree_of):
    points = skill.pointwise(tree_of())
    there = points["observed"].notnull()
    assert there.any()
    assert not there.all()
    for name, values in points.data_vars.items():
        assert values.dims == ("site", "observation"), name
        np.testing.assert_array_equal(values.notnull(), there)


def test_skill_is_that_of_its_formula(tree_of):
    points = skill.pointwise(tree_of(sites=12, shift=0.1))
    observed, predicted = (points[name].to_numpy()[points["observed"].notnull()] for name in ("observed", "predicted"))
    found = {name: score.value for name, score in skill.scores(points).items()}
    error, logarithm = predicted - observed, np.log(predicted) - np.log(observed)
    assert found["nse"] == pytest.approx(1 - np.sum(error**2) / np.sum((observed - observed.mean()) ** 2), rel=1e-12)
    assert found["log_nse"] == pytest.approx(1 - np.mean(logarithm**2) / np.var(np.log(observed)), rel=1e-12)
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)
    assert found["bias"] == pytest.approx(error.mean(), rel=1e-12)
    assert found["log_bias"] == pytest.approx(logarithm.mean(), rel=1e-12)


@pytest.mark.parametrize("level", calibration.LEVELS)
def test_coverage_of_the_exact_predictive_is_the_level_within_its_error(level, gaussian):
    found = skill.scores(skill.pointwise(gaussian()))[f"coverage_{level * 100:g}"]
    assert abs(found.value - level) < 4.0 * found.error


def test_scores_of_a_gaussian_are_those_of_its_formula(gaussian):
    """Gneiting and Raftery 2007, eq. 21 with its closed form for a Gaussian; the density itself; the interval score."""
    tree = gaussian(draws=4000, sites=30)
    points = skill.pointwise(tree)
    there = points["observed"].notnull().to_numpy()
    standard = (np.log(points["observed"].to_numpy()[there]) - 10.0) / 0.5
    crps = 0.5 * (standard * (2 * norm.cdf(standard) - 1) + 2 * norm.pdf(standard) - 1 / math.sqrt(math.pi))
    half = norm.ppf(0.95)
    interval = 0.5 * (2 * half + 20.0 * np.maximum(np.abs(standard) - half, 0.0))
    found = {name: points[name].to_numpy()[there].mean() for name in ("crps", "log_score", "interval_score", "width")}
    assert found["crps"] == pytest.approx(crps.mean(), rel=0.02)
    assert found["log_score"] == pytest.approx(
        np.mean(0.5 * standard**2 + np.log(0.5 * math.sqrt(2 * math.pi))), rel=1e-12
    )
    assert found["interval_score"] == pytest.approx(interval.mean(), rel=0.05)
    assert found["width"] == pytest.approx(2 * half * 0.5, rel=0.03)


def test_errors_are_those_of_independent_sites(gaussian):
    """The mean of a number that all observations of a site share has the error of as many observations as sites."""
    points = skill.pointwise(gaussian(sites=200))
    by_site = np.random.default_rng(1).standard_normal(200)
    shared = points.assign(crps=points["crps"] * 0 + by_site[:, None]).isel(observation=slice(0, 2))
    assert shared["observed"].notnull().all()
    found = skill.scores(shared)["crps"]
    assert found.value == pytest.approx(by_site.mean(), rel=1e-12)
    assert found.error == pytest.approx(by_site.std() / math.sqrt(200), rel=0.1)  # the bootstrap knows it to 2 %


def test_the_same_seed_gives_the_same_errors(tree_of):
    points = skill.pointwise(tree_of())
    assert skill.scores(points, seed=3) == skill.scores(points, seed=3)
    assert skill.scores(points, seed=3)["nse"].error != skill.scores(points, seed=4)["nse"].error


def test_a_single_site_has_no_error(tree_of):
    found = skill.scores(skill.pointwise(tree_of(sites=1)))
    assert math.isfinite(found["rmse"].value)
    assert math.isnan(found["rmse"].error)


def test_what_does_not_exist_is_nan(tree_of):
    points = skill.pointwise(tree_of())
    nothing = skill.scores(points.assign(observed=points["observed"] * math.nan))
    assert all(math.isnan(score.value) and math.isnan(score.error) for score in nothing.values())
    zero = skill.scores(points.assign(observed=points["observed"] * 0.0))
    assert math.isnan(zero["log_nse"].value)
    assert math.isnan(zero["nse"].value)
    assert math.isfinite(zero["rmse"].value)


def test_depth_classes_hold_every_observation_once(tree_of):
    points = skill.pointwise(tree_of(sites=30))
    classes = skill.by_depth(points)
    assert list(classes) == ["0-0.3 m", "0.3-1 m", "below 1 m"]
    depth = points["depth"].to_numpy()
    error = (points["predicted"] - points["observed"]).to_numpy()
    for label, inside in zip(classes, (depth < 0.3, (depth >= 0.3) & (depth < 1.0), depth >= 1.0), strict=True):
        assert classes[label]["bias"].value == pytest.approx(np.nanmean(error[inside]), rel=1e-12)
    assert list(skill.by_depth(points.where(points["depth"] < 0.3))) == ["0-0.3 m"]


def test_regions_hold_every_observation_once(tree_of):
    points = skill.pointwise(tree_of(sites=9))  # on a line from the south-west to the north-east
    regions = skill.by_region(points)
    assert list(regions) == ["north-east", "south-west"]
    error = (points["predicted"] - points["observed"]).to_numpy()
    assert regions["south-west"]["bias"].value == pytest.approx(np.nanmean(error[:4]), rel=1e-12)
    assert regions["north-east"]["bias"].value == pytest.approx(np.nanmean(error[4:]), rel=1e-12)
    assert skill.by_region(points.drop_vars("longitude")) == {}
