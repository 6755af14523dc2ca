"""Pools, gradients and processes of columns solved with 120 digits, independently of binn_prob.

The table holds bedrock from 1 to 20, thaw from 0 to 42 m and varying by month, frozen soil, both ends of every
parameter range, and the corner where decomposition at depth is slowest: see ``CASES`` in ``make_exact_columns.py``.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import make_exact_columns
import numpy as np
import pytest
from mpmath import mpf

from binn_prob.clm5 import LAYERS, NAMES, Forcing, prepare, processes, steady_state, unit

CASES = range(len(make_exact_columns.CASES))
COLUMNS = ("closed", "published")
UNDERFLOW = 1e-200
"""Carbon that mixing of 1e-30 m2 day-1 alone carries downwards [g C m-3]; such values leave the range of float64."""


@pytest.fixture(scope="module", params=COLUMNS)
def column(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pools(column: Any, exact: dict[str, np.ndarray], exact_forcing: Forcing) -> np.ndarray:
    return np.asarray(steady_state(exact["parameters"], exact_forcing, column))


@pytest.mark.parametrize("case", CASES)
def test_pools(case: int, column: Any, exact: dict[str, np.ndarray], pools: np.ndarray) -> None:
    expected = exact[f"pools_{column}"][case]
    # The largest error, 9e-14, is that of beta ** 860 with beta = 0.5.
    np.testing.assert_allclose(pools[case], expected, rtol=1e-12, atol=UNDERFLOW)
    np.testing.assert_array_equal(pools[case][expected == 0], 0.0)


def test_processes(column: Any, exact: dict[str, np.ndarray], exact_forcing: Forcing) -> None:
    got = processes(exact["parameters"], exact_forcing, column)
    np.testing.assert_allclose(got, exact[f"processes_{column}"], rtol=1e-12)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_gradients(
    mode: str, column: Any, exact: dict[str, np.ndarray], exact_forcing: Forcing, push: Any, pull: Any
) -> None:
    """Derivatives of log SOC in every layer by every unit parameter; sites do not know of each other."""
    units, soil = unit(exact["parameters"]), prepare(exact_forcing, column)
    if mode == "forward":
        along = [jnp.zeros_like(units).at[:, position].set(1.0) for position in range(len(NAMES))]
        got = np.stack([push(units, direction, soil)[1] for direction in along], axis=-1)
    else:
        layers = [jnp.zeros((len(units), LAYERS)).at[:, layer].set(1.0) for layer in range(LAYERS)]
        got = np.stack([pull(units, weights, soil) for weights in layers], axis=1)
    carbon = exact[f"pools_{column}"][:, 4:].sum(axis=1) > 1e-100
    expected = np.where(carbon[..., None], exact[f"gradient_{column}"], 0.0)
    # The largest error, 9e-13, is at beta = 0.9999, where numerator and denominator of the litter shares cancel.
    steepest = np.abs(expected).max(axis=2, keepdims=True)
    assert (np.abs(got - expected) <= 1e-11 * steepest).all()


@pytest.mark.parametrize("case", [1, 13])
def test_the_stored_columns_are_what_the_script_computes(case: int, column: Any, exact: dict[str, np.ndarray]) -> None:
    forcing = {name: exact[name][case] for name in Forcing.__dataclass_fields__}
    values = zip(make_exact_columns.NAMES, exact["parameters"][case], strict=True)
    pools = make_exact_columns.exact_pools({name: mpf(float(value)) for name, value in values}, forcing, column)
    np.testing.assert_allclose(np.array(pools, dtype=float), exact[f"pools_{column}"][case], rtol=1e-15)
