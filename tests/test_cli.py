"""The command line: one small run from end to end, and every kind of wrong input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import binn_prob
from binn_prob import cli, data
from binn_prob.inference import FitError
from binn_prob.results import storage
from binn_prob.settings import Settings

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

WRONG_ARGUMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    # what is wrong: the arguments, and words of the message
    "no command": ("", ("Missing command", "--help")),
    "unknown command": ("compute", ("compute", "--help")),
    "unknown option": ("compare --sed 1", ("--sed", "--seed")),
    "unknown method": ("compare --method hmc", ("unknown method 'hmc'", "mc_dropout, vi, nuts")),
    "unknown method among others": ("compare --method vi,hmc", ("unknown method 'hmc'",)),
    "unknown model": ("compare --model forest", ("unknown model 'forest'", "binn, site")),
    "unknown dataset": ("compare --data ohio", ("'ohio'", "'synthetic' or 'new-york'")),
    "unknown split": ("compare --split country", ("'country'", "'location'")),
    "unknown device": ("compare --device abacus", ("'abacus'", "'gpu'")),
    "unknown precision": ("compare --precision float16", ("'float16'", "'float32'")),
    "sites in words": ("compare --sites ten", ("--sites", "integer")),
    "no site": ("compare --sites 0", ("data.sites = 0",)),
    "no such site": ("compare --sites 3,99", ("no site 99",)),
    "fraction above 1": ("compare --test-fraction 2", ("split.test_fraction = 2",)),
    "negative seed": ("compare --seed -1", ("seed = -1",)),
    "reference that is not run": ("compare --method vi --reference nuts", ("reference 'nuts'", "vi")),
    "name that leaves the folder": ("compare --name ../up", ("name '../up'",)),
    "no such configuration": ("compare --config nowhere.yaml", ("no file nowhere.yaml",)),
    "no such folder of data": ("data describe new-york --folder nowhere", ("nowhere",)),
    "nothing to fetch": ("data fetch synthetic", ("'synthetic'", "new-york")),
    "nothing to describe": ("data describe ohio", ("'ohio'", "'synthetic' or 'new-york'")),
}

WRONG_CONFIGURATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "unknown key": ("methodz: {vi: }", ("unknown key 'methodz'", "did you mean 'methods'?")),
    "unknown option": ("methods: {vi: {stepz: 3}}", ("'stepz' of method 'vi'", "did you mean 'steps'?")),
    "option of the wrong type": ("methods: {vi: {steps: many}}", ("steps = 'many'", "integer")),
    "no YAML": ("methods: [vi", ("not YAML",)),
    "no keys": ("vi", ("without keys",)),
    "no such folder of data": ("data: {name: new-york, folder: nowhere}", ("nowhere",)),
}


def _negative_soc(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(soc=-dataset["soc"])


def _missing_forcing(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(soil_temperature=dataset["soil_temperature"] * np.nan)


def _wrong_unit(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(soc=dataset["soc"].assign_attrs(units="kg m-3"))


BROKEN: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "missing variable": (lambda dataset: dataset.drop_vars("litter_input"), "litter_input"),
    "wrong unit": (_wrong_unit, "soc"),
    "wrong shape": (lambda dataset: dataset.isel(layer=slice(0, 7)), "layer"),
    "negative SOC": (_negative_soc, "soc"),
    "NaN forcing": (_missing_forcing, "soil_temperature"),
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Run arguments that must be refused: status 2, one line with these words, nothing written."""

    def run(arguments: list[str], *words: str) -> None:
        before = sorted(Path().rglob("*"))
        assert cli.main(arguments) == 2
        answer = capsys.readouterr()
        assert answer.out == ""
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
        assert [word for word in words if word not in answer.err] == []
        assert sorted(Path().rglob("*")) == before

    return run


@pytest.mark.parametrize("case", WRONG_ARGUMENTS)
def test_wrong_arguments(case: str, refused: Callable[..., None]) -> None:
    arguments, words = WRONG_ARGUMENTS[case]
    refused(arguments.split(), *words)


