"""Scores against closed forms and Monte-Carlo errors."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from binn_prob.results import calibration, posterior

NORMAL = NormalDist()


@pytest.fixture
def gaussian(tree_of):
    """Return a function that makes a tree whose log observations are N(10, 0.5) and whose log predictions N(10, sd)."""

    def make(sd: float, draws: int = 400, sites: int = 120):
        rng = np.random.default_rng(5)
        tree = tree_of(sites=sites, draws=draws)
        observed = tree.children["observed_data"]["soc"]
        observed[:] = np.where(observed.notnull(), np.exp(10 + 0.5 * rng.standard_normal(observed.shape)), np.nan)
        predicted = tree.children["posterior_predictive"]["soc"]
        predicted[:] = np.where(predicted.notnull(), np.exp(10 + sd * rng.standard_normal(predicted.shape)), np.nan)
        return tree

    return make


def test_efficiency_of_known_predictions():
    observed = np.array([1.0, 2.0, 3.0])
    assert calibration.nash_sutcliffe(observed, observed) == 1.0
    assert calibration.nash_sutcliffe(observed, np.full(3, 2.0)) == 0.0
    assert calibration.nash_sutcliffe(observed, np.array([1.0, 2.0, 4.0])) == 0.5  # SSE 1, SST 2
    assert calibration.nash_sutcliffe(observed, observed + 1) == -0.5  # SSE 3


def test_efficiency_of_logarithms():
    observed = np.exp([1.0, 2.0, 3.0])
    assert calibration.log_nash_sutcliffe(observed, np.exp([1.0, 2.0, 4.0])) == pytest.approx(0.5)
    assert math.isnan(calibration.log_nash_sutcliffe(np.array([0.0, 1.0]), np.array([1.0, 1.0])))


def test_squared_correlation_ignores_bias_and_slope():
    observed = np.array([1.0, 2.0, 4.0])
    assert calibration.r_squared(observed, 5 - 3 * observed) == pytest.approx(1.0)
    # Pearson correlation of (1, 2, 4) and (1, 2, 3) is 3 / sqrt(14/3 * 2).
    assert calibration.r_squared(observed, np.array([1.0, 2.0, 3.0])) == pytest.approx(9 / (28 / 3))


@pytest.mark.parametrize("function", [calibration.nash_sutcliffe, calibration.r_squared])
@pytest.mark.parametrize("observed", [[], [2.0, 2.0, 2.0]])
def test_what_does_not_exist_is_nan(function, observed):
    values = np.array(observed)
    assert math.isnan(function(values, values))


def test_point_prediction_is_the_median(tree_of):
    tree = tree_of(draws=101)
    draws = posterior.group(tree, "posterior")["soc_at_depth"]
    prediction = calibration.point_prediction(tree)
    assert prediction.dims == ("site", "observation")
    np.testing.assert_array_equal(prediction.isnull(), draws[0, 0].isnull())
    np.testing.assert_allclose(prediction[3, 0], draws[0, :, 3, 0].median())


def test_transform_counts_the_draws_below(tree_of):
    tree = tree_of(sites=1, draws=4)
    tree.children["posterior_predictive"]["soc"][0, :, 0, 0] = [4.0, 1.0, 3.0, 2.0]
    for value, rank in ((0.5, 0), (2.5, 2), (9.0, 4)):
        tree.children["observed_data"]["soc"][0, 0] = value
        assert float(calibration.probability_integral_transform(tree)[0, 0]) == (rank + 0.5) / 5


@pytest.mark.parametrize("level", calibration.LEVELS)
def test_coverage_of_the_exact_predictive_is_the_level(level, gaussian):
    tree = gaussian(0.5)
    count = int(posterior.group(tree, "observed_data")["soc"].count())
    error = math.sqrt(level * (1 - level) / count)
    assert calibration.coverage(tree)[level] == pytest.approx(level, abs=4 * error)


@pytest.mark.parametrize("level", calibration.LEVELS)
def test_coverage_of_intervals_half_as_wide(level, gaussian):
    tree = gaussian(0.25)
    count = int(posterior.group(tree, "observed_data")["soc"].count())
    expected = 2 * NORMAL.cdf(NORMAL.inv_cdf((1 + level) / 2) / 2) - 1
    error = math.sqrt(expected * (1 - expected) / count)
    assert calibration.coverage(tree)[level] == pytest.approx(expected, abs=4 * error)


def test_transform_of_the_exact_predictive_is_uniform(gaussian):
    values = np.sort(calibration.observed_transform(gaussian(0.5)))
    distance = np.abs(values - (np.arange(values.size) + 0.5) / values.size).max()
    assert distance < 1.63 / math.sqrt(values.size)  # Kolmogorov's bound at 1 %


def test_crps_of_a_gaussian(gaussian):
    tree = gaussian(0.5, draws=4000, sites=20)
    observed = posterior.group(tree, "observed_data")["soc"].values
    z = (np.log(observed[np.isfinite(observed)]) - 10) / 0.5
    # Gneiting and Raftery 2007, eq. 21 with F normal: sd (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)).
    closed = [v * (2 * NORMAL.cdf(v) - 1) + 2 * NORMAL.pdf(v) - 1 / math.sqrt(math.pi) for v in z]
    assert calibration.continuous_ranked_probability_score(tree) == pytest.approx(0.5 * np.mean(closed), abs=2e-3)


def test_crps_does_not_depend_on_the_number_of_draws(gaussian):
    few, many = (calibration.continuous_ranked_probability_score(gaussian(0.5, draws=n)) for n in (10, 1000))
    # The biased estimator would add 1 / (2 * 10) of E|X - X'| = 2 * 0.5 / sqrt(pi), which is 0.028.
    assert few == pytest.approx(many, abs=0.012)


def test_zero_carbon_has_no_logarithm(tree_of):
    tree = tree_of(draws=20)
    tree.children["observed_data"]["soc"][0, 0] = 0.0
    scores = calibration.scores(tree)
    assert math.isnan(scores["log_nse"])
    assert math.isnan(scores["crps"])
    assert math.isfinite(scores["nse"])


def test_failed_predictions_are_not_scored(tree_of):
    tree = tree_of(draws=20)
    for group, name in (("posterior", "soc_at_depth"), ("posterior_predictive", "soc")):
        tree.children[group][name][0, 3, 0, 0] = np.nan
    assert all(math.isnan(score) for score in calibration.scores(tree).values())


def test_sites_without_observations_have_no_scores(tree_of):
    tree = tree_of(draws=20)
    tree.children["observed_data"]["soc"][:] = np.nan
    scores = calibration.scores(tree)
    assert set(scores) == {
        "nse", "log_nse", "r2", "coverage_50", "coverage_80", "coverage_90", "coverage_95", "crps"
    }  # fmt: skip
    assert all(math.isnan(score) for score in scores.values())


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_true_parameters_are_covered_as_often_as_the_interval_says(tree_of, level):
    tree = tree_of(sites=30, draws=400)
    truth = tree["constant_data/true_parameters"]
    # truth and draws from one distribution, so that its rank among the draws is uniform
    values = np.random.default_rng(0).normal(size=(401, *truth.shape))
    tree["posterior"]["parameters"].values[0] = values[1:]
    tree["constant_data"]["true_parameters"].values[:] = values[0]
    assert calibration.parameter_coverage(tree, level) == pytest.approx(
        level, abs=4 * np.sqrt(level * (1 - level) / truth.size)
    )


def test_coverage_of_parameters_needs_the_truth(tree_of):
    tree = tree_of(draws=5)
    del tree["constant_data"]["true_parameters"]
    assert math.isnan(calibration.parameter_coverage(tree))
