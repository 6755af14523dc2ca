"""What is learnt of known truths, on posteriors whose relation to the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest

from binn_prob.clm5.parameters import NAMES, RANGES
from binn_prob.errors import InputError
from binn_prob.results import recovery

LOW, HIGH = RANGES["binn"].T
SITES = 200


@pytest.fixture
def known(tree_of):
    """Make a tree whose truth is N(0.5, 0.1²) and whose draws are N(a noisy look at it, (width 0.1 / sqrt(2))²).

    Of a truth and a look that are both off by N(0, 0.1²), the posterior is half way, with a variance of a half.
    """

    def make(width=1.0, draws=500):
        rng = np.random.default_rng(7)
        tree = tree_of(sites=SITES, draws=draws)
        truth = 0.5 + 0.1 * rng.standard_normal((SITES, len(NAMES)))
        look = truth + 0.1 * rng.standard_normal(truth.shape)
        drawn = (0.5 + look) / 2 + width * 0.1 / math.sqrt(2) * rng.standard_normal((1, draws, *truth.shape))
        tree.children["constant_data"]["true_parameters"][:] = LOW + truth * (HIGH - LOW)
        tree.children["posterior"]["parameters"][:] = LOW + drawn * (HIGH - LOW)
        return tree

    return make


def test_contraction_is_that_of_the_variance(known):
    found = recovery.contraction(known())
    assert list(found) == list(NAMES)
    for score in found.values():
        assert score.value == pytest.approx(1 - 0.005 / (1 / 12), abs=0.003)


def test_the_means_recover_as_much_as_the_look_lets_them(known):
    for scores in recovery.recovery(known()).values():
        correlation, error = scores["recovery_correlation"], scores["recovery_rmse"]
        assert abs(correlation.value - math.sqrt(0.5)) < 4 * correlation.error
        assert abs(error.value - math.sqrt(0.5)) < 4 * error.error


def test_a_right_posterior_holds_the_truth_as_often_as_it_says(known):
    found = recovery.truth_inside(known())
    assert abs(found.value - recovery.LEVEL) < 4 * found.error
    narrow = recovery.truth_inside(known(width=0.5))
    assert abs(narrow.value - 0.589) < 4 * narrow.error  # 2 Φ(1.645 / 2) - 1


def test_a_few_draws_have_no_intervals_to_hold_the_truth(tree_of):
    for draws, known in ((9, False), (10, True)):
        tree = tree_of(sites=5, draws=draws)
        assert math.isnan(recovery.truth_inside(tree).value) != known
        assert all(math.isnan(scores["true_90"].value) != known for scores in recovery.recovery(tree).values())


def test_ranks_of_a_right_posterior_are_uniform(known):
    right, narrow = (recovery.recovery(known(width=width)) for width in (1.0, 0.5))
    bound = 1.95 / math.sqrt(SITES)  # Kolmogorov's at 0.1 %
    assert max(scores["rank_distance"].value for scores in right.values()) < bound
    assert min(scores["rank_distance"].value for scores in narrow.values()) > 0.6 * bound
    assert np.mean([s["rank_distance"].value for s in narrow.values()]) > bound


def test_the_distance_from_uniform_is_kolmogorovs(known):
    tree = known()
    expected = kstest(recovery.ranks(tree).sel(parameter="q10"), "uniform").statistic
    assert recovery.recovery(tree)["q10"]["rank_distance"].value == pytest.approx(expected, rel=1e-12)


def test_ranks_count_the_draws_below(tree_of):
    tree = tree_of(sites=1, draws=4)
    tree.children["posterior"]["parameters"][0, :, 0, 2] = [4.0, 1.0, 3.0, 2.0]
    for value, rank in ((0.5, 0), (2.5, 2), (9.0, 4)):
        tree.children["constant_data"]["true_parameters"][0, 2] = value
        assert float(recovery.ranks(tree)[0, 2]) == (rank + 0.5) / 5


def test_what_is_held_at_a_value_is_left_out(known):
    tree = known()
    tree.children["posterior"]["parameters"][..., 2] = 2.0
    assert "q10" not in recovery.recovery(tree)
    assert "q10" not in recovery.contraction(tree)
    assert len(recovery.recovery(tree)) == len(NAMES) - 1
    assert abs(recovery.truth_inside(tree).value - recovery.LEVEL) < 0.05


def test_without_the_truth_nothing_is_known(tree_of, dataset_of):
    tree = tree_of()
    tree["constant_data"] = tree["constant_data"].to_dataset().drop_vars(["true_parameters", "true_processes"])
    assert recovery.recovery(tree) == {}
    assert math.isnan(recovery.truth_inside(tree).value)
    assert recovery.recovery(tree, "processes") == {}
    with pytest.raises(InputError, match="true parameters are not known"):
        recovery.ranks(tree)
