"""Leaving observations out, against a posterior for which that can be done exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from binn_prob.results import leave_one_out


@pytest.fixture
def gaussian(tree_of):
    """Make a tree of the posterior of one mean, with a flat prior, of log observations with a known error of 0.5."""

    def make(draws=4000, chains=2, width=1.0, shift=0.0):
        rng = np.random.default_rng(3)
        tree = tree_of("nuts", sites=30, draws=draws, chains=chains)
        observed = tree.children["observed_data"]["soc"]
        observed[:] = np.where(observed.notnull(), np.exp(10 + 0.5 * rng.standard_normal(observed.shape)), np.nan)
        logarithms = np.log(observed.to_numpy())
        number = np.isfinite(logarithms).sum()
        mean = np.nanmean(logarithms) + shift + width * 0.5 / math.sqrt(number) * rng.standard_normal((chains, draws))
        likely = norm.logpdf(logarithms, mean[..., None, None], 0.5) - logarithms
        tree.children["log_likelihood"]["soc"][:] = likely
        return tree

    return make


def exact(tree):
    """Return the log density of each log observation given all others: Gaussian about their mean."""
    observed = tree.children["observed_data"]["soc"].to_numpy()
    values = np.log(observed[np.isfinite(observed)])
    others = (values.sum() - values) / (len(values) - 1)
    return norm.logpdf(values, others, 0.5 * math.sqrt(1 + 1 / (len(values) - 1)))


def test_it_is_what_leaving_out_gives(gaussian):
    tree = gaussian()
    points = leave_one_out.by_observation(tree)
    there = tree.children["observed_data"]["soc"].notnull().to_numpy()
    assert points["log_density"].dims == ("site", "observation")
    np.testing.assert_array_equal(points["log_density"].notnull(), there)
    np.testing.assert_allclose(points["log_density"].to_numpy()[there], exact(tree), atol=0.01)
    assert (points["pareto_k"].to_numpy()[there] < points.attrs["good_k"]).all()
    scores = leave_one_out.scores(points)
    assert scores["loo_log_score"].value == pytest.approx(-exact(tree).mean(), abs=1e-3)
    assert scores["loo_unreliable"].value == 0.0


def test_fewer_draws_ask_for_a_smaller_k(gaussian):
    for draws in (50, 4000):
        good = leave_one_out.by_observation(gaussian(draws=draws)).attrs["good_k"]
        assert good == pytest.approx(min(1 - 1 / math.log10(2 * draws), 0.7))


def test_the_best_is_ahead_of_the_others(gaussian):
    trees = {"off": gaussian(shift=0.3), "right": gaussian()}
    points = {name: leave_one_out.by_observation(tree) for name, tree in trees.items()}
    apart = leave_one_out.differences(points)
    assert apart["right"] == (0.0, 0.0)
    total = {name: float(each["log_density"].sum()) for name, each in points.items()}
    assert apart["off"].value == pytest.approx(total["off"] - total["right"], rel=1e-12)
    assert apart["off"].value < -3 * apart["off"].error < 0


def test_the_order_of_the_sites_does_not_matter(gaussian):
    points = leave_one_out.by_observation(gaussian(draws=500))
    apart = leave_one_out.differences({"here": points, "there": points.isel(site=slice(None, None, -1))})
    assert [score.value for score in apart.values()] == [0.0, 0.0]


def test_what_is_not_finite_has_no_density(gaussian):
    tree = gaussian(draws=50)
    tree.children["log_likelihood"]["soc"][0, 0, 0, 0] = -np.inf
    points = leave_one_out.by_observation(tree)
    assert points["log_density"].isnull().all()
    assert all(math.isnan(score.value) for score in leave_one_out.scores(points).values())
    other = leave_one_out.by_observation(gaussian(draws=50))
    apart = leave_one_out.differences({"lost": points, "found": other})
    assert math.isnan(apart["lost"].value)
    assert apart["found"].value == 0.0
    assert math.isnan(leave_one_out.differences({"lost": points})["lost"].value)
