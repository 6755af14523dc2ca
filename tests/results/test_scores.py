"""Errors by the bootstrap over sites, against those of closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from binn_prob.results import scores

SITES = 200
PRECISION = 0.1
"""2,000 replicates know an error to 2 %; the error itself, from 200 sites, is one of its estimates."""


@pytest.fixture
def values():
    return np.random.default_rng(1).standard_normal(SITES)


def test_the_mean_has_its_error(values):
    found = scores.mean(values)
    assert found.value == pytest.approx(values.mean(), rel=1e-12)
    assert found.error == pytest.approx(values.std() / math.sqrt(SITES), rel=PRECISION)


def test_the_median_has_its_error(values):
    found = scores.median(values)
    assert found.value == np.median(values)
    assert found.error == pytest.approx(math.sqrt(math.pi / 2 / SITES), rel=0.35)  # of a Gaussian, asymptotically


def test_the_root_mean_square(values):
    assert scores.root_mean_square(values).value == pytest.approx(np.sqrt(np.mean(values**2)), rel=1e-12)


def test_the_correlation_is_pearsons_with_its_error(values):
    other = 0.6 * values + 0.8 * np.random.default_rng(2).standard_normal(SITES)
    found = scores.correlation(values, other)
    assert found.value == pytest.approx(np.corrcoef(values, other)[0, 1], rel=1e-12)
    assert found.error == pytest.approx((1 - found.value**2) / math.sqrt(SITES), rel=0.2)  # of Gaussians


def test_the_mean_correlation_is_the_mean(values):
    first = np.stack([values, values], axis=1)
    second = np.stack([values, np.roll(values, 1)], axis=1)
    each = [scores.correlation(first[:, place], second[:, place]).value for place in range(2)]
    assert scores.mean_correlation(first, second).value == pytest.approx(np.mean(each), rel=1e-12)


def test_sums_over_sites_give_the_error_of_a_ratio():
    rng = np.random.default_rng(3)
    number = rng.integers(1, 10, SITES).astype(float)
    by_site = {"inside": rng.binomial(number.astype(int), 0.7).astype(float), "number": number}
    found = scores.from_sums(by_site, {"share": lambda sums: sums["inside"] / sums["number"]})["share"]
    assert found.value == pytest.approx(by_site["inside"].sum() / number.sum(), rel=1e-12)
    residual = by_site["inside"] - found.value * number  # the error of a ratio, by the delta method
    assert found.error == pytest.approx(math.sqrt(SITES) * residual.std() / number.sum(), rel=PRECISION)


@pytest.mark.parametrize("score", [scores.mean, scores.median, scores.root_mean_square])
def test_one_site_has_no_error_and_none_no_value(score):
    assert score(np.array([2.0])).value == 2.0
    assert math.isnan(score(np.array([2.0])).error)
    assert math.isnan(score(np.array([])).value)


def test_what_does_not_vary_has_no_correlation(values):
    assert math.isnan(scores.correlation(values, np.ones(SITES)).value)
    assert math.isnan(scores.correlation(np.array([]), np.array([])).value)


def test_the_seed_determines_the_error(values):
    assert scores.mean(values, seed=1) == scores.mean(values, seed=1)
    assert scores.mean(values, seed=1).error != scores.mean(values, seed=2).error
