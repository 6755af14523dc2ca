"""The commands about what runs have left."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from binn_prob import cli
from binn_prob.results import plots, posterior


@pytest.fixture(scope="module")
def made(tree_of, tmp_path_factory):
    """The folder of a run of three methods at few sites."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    folder.mkdir()
    for name, chains in (("mc_dropout", 1), ("vi", 1), ("nuts", 2)):
        tree = tree_of(name, sites=3, held_out=2, chains=chains, draws=20)
        posterior.save(tree, folder / f"posterior_{name}.nc")
    (folder / "settings.yaml").write_text("reference: nuts\nmethods: {nuts: {}, vi: {}, mc_dropout: {}}\n")
    return folder


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    """A copy of it; of the figures, which are tested elsewhere, but one is drawn."""
    monkeypatch.setattr(plots, "every", lambda trees, *options: {"coverage": plots.coverage_curves(trees)})
    return shutil.copytree(made, tmp_path / "first")


def test_a_report_is_written_into_the_run(run, capsys):
    assert cli.main(["report", str(run)]) == 3  # the reference has not converged
    answer = capsys.readouterr()
    assert "error: nuts: not converged" in answer.err
    table, *_, last = answer.out.strip().rpartition("\n")
    assert "Comparison of methods" in table
    assert "- NUTS: not converged" in table
    assert last == str(run / "report.html")
    scores = pd.read_csv(run / "comparison.csv")
    assert set(scores["method"]) == {"mc_dropout", "nuts", "vi"}
    assert "agreement" in set(scores["section"])  # the reference is that of the settings
    assert f"binn-prob report {run} --reference nuts --out {run}" in (run / "report.md").read_text(encoding="utf-8")


def test_runs_are_compared_with_each_other(run, tmp_path, capsys):
    other = tmp_path / "second"
    other.mkdir()
    shutil.copy(run / "posterior_vi.nc", other)
    out = tmp_path / "together"
    arguments = ["report", str(run / "posterior_nuts.nc"), str(run / "posterior_vi.nc"), str(other)]
    assert cli.main([*arguments, "--out", str(out), "--reference", "nuts", "--json", "--allow-unconverged"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert set(held["methods"]) == {"nuts", "vi-first", "vi-second"}
    assert held["reference"] == "nuts"


def test_convergence_is_diagnosed(run, capsys):
    assert cli.main(["diagnose", str(run)]) == 3
    said = capsys.readouterr().out
    assert "nuts: not converged" in said
    assert "R-hat, largest 1." in said
    assert "largest R-hat: " in said
    assert cli.main(["diagnose", str(run / "posterior_mc_dropout.nc"), "--json", "--allow-unconverged"]) == 0
    assert set(json.loads(capsys.readouterr().out)["mc_dropout"]) == {"converged", "reasons"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("report {run} {run} --out {run}", "two posteriors called 'mc_dropout-first'"),
        ("report {run}/posterior_vi.nc", "add --out"),
        ("report {run} --reference laplace", "reference 'laplace'"),
        ("report {run}/figures", "there is no posterior"),
        ("diagnose {run}/settings.yaml", "settings.yaml"),
    ],
)
def test_wrong_runs_are_refused(arguments, words, run, capsys):
    before = sorted(path.name for path in run.rglob("*"))
    assert cli.main(arguments.format(run=run).split()) == 2
    answer = capsys.readouterr()
    assert words in answer.err
    assert answer.out == ""
    assert sorted(path.name for path in run.rglob("*")) == before
