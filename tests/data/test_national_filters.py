"""PRODA's and BINN's screenings: each test against profiles of which it removes some, and what is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from national_files_made import COUNT, ELIGIBLE_FILE, R2_FILE, SAMPLE_FILE, SHRINK_FILE, World, counted

from binn_prob.data import describe, national
from binn_prob.data.national_filters import FILTERS, SCREENINGS, Profiles, screened


@pytest.fixture
def world() -> World:
    return World()


def put(table: str, *places: tuple[object, object]) -> Callable[[World], None]:
    """Return what sets places of a table to values."""

    def change(world: World) -> None:
        for place, value in places:
            getattr(world, table)[place] = value

    return change


def replace(table: str, values: Sequence[float]) -> Callable[[World], None]:
    return lambda world: setattr(world, table, np.array(values))


nan = np.nan
REMOVED: tuple[tuple[str, Callable[[World], None], list[int]], ...] = (
    ("united_states", put("profiles", ((1, 2), 157), ((2, 1), 157)), [1]),  # the second of the two countries
    ("proda_countries", put("profiles", ((1, 1), 68), ((2, 1), 39), ((3, 2), 68)), [1, 2]),  # the first
    ("conterminous", put("profiles", ((0, 3), -125), ((1, 3), -66.9), ((2, 4), 24.4), ((3, 4), 49.4)), [0, 1, 2, 3]),
    ("conterminous", put("profiles", ((0, 3), -124.763068), ((1, 3), -66.949895), ((2, 4), 24.5)), []),
    ("conterminous", put("profiles", ((0, 3), nan)), [0]),
    ("converged", put("shrink", (0, 1.05), ((1, 4), 1.9), ((2, 4), nan), ((3, 4), 1.8)), [0, 1, 2]),
    ("mean_r2", put("r2", (0, [-1, 0.5, 0.5]), (1, [0.9, nan, 0.9]), (2, [-0.9, 0.9, 0.1])), [0, 1]),
    ("best_r2", put("r2", (0, [0.75, 0.1, 0.2]), (1, [nan, 0.8, nan]), (2, nan)), [0, 2]),
    ("eligible", replace("eligible", [1, 3, 5, 6]), [1, 3]),
    ("proda_parameters", replace("listed", [0, 5, 2]), [1, 3, 4]),
    ("representative", replace("sample", [[1, 2], [3, 4]]), [4, 5]),
    ("two_layers", put("soc", ((1, slice(1, 3)), nan), (2, nan), ((3, 2), nan)), [1, 2]),
    ("two_layers", put("node", ((1, slice(1, 3)), nan)), [1]),
    ("two_layers", put("upper", ((1, slice(1, 3)), nan)), []),  # PRODA does not ask for the limits of layers
    ("falling", put("soc", (0, [1, 9, 8]), (1, [9, 1, 4]), (2, [5, 5, 5])), [0]),
    ("greatest_above_last", put("soc", (0, [8, 1, 9]), (1, [9, 1, 9]), (2, [nan, nan, 9]), (3, nan)), [0, 2, 3]),
    ("first_above_last", put("soc", (0, [8, 1, 9]), (1, [9, 1, 9]), (2, [9, 1, nan]), (3, nan)), [0, 1, 3]),
    ("deep", put("environment", ((0, 72), 50.0), ((1, 72), 50.1), ((2, 72), nan)), [0, 2]),
)  # fmt: skip


class TestScreenings:
    def test_every_test_is_tested(self) -> None:
        assert {name for name, *_ in REMOVED} == set(FILTERS)
        assert {name for names in SCREENINGS.values() for name in names} <= set(FILTERS)
        assert len({test.removed for test in FILTERS.values()}) == len(FILTERS)

    @pytest.mark.parametrize(("name", "change", "removed"), REMOVED, ids=[name for name, *_ in REMOVED])
    def test_it_removes_and_counts(
        self, name: str, change: Callable[[World], None], removed: list[int], world: World, tmp_path: Path
    ) -> None:
        change(world)
        rows, counts = screened(Profiles(world.write_tables(tmp_path)), [name])
        assert sorted(set(range(COUNT)) - set(rows)) == removed
        assert counts == {FILTERS[name].removed: len(removed)}

    @pytest.mark.parametrize("screening", SCREENINGS)
    def test_a_profile_counts_under_the_first_test_that_removes_it(
        self, screening: str, world: World, tmp_path: Path
    ) -> None:
        names = SCREENINGS[screening]
        world.shrink[[0, 1]] = 2.0  # 0 by a test before as well, for BINN; the last test, for PRODA
        world.profiles[0, 1:3] = 68, 7
        world.r2[2] = -1
        rows, counts = screened(Profiles(world.write_tables(tmp_path)), screening)
        assert rows.tolist() == [3, 4, 5]
        assert list(counts) == [FILTERS[name].removed for name in names]
        first = ("united_states", "converged", "mean_r2") if screening == "binn" else (
            "proda_countries", "converged", "best_r2")  # fmt: skip
        assert {reason for reason, count in counts.items() if count} == {FILTERS[name].removed for name in first}
        assert max(counts.values()) == 1

    def test_they_stand_first_in_the_exclusions(self, world: World, tmp_path: Path) -> None:
        world.r2[2] = -1
        world.soc[4] = 0
        dataset = national.read(world.write(tmp_path), screening=("mean_r2", "representative"))
        assert dataset["site"].to_numpy().tolist() == [0, 1, 3, 5]
        assert list(json.loads(dataset.attrs["exclusions"]))[:2] == [
            FILTERS[name].removed for name in ("mean_r2", "representative")
        ]
        assert counted(dataset) == {
            FILTERS["mean_r2"].removed: 1, "observations of zero SOC": 3, "sites without observation": 1,
        }  # fmt: skip
        assert describe(dataset)["value"]["excluded observations of zero SOC"] == 3

    def test_no_screening_needs_no_results_of_proda(self, world: World, tmp_path: Path) -> None:
        world.profiles[5, 3:5] = 10.0, 50.0
        folder = world.write(tmp_path)
        for file in (SHRINK_FILE, R2_FILE, ELIGIBLE_FILE, SAMPLE_FILE):
            (folder / file).unlink()
        assert national.read(folder, screening=None).sizes["site"] == COUNT

    def test_the_lists_of_proda_may_count_from_one(self, world: World, tmp_path: Path) -> None:
        world.listed = np.array([1.0, 3.0])
        folder = world.write(tmp_path)
        chosen = [national.read(folder, proda_counts_from=one)["site"].to_numpy().tolist() for one in (0, 1)]
        assert chosen == [[1, 3], [0, 2]]