@pytest.mark.parametrize("case", WRONG_CONFIGURATIONS)
def test_wrong_configuration(case: str, refused: Callable[..., None]) -> None:
    content, words = WRONG_CONFIGURATIONS[case]
    Path("settings.yaml").write_text(content)
    refused(["compare", "--config", "settings.yaml"], *words)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_dataset(case: str, refused: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    breaking, word = BROKEN[case]
    broken = breaking(data.load("synthetic", sites=4))
    monkeypatch.setattr(data, "load", lambda name, **options: broken)
    refused(["compare"], word)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_dataset_is_not_fitted(case: str) -> None:
    breaking, word = BROKEN[case]
    broken = breaking(data.load("synthetic", sites=4))
    with pytest.raises(binn_prob.InputError, match=word):
        binn_prob.fit(binn_prob.models.BINN(), broken, method="vi")


def test_unknown_methods_and_options_are_not_fitted() -> None:
    sites = data.load("synthetic", sites=4)
    with pytest.raises(binn_prob.InputError, match="one of mc_dropout, vi, nuts"):
        binn_prob.fit(binn_prob.models.BINN(), sites, method="hmc")
    with pytest.raises(binn_prob.InputError, match="did you mean 'steps'"):
        binn_prob.fit(binn_prob.models.BINN(), sites, method="vi", stepz=3)
    with pytest.raises(binn_prob.InputError, match="put them into the method"):
        binn_prob.fit(binn_prob.models.BINN(), sites, method=binn_prob.inference.VI(), steps=3)


def test_a_truncated_file(refused: Callable[..., None], new_york_folder: Path) -> None:
    shutil.copytree(new_york_folder, "copy")
    file = max(Path("copy/Training_Data").rglob("*.*"), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused(["data", "describe", "new-york", "--folder", "copy"], file.name)


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_results_never_replace_what_is_there(kind: str, refused: Callable[..., None]) -> None:
    kept = Path("out") if kind == "file" else Path("out/kept")
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("kept")
    refused(["compare", "--out", "out"], "out", "--out")
    assert kept.read_text() == "kept"


def _program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=os.environ | environment
    )


def test_a_missing_device_has_a_cure() -> None:
    done = _program("-m", "binn_prob.cli", "compare", "--device", "gpu", CUDA_VISIBLE_DEVICES="-1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: got JAX on a cpu; expected a gpu")
    assert "--device cpu" in done.stderr
    assert "Traceback" not in done.stderr


def test_precision_and_device_are_chosen_before_jax_starts() -> None:
    program = (
        "from binn_prob.workflow import use_device; use_device('cpu', 'float32');"
        "import binn_prob.clm5, jax.numpy as jnp; print(jnp.ones(1).dtype, jnp.ones(1).device.platform)"
    )
    assert _program("-c", program).stdout.split() == ["float32", "cpu"]


@pytest.mark.parametrize("arguments", ["--help", "compare --help", "data --help", "data fetch --help"])
def test_help(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments.split()) == 0
    assert capsys.readouterr().out.startswith("Usage: binn-prob")


def test_describe(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "describe", "synthetic", "--sites", "4"]) == 0
    assert "observations" in capsys.readouterr().out


class _Fitted:
    """Stands for a fit, to test what happens around it."""

    def tree(self, held_out: xr.Dataset | None) -> xr.DataTree:
        return xr.DataTree(xr.Dataset({"held_out": held_out is not None}))


def test_an_interrupted_run_keeps_what_is_finished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(model: Any, dataset: xr.Dataset, method: Any, **options: Any) -> _Fitted:
        if method.name == "vi":
            raise KeyboardInterrupt
        return _Fitted()

    monkeypatch.setattr("binn_prob.workflow.fit", fit)
    assert cli.main(["compare", "--sites", "4", "--method", "mc_dropout,vi", "--out", "out"]) == 130
    assert {file.name for file in Path("out").iterdir()} == {"posterior_mc_dropout.nc", "run.json", "settings.yaml"}
    assert json.loads(Path("out/run.json").read_text())["status"] == "interrupted"
    assert "Traceback" not in capsys.readouterr().err


def test_a_method_that_fails_is_named_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(*arguments: Any, **options: Any) -> _Fitted:
        raise FitError("the numbers\nstopped being finite")

    monkeypatch.setattr("binn_prob.workflow.fit", fit)
    assert cli.main(["compare", "--sites", "4", "--method", "mc_dropout,vi", "--out", "out"]) == 1
    record = json.loads(Path("out/run.json").read_text())
    assert record["status"] == "failed"
    assert record["failures"] == dict.fromkeys(("mc_dropout", "vi"), "the numbers stopped being finite")
    assert "error: vi could not fit: the numbers stopped being finite" in capsys.readouterr().err


@pytest.mark.slow
def test_compare_from_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.yaml").write_text(SMALL)
    assert cli.main(["compare", "--config", "small.yaml", "--seed", "1"]) == 0
    answer = capsys.readouterr()
    (folder,) = Path("runs").iterdir()
    assert folder.name.endswith("-small")
    assert answer.out.splitlines()[-1] == str(folder)
    _check_folder(folder)
    # The same numbers again from the settings it left, for the method that is quickest.
    again = [
        "compare",
        "--config",
        str(folder / "settings.yaml"),
        "--method",
        "mc_dropout",
        "--reference",
        "mc_dropout",
    ]
    assert cli.main([*again, "--out", "again", "--quiet"]) == 0
    answer = capsys.readouterr()
    assert answer.err == ""
    first, second = (storage.load(where / "posterior_mc_dropout.nc") for where in (folder, Path("again")))
    xr.testing.assert_identical(first["posterior"].to_dataset(), second["posterior"].to_dataset())


def _check_folder(folder: Path) -> None:
    """Check that a run folder of ``SMALL`` holds what it must."""
    methods = ["mc_dropout", "vi", "nuts"]
    names = {"comparison.csv", "figures", "report.html", "run.json", "settings.yaml"}
    assert {file.name for file in folder.iterdir()} == names | {f"posterior_{method}.nc" for method in methods}
    assert list(pd.read_csv(folder / "comparison.csv")["method"]) == methods
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
