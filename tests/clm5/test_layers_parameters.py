"""The two tables: soil layers and parameters."""

from __future__ import annotations

import numpy as np
import pytest

from binn_prob.clm5 import DEFAULTS, INTERFACE_DEPTH, NAMES, NODE_DEPTH, PARAMETERS, RANGES, THICKNESS, physical, unit
from binn_prob.clm5.layers import NODE_SPACING
from binn_prob.clm5.parameters import index, named
from binn_prob.errors import InputError

# CLM5 technical note, table 2.2.3, to its three decimals.
NODES = [
    0.010, 0.040, 0.090, 0.160, 0.260, 0.400, 0.580, 0.800, 1.060, 1.360, 1.700, 2.080, 2.500, 2.990, 3.580, 4.270,
    5.060, 5.950, 6.940, 8.030, 9.795, 13.328, 19.483, 28.871, 41.998,
]  # fmt: skip
INTERFACES = [
    0.020, 0.060, 0.120, 0.200, 0.320, 0.480, 0.680, 0.920, 1.200, 1.520, 1.880, 2.280, 2.720, 3.260, 3.900, 4.640,
    5.480, 6.420, 7.460, 8.600, 10.990, 15.666, 23.301, 34.441, 49.556,
]  # fmt: skip


def test_layers_are_those_of_clm5() -> None:
    np.testing.assert_allclose(NODE_DEPTH, NODES, atol=5.1e-4)
    np.testing.assert_allclose(INTERFACE_DEPTH, INTERFACES, atol=5.1e-4)
    np.testing.assert_allclose(np.cumsum(NODE_SPACING), NODE_DEPTH, rtol=1e-15)


@pytest.mark.parametrize("table", [THICKNESS, INTERFACE_DEPTH, NODE_DEPTH, NODE_SPACING, DEFAULTS])
def test_tables_cannot_be_written_to(table: np.ndarray) -> None:
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1.0


def test_there_are_21_parameters_each_with_its_words() -> None:
    assert len(PARAMETERS) == len(set(NAMES)) == 21
    assert all(row.symbol and row.meaning and row.unit and row.source for row in PARAMETERS)


@pytest.mark.parametrize("ranges_name", ["binn", "proda"])
def test_ranges(ranges_name: str) -> None:
    low, high = RANGES[ranges_name].T
    assert (low < high).all()
    outside = {name for name, a, b, value in zip(NAMES, low, high, DEFAULTS, strict=True) if not a <= value <= b}
    assert outside == {"efolding", "fs1s2"}


@pytest.mark.parametrize("ranges_name", ["binn", "proda"])
def test_unit_cube_and_back(ranges_name: str) -> None:
    low, high = RANGES[ranges_name].T
    inside = np.random.default_rng(0).uniform(size=(5, 3, 21))
    np.testing.assert_allclose(unit(physical(inside, ranges_name), ranges_name), inside, rtol=0, atol=1e-13)
    np.testing.assert_allclose(physical(np.zeros(21), ranges_name), low, rtol=1e-15)
    np.testing.assert_allclose(physical(np.ones(21), ranges_name), high, rtol=1e-15)


def test_respired_fractions_are_not_negative_at_the_upper_ends() -> None:
    for row in RANGES.values():
        high = dict(zip(NAMES, row[:, 1], strict=True))
        assert high["fs1s2"] + high["fs1s3"] < 1
        assert high["fs2s1"] + high["fs2s3"] < 1


def test_parameters_by_name() -> None:
    by_name = named(np.arange(42.0).reshape(2, 21))
    assert tuple(by_name) == NAMES
    np.testing.assert_array_equal(by_name["beta"], [20.0, 41.0])
    assert index("efolding") == 3


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"parameter 'q11'.*one of diffus, cryo"):
        index("q11")
    with pytest.raises(InputError, match=r"ranges 'wide'.*'binn' or 'proda'"):
        physical(np.zeros(21), "wide")
