"""Distances of joint posteriors whose relation is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from binn_prob.clm5.parameters import RANGES
from binn_prob.results import joint

pytestmark = pytest.mark.slow

LOW, HIGH = RANGES["binn"].T
SD = 0.05


@pytest.fixture
def gaussian(tree_of):
    """Make a tree whose unit parameters are N(0.5 + shift SD, (scale SD)²), every second correlated with the first."""

    def make(shift=0.0, scale=1.0, correlation=0.0, seed=0, draws=1000, chains=2):
        tree = tree_of("nuts", sites=4, draws=draws, chains=chains)
        values = tree.children["posterior"]["parameters"]
        normal = np.random.default_rng(seed).standard_normal(values.shape)
        normal[..., 1::2] = correlation * normal[..., :20:2] + math.sqrt(1 - correlation**2) * normal[..., 1::2]
        values[:] = LOW + (0.5 + SD * (shift + scale * normal)) * (HIGH - LOW)
        return tree

    return make


def found(tree, reference):
    return {name: score.value for name, score in joint.joint(tree, reference).items()}


def test_draws_of_the_same_posterior_cannot_be_told_apart(gaussian):
    measured = found(gaussian(seed=1), gaussian())
    # 2,000 draws are assigned by chance; a classifier of 252 numbers per class learns some of their noise.
    assert measured["two_sample_score"] == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(2000))
    assert measured["sliced_wasserstein"] < 0.06
    # The correlation of n draws has a standard error of 1 / sqrt(n), and here two of them differ.
    assert measured["correlation_difference"] == pytest.approx(math.sqrt(2 / 1000), rel=0.1)


def test_the_reference_held_against_itself_is_its_own_noise(gaussian):
    reference = gaussian()
    measured = found(reference, reference)
    assert measured["two_sample_score"] == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(2000))
    assert measured["correlation_difference"] == pytest.approx(math.sqrt(2 / 1000), rel=0.1)
    assert 0.0 < measured["sliced_wasserstein"] < 0.06


def test_a_shift_is_as_far_as_it_is_on_average_over_directions(gaussian):
    """A shift by 1 sd in all 21 dimensions is, along a random direction, nearly N(0, 1): E|z| = sqrt(2 / pi)."""
    measured = found(gaussian(shift=1.0, seed=1), gaussian())
    assert measured["sliced_wasserstein"] == pytest.approx(math.sqrt(2 / math.pi), rel=0.25)  # 64 directions a site
    # Two unit Gaussians sqrt(21) apart: the best classifier is right with probability Φ(sqrt(21) / 2).
    assert measured["two_sample_score"] == pytest.approx(norm.cdf(math.sqrt(21) / 2), abs=0.02)


def test_half_the_width_shows(gaussian):
    """W1 of N(0, 1) and N(0, 1/4) is E|z| / 2, in every direction the same."""
    measured = found(gaussian(scale=0.5, seed=1), gaussian())
    assert measured["sliced_wasserstein"] == pytest.approx(0.5 * math.sqrt(2 / math.pi), rel=0.05)
    assert measured["two_sample_score"] > 0.95
    assert measured["correlation_difference"] < 0.06


def test_lost_correlations_show(gaussian):
    measured = found(gaussian(seed=1), gaussian(correlation=0.9))
    # Ten of the 210 pairs lose a correlation of 0.9; the others have the noise of two estimates.
    assert measured["correlation_difference"] == pytest.approx(math.sqrt(10 / 210 * 0.81 + 2 / 1000), rel=0.05)
    assert measured["two_sample_score"] > 0.9


def test_fixed_parameters_are_left_out(gaussian):
    ours, theirs = gaussian(seed=1), gaussian()
    for tree in (ours, theirs):
        tree.children["posterior"]["parameters"][..., 3] = 1.0
    assert all(math.isfinite(value) for value in found(ours, theirs).values())
    assert np.isnan(joint.correlations(theirs).sel(parameter="efolding", other_parameter="q10"))


def test_too_few_draws_say_nothing(gaussian):
    assert all(math.isnan(value) for value in found(gaussian(draws=10, chains=1), gaussian()).values())


def test_the_same_seed_gives_the_same_numbers(gaussian):
    ours, theirs = gaussian(seed=1), gaussian()
    assert joint.joint(ours, theirs, seed=1) == joint.joint(ours, theirs, seed=1)
    assert joint.joint(ours, theirs, seed=1) != joint.joint(ours, theirs, seed=2)


def test_correlations_are_those_put_in(gaussian):
    matrix = joint.correlations(gaussian(correlation=0.8, seed=2))
    assert matrix.dims == ("parameter", "other_parameter")
    np.testing.assert_allclose(np.diag(matrix), 1.0)
    assert float(matrix[0, 1]) == pytest.approx(0.8, abs=4 * 0.36 / math.sqrt(8000))
    assert float(matrix[0, 2]) == pytest.approx(0.0, abs=4 / math.sqrt(8000))
