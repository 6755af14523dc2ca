"""The six processes: what they must and must not depend on.

Their values are tested in ``test_exact_columns.py`` (corrected formulas) and ``test_golden.py`` (published ones).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from binn_prob.clm5 import (
    NAMES,
    PROCESS_NAMES,
    PROCESSES,
    Forcing,
    physical,
    prepare,
    processes,
    processes_of,
    solve,
)
from binn_prob.clm5.steady_state import SoilColumn
from binn_prob.errors import InputError

SITES = 16
MakeForcing = Callable[..., Forcing]
UnitParameters = Callable[..., np.ndarray]
FORMULAS = pytest.mark.parametrize("formulas", ["corrected", "published", "proda"])


@pytest.fixture(scope="module", params=["closed", "published"])
def soil(request: pytest.FixtureRequest, make_forcing: MakeForcing) -> SoilColumn:
    return prepare(make_forcing(), request.param)


def of(units: np.ndarray, soil: SoilColumn, formulas: Any = "corrected") -> dict[str, np.ndarray]:
    parameters = physical(units)
    values = processes_of(parameters, solve(parameters, soil), soil, formulas)
    return dict(zip(PROCESS_NAMES, np.asarray(values).T, strict=True))


def test_processes_have_names_units_and_meanings() -> None:
    assert len(PROCESSES) == len(set(PROCESS_NAMES)) == 6
    assert all(process.unit and process.meaning for process in PROCESSES)


@FORMULAS
def test_plant_carbon_input_is_the_litter_whatever_the_parameters(
    formulas: Any, make_forcing: MakeForcing, soil: SoilColumn, unit_parameters: UnitParameters
) -> None:
    litter = make_forcing().litter_input.sum(axis=(1, 2))
    for seed in range(2):
        got = of(unit_parameters(seed=seed), soil, formulas)["plant_carbon_input"]
        np.testing.assert_allclose(got, litter, rtol=1e-14)


def test_corrected_allocation_is_beta(soil: SoilColumn, unit_parameters: UnitParameters) -> None:
    units = unit_parameters()
    got = of(units, soil)["carbon_input_allocation"]
    np.testing.assert_array_equal(got, physical(units)[:, NAMES.index("beta")])


@FORMULAS
def test_values_are_possible(formulas: Any, soil: SoilColumn, unit_parameters: UnitParameters) -> None:
    units = unit_parameters()
    units[SITES // 2 :] = np.round(units[SITES // 2 :])
    values = of(units, soil, formulas)
    if formulas != "corrected":
        # It averages over the layers down to which a part of the litter is counted: none if one layer takes all.
        allocation = values["carbon_input_allocation"]
        one_layer = np.asarray(soil.litter.receives).sum(axis=0) == 1
        np.testing.assert_array_equal(np.isnan(allocation), one_layer)
        values["carbon_input_allocation"] = np.where(one_layer, 0.5, allocation)
    assert all(np.isfinite(value).all() for value in values.values())
    efficiency, rate = values["carbon_transfer_efficiency"], values["baseline_decomposition"]
    assert ((efficiency > 0) & (efficiency < 1)).all()
    assert ((rate > 1 / 400) & (rate < 1 / 1e-4)).all()  # between the slowest and the fastest turnover
    assert (values["environmental_modifier"] > 0).all()
    assert ((values["carbon_input_allocation"] > 0) & (values["carbon_input_allocation"] < 1)).all()
    assert (values["vertical_transport_rate"] >= 0).all()


@FORMULAS
def test_twice_the_litter_changes_the_plant_input_only(
    formulas: Any, make_forcing: MakeForcing, unit_parameters: UnitParameters
) -> None:
    units, forcing = unit_parameters(), make_forcing()
    twice = make_forcing(litter_input=2 * np.asarray(forcing.litter_input))
    one, two = (of(units, prepare(each), formulas) for each in (forcing, twice))
    for name in PROCESS_NAMES:
        factor = 2.0 if name == "plant_carbon_input" else 1.0
        np.testing.assert_allclose(two[name], factor * one[name], rtol=1e-13)


@partial(jax.jit, static_argnames="formulas")
def gradient(parameters: Array, pools: Array, soil: SoilColumn, formulas: Any) -> tuple[Array, Array]:
    """Gradient of the sum of all processes by parameters and pools."""

    def total(parameters: Array, pools: Array) -> Array:
        return jnp.nansum(processes_of(parameters, pools, soil, formulas))

    return jax.grad(total, argnums=(0, 1))(parameters, pools)


@FORMULAS
def test_gradients_are_finite(formulas: Any, soil: SoilColumn, unit_parameters: UnitParameters) -> None:
    units = unit_parameters()
    units[SITES // 2 :] = np.round(units[SITES // 2 :])
    parameters = physical(units)

    by_parameter, by_pool = gradient(parameters, solve(parameters, soil), soil, formulas)
    assert jnp.isfinite(by_parameter).all()
    assert jnp.isfinite(by_pool).all()
    assert (by_pool != 0).any()


def test_short_way_and_long_way_agree(make_forcing: MakeForcing, unit_parameters: UnitParameters) -> None:
    units, forcing = unit_parameters(), make_forcing()
    expected = np.stack(list(of(units, prepare(forcing)).values()), axis=-1)
    np.testing.assert_array_equal(processes(physical(units), forcing), expected)


def test_bad_input_is_refused(make_forcing: MakeForcing) -> None:
    forcing = make_forcing()
    with pytest.raises(InputError, match="formulas 'right'; expected one of corrected, published, proda; choose one"):
        processes(np.ones((SITES, 21)), forcing, formulas="right")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="column 'open'"):
        processes(np.ones((SITES, 21)), forcing, "open")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"parameters of shape \(2, 21\)"):
        processes(np.ones((2, 21)), forcing)
