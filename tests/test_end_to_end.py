"""The main job: one small comparison from the command line.  The examples do it with the real soil."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

from binn_prob import cli, data
from binn_prob.results import plots, storage
from binn_prob.settings import Settings

pytestmark = pytest.mark.usefixtures("soil_that_costs_nothing")

SMALL = """
data: {sites: 8}
split: {test_fraction: 0.25}
model: {options: {hidden: [4]}}
methods:
  mc_dropout: {draws: 8, steps: 100}
  vi: {draws: 8, steps: 100}
  nuts: {chains: 2, warmup: 4, draws: 8, max_tree_depth: 2, start_steps: 100}
name: small
"""


@pytest.mark.slow
def test_compare_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    assert cli.main(["compare", "--config", "small.yaml", "--seed", "1"]) == 3  # so short a run does not converge
    answer = capsys.readouterr()
    assert "error: nuts: not converged: R-hat up to" in answer.err
    assert "--allow-unconverged" in answer.err
    assert "error: vi" not in answer.err
    (folder,) = Path("runs").iterdir()
    assert folder.name.endswith("-small")
    assert answer.out.splitlines()[-1] == str(folder)
    _check_folder(folder)
    # The same numbers again from the settings it left, for the method that is quickest, without its many figures.
    monkeypatch.setattr(plots, "every", lambda trees, *options: {"coverage": plots.coverage_curves(trees)})
    again = [
        "compare",
        "--config",
        str(folder / "settings.yaml"),
        "--method",
        "mc_dropout",
        "--reference",
        "mc_dropout",
    ]
    assert cli.main([*again, "--out", "again", "--quiet", "--allow-unconverged"]) == 0
    answer = capsys.readouterr()
    assert answer.err == ""
    first, second = (storage.load(where / "posterior_mc_dropout.nc") for where in (folder, Path("again")))
    xr.testing.assert_identical(first["posterior"].to_dataset(), second["posterior"].to_dataset())


def _check_folder(folder: Path) -> None:
    """Check that a run folder of ``SMALL`` holds what it must."""
    methods = ["mc_dropout", "vi", "nuts"]
    names = {
        "comparison.csv",
        "comparison.json",
        "figures",
        "report.html",
        "report.md",
        "requirements.txt",
        "run.json",
        "settings.yaml",
    }
    assert {file.name for file in folder.iterdir()} == names | {f"posterior_{method}.nc" for method in methods}
    assert list(pd.read_csv(folder / "comparison.csv")["method"].unique()) == methods
    for method in methods:
        tree = storage.load(folder / f"posterior_{method}.nc")
        assert tree.attrs["method"] == method
        assert tree.attrs["seed"] == 1
        assert (tree["posterior"].sizes["site"], tree["held_out/posterior"].sizes["site"]) == (6, 2)
    assert len(list((folder / "figures").glob("*.png"))) >= 4
    assert (folder / "report.html").read_text(encoding="utf-8").count("data:image/png;base64,") >= 4
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "complete"
    assert record["settings"] == Settings.from_yaml(folder / "settings.yaml").model_dump(mode="json")
    assert record["data_fingerprint"] == data.fingerprint(data.load("synthetic", sites=8, seed=0))
    assert set(record["wall_seconds"]) == {*methods, "comparison", "total"}
    assert (record["seed"], record["precision"]) == (1, "float64")
    assert {"python", "jax", "numpyro", "binn-prob"} <= set(record["versions"])
