"""The largest memory of a piece of work."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from binn_prob.memory import watched

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")


def test_the_peak_is_that_of_the_work_and_not_of_what_came_before():
    before = np.ones(2**27)  # 1 GiB
    del before
    with watched() as quiet:
        assert math.isnan(quiet.gibibytes)
    with watched() as loud:
        work = np.ones(2**26)
        del work
    assert 0.4 < loud.gibibytes - quiet.gibibytes < 0.6
