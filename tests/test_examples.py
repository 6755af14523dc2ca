"""Every example runs, small, and its notebook holds the same cells as its script."""

from __future__ import annotations

import tempfile
from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient

SCRIPTS = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


def sources(path: Path) -> list[str]:
    return [cell.source for cell in jupytext.read(path).cells]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_notebook_is_that_of_the_script(script: Path) -> None:
    assert sources(script.with_suffix(".ipynb")) == sources(script)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_example_runs(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINN_PROB_EXAMPLE", "small")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # figures appear in the notebook
    notebook = jupytext.read(script)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ()))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_notebook_says_nothing_of_the_machine(script: Path) -> None:
    text = script.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert not [path for path in ("site-packages", "/home/", str(Path.home()), tempfile.gettempdir()) if path in text]


def test_there_are_examples() -> None:
    assert SCRIPTS
