"""Every example runs, small, and its notebook holds the same cells as its script, with what they gave."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True)
class Example:
    """One script, and what its notebook shows."""

    stem: str
    figures: int
    """At least so many"""
    needs_new_york: bool = False
    writes: tuple[str, ...] = ()
    """Files that stay in the folder in which it ran"""

    @property
    def script(self) -> Path:
        return FOLDER / f"{self.stem}.py"

    @property
    def notebook(self) -> Path:
        return FOLDER / f"{self.stem}.ipynb"


TOUR = Example("01_tour", figures=4, writes=("report.html",))
NEW_YORK_METHODS = Example("02_new_york_methods", figures=8, needs_new_york=True)
RECOVERY_AND_CALIBRATION = Example("03_recovery_and_calibration", figures=4)
EVERY_SITE_BY_ITSELF = Example("04_every_site_by_itself", figures=7, needs_new_york=True)
WARMER_SOIL = Example("05_warmer_soil", figures=2, needs_new_york=True)
EXAMPLES = (TOUR, NEW_YORK_METHODS, RECOVERY_AND_CALIBRATION, EVERY_SITE_BY_ITSELF, WARMER_SOIL)
EACH = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)


def code(notebook: Any) -> Iterator[Any]:
    return (cell for cell in notebook.cells if cell.cell_type == "code")


def figures(notebook: Any) -> int:
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def shows(source: str) -> bool:
    """Say whether a cell prints, or ends in an expression other than the removal of a folder."""
    body = ast.parse("\n".join(line for line in source.splitlines() if not line.startswith("%"))).body
    last = ast.unparse(body[-1])
    return "print(" in source or (isinstance(body[-1], ast.Expr) and not last.startswith("shutil."))


def test_the_table_names_every_example() -> None:
    assert [example.script for example in EXAMPLES] == sorted(FOLDER.glob("*.py"))
    assert [example.notebook for example in EXAMPLES] == sorted(FOLDER.glob("*.ipynb"))


@EACH
def test_the_script_compiles(example: Example) -> None:
    compile(example.script.read_text(encoding="utf-8"), str(example.script), "exec")


@EACH
def test_the_notebook_is_that_of_the_script(example: Example) -> None:
    ours, theirs = (
        [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]
        for path in (example.notebook, example.script)
    )
    assert ours == theirs


@EACH
def test_the_notebook_was_executed_from_top_to_bottom_without_a_complaint(example: Example) -> None:
    notebook = nbformat.read(example.notebook, as_version=4)
    nbformat.validate(notebook)
    cells = list(code(notebook))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [cell.source for cell in cells if shows(cell.source) and not cell.outputs]
    complaints = [
        output
        for cell in cells
        for output in cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert not complaints
    assert figures(notebook) >= example.figures


@EACH
def test_the_notebook_says_nothing_of_the_machine(example: Example) -> None:
    text = example.notebook.read_text(encoding="utf-8")
    paths = ("site-packages", "/home/", "/work/", str(Path.home()), tempfile.gettempdir())
    assert not [path for path in paths if path in text]


@pytest.mark.example
class SmallRun:
    """Each example has a class, so that they are spread over the workers."""

    example: ClassVar[Example]

    def test_it_runs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
        if self.example.needs_new_york:
            monkeypatch.setenv("BINN_PROB_DATA", str(request.getfixturevalue("new_york_folder")))
        monkeypatch.setenv("BINN_PROB_EXAMPLE", "small")
        monkeypatch.delenv("MPLBACKEND", raising=False)  # figures appear in the notebook
        notebook = jupytext.read(self.example.script)
        resources = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
        assert figures(notebook) >= self.example.figures
        assert all((tmp_path / name).stat().st_size for name in self.example.writes)


class TestTour(SmallRun):
    example = TOUR


class TestNewYorkMethods(SmallRun):
    example = NEW_YORK_METHODS


class TestRecoveryAndCalibration(SmallRun):
    example = RECOVERY_AND_CALIBRATION


class TestEverySiteByItself(SmallRun):
    example = EVERY_SITE_BY_ITSELF


class TestWarmerSoil(SmallRun):
    example = WARMER_SOIL


def test_every_example_is_run() -> None:
    assert tuple(one.example for one in SmallRun.__subclasses__()) == EXAMPLES
