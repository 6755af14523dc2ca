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
    assert calibration.coverage_at(calibration.observed_transform(tree), level) == pytest.approx(level, abs=4 * error)


@pytest.mark.parametrize("level", calibration.LEVELS)
def test_coverage_of_intervals_half_as_wide(level, gaussian):
    tree = gaussian(0.25)
    count = int(posterior.group(tree, "observed_data")["soc"].count())
    expected = 2 * NORMAL.cdf(NORMAL.inv_cdf((1 + level) / 2) / 2) - 1
    error = math.sqrt(expected * (1 - expected) / count)
    assert calibration.coverage_at(calibration.observed_transform(tree), level) == pytest.approx(
        expected, abs=4 * error
    )


def test_transform_of_the_exact_predictive_is_uniform(gaussian):
    values = np.sort(calibration.observed_transform(gaussian(0.5)))
    distance = np.abs(values - (np.arange(values.size) + 0.5) / values.size).max()
    assert distance < 1.63 / math.sqrt(values.size)  # Kolmogorov's bound at 1 %
