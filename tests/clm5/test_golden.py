"""The published profiles against reference results.

Pools come from the published equations solved with 60 digits, processes from the published program.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from binn_prob.clm5 import NAMES, PROCESS_NAMES, Forcing, physical, processes, soil_organic_carbon, steady_state
from binn_prob.data import new_york

POOLS = {  # reference pools: the column, and whether the parameters are the middle of their ranges
    "pools_published_equations": ("published", False),
    "pools_published_equations_half": ("published", True),
    "pools_closed_column": ("closed", False),
}
PROCESSES = {  # reference process: the formulas and the process
    "carbon_input": ("published", "plant_carbon_input"),
    "r_A": ("published", "carbon_transfer_efficiency"),
    "r_K": ("published", "baseline_decomposition"),
    "r_xi": ("published", "environmental_modifier"),
    "r_V": ("published", "vertical_transport_rate"),
    "p_K": ("proda", "baseline_decomposition"),
    "c_K": ("corrected", "baseline_decomposition"),
    "c_I": ("corrected", "carbon_input_allocation"),
}


@pytest.fixture(scope="module")
def forcing(golden: dict[str, np.ndarray], new_york_folder: Path) -> Forcing:
    """Forcing of the reference profiles; those with missing forcing have no reference and are left out."""
    dataset = new_york.read(new_york_folder, exclude=False).isel(site=golden["row"])
    missing = np.zeros(dataset.sizes["site"], bool)
    for field in fields(Forcing):
        values = dataset[field.name].to_numpy()
        missing |= ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    np.testing.assert_array_equal(~missing, golden["forcing_ok"])
    return Forcing.from_dataset(dataset.isel(site=~missing))


@pytest.fixture(scope="module")
def soil(forcing: Forcing) -> np.ndarray:
    """Whether a layer lies above bedrock (site, layer)."""
    return np.arange(20) < np.asarray(forcing.bedrock_layer)[:, None]


def parameters_of(golden: dict[str, np.ndarray], half: bool) -> np.ndarray:
    units = golden["unit_parameters"][golden["forcing_ok"]]
    return np.asarray(physical(np.full_like(units, 0.5) if half else units))


@pytest.mark.parametrize("name", POOLS)
def test_pools(name: str, golden: dict[str, np.ndarray], forcing: Forcing, soil: np.ndarray) -> None:
    column, half = POOLS[name]
    expected = golden[name][golden["forcing_ok"]]
    pools = np.asarray(steady_state(parameters_of(golden, half), forcing, column))
    compared = soil[:, None] & (expected > 1e-3)
    assert compared.sum() > 20_000
    np.testing.assert_allclose(pools[compared], expected[compared], rtol=1e-12)
    # Below bedrock the published column reaches 1e23 g C m-3, and the reference has rounding errors of its own.
    np.testing.assert_allclose(pools, expected, rtol=1e-11, atol=1e-300)


def test_soil_organic_carbon_of_the_published_program(
    golden: dict[str, np.ndarray], forcing: Forcing, soil: np.ndarray
) -> None:
    """The published program solves by LU, which is accurate where bedrock is deepest."""
    expected = golden["soc_published_code_float64"][golden["forcing_ok"]]
    pools = steady_state(parameters_of(golden, False), forcing, "published")
    accurate = soil.all(axis=1)
    assert accurate.sum() > 50
    np.testing.assert_allclose(np.asarray(soil_organic_carbon(pools))[accurate], expected[accurate], rtol=1e-11)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", PROCESSES)
def test_processes(name: str, half: bool, golden: dict[str, np.ndarray], forcing: Forcing) -> None:
    formulas, process = PROCESSES[name]
    got = processes(parameters_of(golden, half), forcing, "published", formulas)[:, PROCESS_NAMES.index(process)]
    np.testing.assert_allclose(got, reference_process(golden, name, half), rtol=1e-12)


def test_published_allocation(golden: dict[str, np.ndarray], forcing: Forcing) -> None:
    """The published program averages over the layers above which not all litter has been counted yet.

    For small beta the deep layers hold less than the rounding error of the cumulated input, and the order of summation
    decides which of them take part: with beta < 0.8 the average moves by up to 45 %.  Only for large beta does the
    estimate mean anything, and there the two agree.
    """
    parameters = parameters_of(golden, False)
    got = processes(parameters, forcing, "published", "published")[:, PROCESS_NAMES.index("carbon_input_allocation")]
    expected = reference_process(golden, "r_I", False)
    beta = parameters[:, NAMES.index("beta")]
    for least, tolerance in ((0.9, 0.03), (0.95, 2e-3)):
        np.testing.assert_allclose(got[beta > least], expected[beta > least], rtol=tolerance)


def reference_process(golden: dict[str, np.ndarray], name: str, half: bool) -> np.ndarray:
    values = golden["processes_half" if half else "processes"][golden["forcing_ok"]]
    return values[:, list(golden["process_names"]).index(name)]
