"""What is said of many nodes' training steps: costs that are added to a core's own, and never faster than ideal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).parent.parent / "examples" / "studies"


@pytest.fixture(scope="module")
def step_model() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        import step_model

        yield step_model


OF_A_SITE, DEVICES, PROCESSES = 1e-4, 0.01, 0.03
"""A law of steps: seconds of a core for a site, and what two devices of a process and two processes cost beyond"""


def steps(
    step_model: ModuleType, devices: float = DEVICES, processes: float = PROCESSES, error: float = np.nan
) -> pd.DataFrame:
    """Return rows of steps over 1,000 sites, by that law."""
    half = 500 * OF_A_SITE
    seconds = {
        f"500 sites, {step_model.ALONE}": half, f"1,000 sites, {step_model.ALONE}": 2 * half,
        f"1,000 sites, {step_model.DEVICES}": half + devices, f"1,000 sites, {step_model.BOTH}": half + processes,
    }  # fmt: skip
    rows = {"value": list(seconds.values()), "error": error, "sites": [500, 1000, 1000, 1000]}
    return step_model.steps_of(pd.DataFrame({"case": list(seconds), "measure": "step_seconds", **rows}))


@pytest.mark.parametrize(
    ("nodes", "cores", "sites", "portion", "doublings"),
    [
        (1, 1, 4000, (0, 0), (0, 0)),
        (1, 2, 4000, (4, 0), (1, 0)),
        (1, 32, 4000, (0.25, 0), (5, 0)),
        (2, 1, 1000, (0, 1), (0, 1)),  # as it was measured
        (16, 2, 16_000, (1, 1), (1, 4)),
        (16, 2, 64_000, (4, 4), (1, 4)),
    ],
)
def test_steps_of_many_nodes_are_modelled(
    step_model: ModuleType, nodes: int, cores: int, sites: int, portion: tuple[float, float], doublings: tuple[int, int]
) -> None:
    """Costs of devices and of processes lie between a part in proportion to a core's sites, and one a doubling."""
    found = step_model.step_range(step_model.model_of(steps(step_model)), nodes, cores, sites)
    costs = zip((DEVICES, PROCESSES), portion, doublings, strict=True)
    ends = [sorted((cost * of_sites, cost * doubled)) for cost, of_sites, doubled in costs]
    alone = OF_A_SITE * sites / (nodes * cores)
    assert found == pytest.approx([alone + sum(end) for end in zip(*ends, strict=True)])


@pytest.mark.parametrize("given", [{}, {"devices": -0.02, "processes": -0.02}, {"error": 0.004}])
def test_no_model_is_faster_than_ideal(step_model: ModuleType, given: dict[str, float]) -> None:
    """Not even where two were measured to be faster than one with half of the sites."""
    nodes = 2 ** np.arange(6)
    for cores in (1, 32):
        for ends in step_model.step_range(step_model.model_of(steps(step_model, **given)), nodes, cores, 4000):
            assert np.all(ends[1:] >= ends[:-1] / 2 * (1 - 1e-12))


def test_errors_of_steps_widen_what_is_modelled(step_model: ModuleType) -> None:
    error = 0.002
    model = step_model.model_of(steps(step_model, error=error))
    low, high = step_model.step_range(model, np.array([1, 2]), np.array([2, 1]), 1000)
    assert low == pytest.approx([0.05 + DEVICES - error, 0.05 + PROCESSES - error])  # what was measured, no more
    assert high == pytest.approx([0.05 + DEVICES + error, 0.05 + PROCESSES + error])
    low, high = step_model.step_range(model, 1, 1, 1500)
    assert (low, high) == pytest.approx((0.15 - 2 * error, 0.15 + 2 * error))  # of two measured on one core


def test_two_are_compared_with_one(step_model: ModuleType) -> None:
    assert step_model.scaling(steps(step_model), step_model.BOTH, "Two").startswith(
        "Two take 80 % of the time of one core"
    )
    assert "1.60 times that of one core for half" in step_model.scaling(steps(step_model), step_model.BOTH, "Two")
    assert "80 ± 4 %" in step_model.scaling(steps(step_model, error=0.003), step_model.BOTH, "Two")
