"""Every study runs, small; what it has measured is kept, and its page is written around what is written by hand."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import binn_prob as bp
from binn_prob import clm5
from binn_prob.errors import InputError

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples" / "studies"
SHARED = {"study", "ways", "pages", "first_stage", "monthly_program", "step_model", "training_task"}
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in SHARED)


@pytest.fixture(scope="module")
def study() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        import study

        yield study


def measure(folder: Path, number: float, seed: int) -> pd.DataFrame:
    if number < 0:
        raise InputError(f"number {number}", "one that is not negative", "correct it")
    return pd.DataFrame({"measure": ["square"], "value": [number**2]})


def page(module: ModuleType) -> object:
    def of(rows: pd.DataFrame) -> object:
        figure = Figure()
        figure.subplots().plot(rows["value"])
        return module.Page({"Squares": rows.set_index("case")[["value"]]}, {"Squares": figure}, ["They are squares."])

    return of


def toy(module: ModuleType, *numbers: float) -> object:
    cases = [module.Case(f"case {at}", measure, {"number": one, "seed": 0}) for at, one in enumerate(numbers)]
    return module.Study("toy", "A toy", lambda small: cases, page(module))


def test_rows_and_page_are_written(study: ModuleType, tmp_path: Path) -> None:
    assert study.run(toy(study, 2.0, 3.0), ["--small", "--out", str(tmp_path)]) == 0
    written = (tmp_path / "toy.md").read_text(encoding="utf-8")
    assert written.startswith("# A toy\n")
    assert "| case 1 | 9.0 |" in written
    assert "python examples/studies/toy.py --small" in written
    assert (tmp_path / "toy.png").stat().st_size
    assert (tmp_path / "toy.pdf").stat().st_size
    assert list(pd.read_csv(tmp_path / "toy.csv")["value"]) == [4.0, 9.0]
    assert json.loads((tmp_path / "rows" / "case 0.json").read_text(encoding="utf-8"))["asked"]["number"] == 2.0


def test_what_was_measured_is_not_measured_again(study: ModuleType, tmp_path: Path) -> None:
    assert study.run(toy(study, 2.0), ["--small", "--out", str(tmp_path)]) == 0
    row = tmp_path / "rows" / "case 0.json"
    changed = row.read_text(encoding="utf-8").replace("4.0", "5.0")
    row.write_text(changed, encoding="utf-8")
    assert study.run(toy(study, 2.0, 3.0), ["--small", "--out", str(tmp_path)]) == 0
    assert list(pd.read_csv(tmp_path / "toy.csv")["value"]) == [5.0, 9.0]


def test_rows_of_another_case_are_refused(study: ModuleType, tmp_path: Path) -> None:
    assert study.run(toy(study, 2.0), ["--small", "--out", str(tmp_path)]) == 0
    with pytest.raises(InputError, match=r"number was 2\.0 and is now 3\.0"):
        study.run(toy(study, 3.0), ["--small", "--out", str(tmp_path)])


def test_a_case_that_fails_is_named_and_the_others_are_kept(
    study: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.run(toy(study, -1.0, 3.0), ["--small", "--out", str(tmp_path)]) == 1
    assert "case 0: got number -1.0" in capsys.readouterr().err
    assert [path.stem for path in (tmp_path / "rows").iterdir()] == ["case 1"]
    assert not (tmp_path / "toy.md").exists()


@pytest.mark.slow
def test_cases_are_measured_side_by_side(study: ModuleType, tmp_path: Path) -> None:
    given = ["--small", "--out", str(tmp_path), "--processes", "2"]
    assert study.run(toy(study, 2.0, -1.0, 3.0), given) == 1
    assert sorted(path.stem for path in (tmp_path / "rows").iterdir()) == ["case 0", "case 2"]


def test_an_error_nobody_thought_of_ends_no_other_case(
    study: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = {"case 0": "two", "case 1": 3.0}
    cases = [study.Case(name, measure, {"number": number, "seed": 0}) for name, number in numbers.items()]
    asked = study.Study("toy", "A toy", lambda small: cases, page(study))
    assert study.run(asked, ["--small", "--out", str(tmp_path)]) == 1
    assert "case 0: Traceback" in capsys.readouterr().err
    assert [path.stem for path in (tmp_path / "rows").iterdir()] == ["case 1"]


def test_what_is_written_by_hand_stays(study: ModuleType, tmp_path: Path) -> None:
    import pages

    document = tmp_path / "page.md"
    begin = pages.BEGIN.format(name="toy")
    document.write_text(f"Before.\n\n{begin}\nold\n{pages.END}\n\nAfter.\n", encoding="utf-8")
    given = ["--small", "--out", str(tmp_path / "out"), "--document", str(document)]
    assert study.run(toy(study, 2.0), given) == 0
    written = document.read_text(encoding="utf-8")
    assert written.startswith("Before.\n")
    assert written.endswith("\nAfter.\n")
    assert "old" not in written
    assert "| case 0 | 4.0 |" in written


def test_a_page_without_a_place_for_the_results_is_left_alone(study: ModuleType, tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("By hand.\n", encoding="utf-8")
    given = ["--small", "--out", str(tmp_path / "out"), "--document", str(document)]
    with pytest.raises(InputError, match="without a place for the results"):
        study.run(toy(study, 2.0), given)
    assert document.read_text(encoding="utf-8") == "By hand.\n"


def test_numbers_have_as_many_digits_as_their_errors_need(study: ModuleType) -> None:
    assert study.value(0.966, 0.0213) == "0.97 ± 0.02"
    assert study.value(0.966, 0.0042) == "0.966 ± 0.004"
    assert study.value(12.3, digits=0) == "12"
    assert study.value(np.nan) == "–"
    assert study.share(0.9, 0.031) == "90 ± 3 %"
    assert study.share(0.903, 0.002) == "90.3 ± 0.2 %"
    assert study.share(np.nan) == "–"


def test_errors_over_folds_are_the_larger_of_two(study: ModuleType) -> None:
    rows = pd.DataFrame({"name": "one", "measure": "nse", "value": [1.0, 2.0, 3.0, 4.0], "error": 0.1})
    mean, error = study.over_folds(rows, "name")("one", "nse")
    assert mean == pytest.approx(2.5)
    assert error == pytest.approx((5.0 / 3.0) ** 0.5 / 2.0)  # sd over the root of four
    agreeing = rows.assign(value=2.0)
    assert study.over_folds(agreeing, "name")("one", "nse") == pytest.approx((2.0, 0.05))  # 0.1 over the root of four
    assert study.over_folds(rows[:1], "name")("one", "nse") == pytest.approx((1.0, 0.1))
    assert study.over_folds(rows.assign(error=None), "name")("one", "nse") == pytest.approx((2.5, error))
    assert np.isnan(study.over_folds(rows, "name")("another", "nse")).all()


def test_patterns_that_are_flat_are_left_out(study: ModuleType) -> None:
    import binn_and_proda

    place = np.linspace(0.0, 1.0, 30)
    of_process = [place, place, -place, place**2, np.zeros(30), place]  # the first is the forcing
    drawn = np.stack(of_process, axis=-1)[None]
    others = np.repeat(place[:, None], 6, axis=1)[None]
    scores = binn_and_proda.patterns(drawn, others, "correlation", 0)
    names = binn_and_proda.PROCESSES
    assert scores[names[0], "correlation"].value == pytest.approx(1.0)
    assert scores[names[1], "correlation"].value == pytest.approx(-1.0)
    assert (names[3], "correlation") not in scores
    square = np.corrcoef(place, place**2)[0, 1]
    assert scores["average", "correlation"].value == pytest.approx((1.0 - 1.0 + square + 1.0) / 4)
    assert scores["average", "correlation_low"].value == pytest.approx((1.0 - 1.0 + square + 1.0) / 4)  # of one draw


WIDTHS = {"NUTS": (1.0, 2.0), "VI": (0.5, 0.25)}
"""Method → the standard deviations of two processes; those of VI are a half and an eighth of the others"""


def widths(part: str, times: float = 1.0) -> list[dict[str, object]]:
    common = {"world": "synthetic", "size": 32, "truth": 0, "error": np.nan, "part": part, "measure": "sd"}
    return [
        {"name": name, "case": name, "of": of, "value": times * width, **common}
        for name, found in WIDTHS.items()
        for of, width in zip(clm5.PROCESS_NAMES[1:3], found, strict=True)
    ]


@pytest.mark.parametrize(("converged", "asked", "there"), [(1.0, True, True), (0.0, True, False), (0.0, False, True)])
def test_widths_are_relative_to_a_reference(study: ModuleType, converged: float, asked: bool, there: bool) -> None:
    import mc_dropout

    verdict = {**widths("")[0], "of": "", "measure": "converged", "value": converged}
    found = mc_dropout.relative_widths(pd.DataFrame([*widths("near"), verdict]), "NUTS", asked)
    expected = {"NUTS": 1.0, "VI": 0.25} if there else {}
    assert dict(zip(found["name"], found["value"], strict=True)) == pytest.approx(expected)


def test_posteriors_widen_from_near_to_far(study: ModuleType) -> None:
    import mc_dropout

    found = mc_dropout.widenings(pd.DataFrame([*widths("near"), *widths("far", times=3.0)]))
    assert dict(zip(found["name"], found["value"], strict=True)) == pytest.approx({"NUTS": 3.0, "VI": 3.0})
    assert mc_dropout.widenings(pd.DataFrame(widths("near"))).empty  # nothing is known of sites far away


def test_a_way_has_one_colour_in_all_figures(study: ModuleType) -> None:
    import ways

    looks = {name: tuple(ways.look(name).values()) for name in ways.WAYS}
    assert looks["MC dropout, batches"][0] == looks["MC dropout"][0] == ways.COLOURS["MC dropout"]
    assert looks["MC dropout, 3 × 128 units"] != looks["MC dropout"]
    assert ways.look("random forest") == ways.look("CLM5, default parameters")


def test_a_parameter_that_does_not_vary_counts_as_not_recovered(study: ModuleType) -> None:
    import recovery

    rows = pd.DataFrame(
        {"case": "one", "of": clm5.NAMES[:3], "measure": "recovery_correlation", "value": [0.9, 0.6, np.nan]}
    )
    assert recovery._mean_correlation(rows)["value"].tolist() == pytest.approx([0.5])


def test_the_cost_of_the_protocol_is_that_of_its_solutions(study: ModuleType) -> None:
    import efficiency

    measured = {
        ("dense solution", 16): {"monthly_seconds": 1e-3, "compiled_seconds": 2e-4},
        ("PRODA's draws", 64): {"seconds": 128.0, "ess_median": 100.0, "r_hat_high": 1.1, "converged": 0.0},
        (efficiency.HMC, 64): {"seconds": 64.0, "cores": 2, "ess_median": 1000.0, "r_hat_high": 1.01, "converged": 1.0},
        (efficiency.HMC_SHORT, 64): {"seconds": 32.0, "ess_median": 150.0, "r_hat_high": 1.02, "converged": 0.5},
    }
    rows = [
        {"case": case, "sites": sites, "measure": name, "value": number}
        for (case, sites), found in measured.items()
        for name, number in found.items()
    ]
    lines = efficiency.costs(pd.DataFrame(rows))
    assert lines[efficiency.PROTOCOL]["seconds"] == pytest.approx(3 * 70_000 * 1e-3 / 2)
    assert lines[efficiency.COMPILED]["seconds"] == pytest.approx(3 * 70_000 * 2e-4 / 2)
    remark = "64 profiles, 0 % of them converged"
    kind = efficiency.NOT_CONVERGED
    assert lines[efficiency.FAST] == {"seconds": 2.0, "ess": 100.0, "r_hat": 1.1, "remark": remark, "kind": kind}
    assert lines[efficiency.HMC]["kind"] == efficiency.CONVERGED
    assert lines[efficiency.HMC]["seconds"] == 1.0


def test_a_training_step_is_set_against_the_published_one(study: ModuleType) -> None:
    import efficiency

    seconds = {
        name: efficiency.PUBLISHED_STEP / times for name, times in zip(efficiency.STEPS, (1e3, 500, 70), strict=True)
    }
    rows = [
        {"case": f"training step, {name}", "measure": "step_seconds", "value": number, "error": 1e-7}
        for name, number in seconds.items()
    ]
    table, found = efficiency.training_steps(pd.DataFrame(rows))
    assert table["faster by"].tolist() == ["1", "1,000", "500", "70"]
    assert found == pytest.approx(seconds)


def test_the_program_that_is_timed_is_the_published_model(study: ModuleType) -> None:
    import monthly_program

    sites = bp.data.load("synthetic", sites=12, seed=0)
    sites["bedrock_layer"][:] = 20  # where a dense solution is accurate
    sites["active_layer_depth"][::2] = 0.7
    sites["active_layer_depth_last_year"][::2] = 1.2
    forcing = clm5.Forcing.from_dataset(sites)
    parameters = np.asarray(clm5.physical(np.random.default_rng(0).uniform(0.1, 0.9, (12, 21))))
    expected = np.asarray(clm5.steady_state(parameters, forcing, "published"))
    for site in range(12):
        found = monthly_program.solution(parameters[site], monthly_program.profile(forcing, site))
        np.testing.assert_allclose(found, expected[site], rtol=1e-8)


@pytest.mark.example
class SmallRun:
    """Each study has a class, so that they are spread over the workers."""

    name: ClassVar[str]

    def test_it_writes_its_page_and_is_resumed(
        self, study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_york_folder: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        monkeypatch.setenv("BINN_PROB_DATA", str(new_york_folder))
        monkeypatch.chdir(tmp_path)
        asked = importlib.import_module(self.name).STUDY
        assert study.run(asked, ["--small"]) == 0
        out = tmp_path / "runs" / "studies" / f"{self.name}-small"
        written = (out / f"{self.name}.md").read_text(encoding="utf-8")
        assert "\n| ---" in written
        assert f"]({self.name}.png)" in written
        assert "nan" not in written
        assert (out / f"{self.name}.png").stat().st_size
        assert len(pd.read_csv(out / f"{self.name}.csv"))
        capsys.readouterr()
        assert study.run(asked, ["--small"]) == 0
        number = len(list((out / "rows").glob("*.json")))
        assert f"{number} of {number} cases are there already" in capsys.readouterr().out


class TestBinnAndProda(SmallRun):
    name = "binn_and_proda"


class TestEfficiency(SmallRun):
    name = "efficiency"


class TestMCDropout(SmallRun):
    name = "mc_dropout"


@pytest.mark.long  # processes, a farm and a stream, each of which has tests of its own
class TestNationalRehearsal(SmallRun):
    name = "national_rehearsal"


class TestProdaSampler(SmallRun):
    name = "proda_sampler"


class TestRecovery(SmallRun):
    name = "recovery"


class TestSensitivity(SmallRun):
    name = "sensitivity"


class TestSkill(SmallRun):
    name = "skill"


def test_every_study_is_run() -> None:
    assert sorted(one.name for one in SmallRun.__subclasses__()) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_study_is_a_command(
    study: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert stopped.value.code == 0
    assert "--small" in capsys.readouterr().out
