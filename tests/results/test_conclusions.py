"""What is said of a method, from numbers that are given."""

from __future__ import annotations

import math

import numpy as np
import pytest

from binn_prob.results import conclusions, scores
from binn_prob.results.convergence import Verdict
from binn_prob.results.measures import Row, frame
from binn_prob.results.scores import Score

CONVERGED, UNCONVERGED = Verdict(True), Verdict(False, ("R-hat up to 1.100 (bar 1.01)",))

GOOD = {
    ("", "processes", "correlation"): Score(0.98, 0.01),
    ("", "processes", "mean_difference"): Score(0.2, 0.05),
    ("", "processes", "sd_ratio"): Score(0.97, 0.02),
    ("held_out", "", "coverage_90"): Score(0.91, 0.02),
    ("held_out", "processes", "true_90"): Score(0.88, 0.02),
    ("train", "parameters", "true_90"): Score(0.93, 0.01),
}


def concluded(changed=None, verdict=CONVERGED, of_reference=CONVERGED):
    numbers = {key: score for key, score in (GOOD | (changed or {})).items() if score is not None}
    rows = [Row(*key, score) for key, score in numbers.items()]
    table = frame({"vi": rows, "nuts": [row for row in rows if row.part]})
    return conclusions.conclude(table, {"vi": verdict, "nuts": of_reference}, "nuts")["vi"]


def test_a_method_without_fault_is_believed():
    found = concluded()
    assert found.believed
    assert str(found) == (
        "VI: converged; process means agree with those of NUTS (r = 0.98, 0.20 sd apart); their intervals are as wide; "
        "90% intervals hold 91 ± 2 % of observations at held-out sites; 88 ± 2 % of the true processes at held-out "
        "sites; 93 ± 1 % of the true parameters at fitted sites"
    )


@pytest.mark.parametrize(
    ("key", "score", "said"),
    [
        (("", "processes", "correlation"), Score(0.8, 0.02), "differ from those of NUTS (r = 0.80"),
        (("", "processes", "mean_difference"), Score(0.9, 0.1), "differ from those of NUTS"),
        (("", "processes", "sd_ratio"), Score(0.6, 0.02), "40% too narrow"),
        (("", "processes", "sd_ratio"), Score(1.3, 0.02), "30% too wide"),
        (("", "processes", "sd_ratio"), Score(3.2, 0.02), "3.2 times as wide"),
        (("held_out", "", "coverage_90"), Score(0.71, 0.02), "hold 71 ± 2 % of observations"),
        (("held_out", "", "coverage_90"), Score(0.99, 0.005), "hold 99 ± 0 % of observations"),
        (("train", "parameters", "true_90"), Score(0.47, 0.02), "47 ± 2 % of the true parameters"),
    ],
)
def test_one_fault_is_enough(key, score, said):
    found = concluded({key: score})
    assert not found.believed
    assert said in str(found)


def test_what_chance_may_explain_is_no_fault():
    assert concluded({("", "processes", "sd_ratio"): Score(0.87, 0.02)}).believed
    assert not concluded({("", "processes", "sd_ratio"): Score(0.85, 0.02)}).believed


def test_unconverged_methods_are_not_believed():
    found = concluded(verdict=UNCONVERGED)
    assert not found.believed
    assert "not converged: R-hat up to 1.100" in str(found)


def test_an_unconverged_reference_judges_nobody():
    found = concluded({("", "processes", "sd_ratio"): Score(0.5, 0.01)}, of_reference=UNCONVERGED)
    assert found.believed
    assert "not held against NUTS, which has not converged" in str(found)


def test_what_is_not_known_is_not_said():
    missing = dict.fromkeys([key for key in GOOD if key[0]], None)
    found = concluded({**missing, ("train", "", "coverage_90"): Score(0.9, math.nan)})
    assert str(found).endswith("their intervals are as wide; 90% intervals hold 90% of observations at fitted sites")


def test_the_bars_are_in_order():
    assert all(bar.low < bar.high and bar.of for bar in conclusions.BARS.values())


def test_a_share_of_one_among_few_sites_is_no_fault():
    inside = scores.of_share(scores.mean(np.ones(13)), 13)
    assert 0.05 < inside.error < 0.1
    assert concluded({("held_out", "", "coverage_90"): inside}).believed
    assert not concluded({("held_out", "", "coverage_90"): scores.of_share(scores.mean(np.ones(400)), 400)}).believed
