"""A run that was killed goes on to the same draws; a run that is not the same, or is still under way, is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from quick_soil import replace_the_soil

import binn_prob as bp
from binn_prob import cli
from binn_prob.files import locked
from binn_prob.results import storage
from binn_prob.run_folder import run_folder

METHODS: dict[str, dict[str, Any]] = {
    "laplace": {"draws": 8, "steps": 1100, "patience": None},
    "site_nuts": {"chains": 2, "warmup": 20, "draws": 20, "thinning": 1, "rounds": 2, "growth": 2},
    "vi": {"draws": 8, "steps": 1100, "patience": None},
    "deep_ensemble": {"members": 2, "steps": 1100, "patience": None},
    "nuts": {"chains": 2, "warmup": 20, "draws": 20, "max_tree_depth": 3, "start_steps": 100},
    "sghmc": {"chains": 2, "warmup": 20, "draws": 20, "thinning": 3, "start_steps": 100},
}
KILLED_AT = {"laplace": "training.npz", "site_nuts": "round_0/draws_0.npz"}
ALSO_KILLED_AT = {
    "vi": "training.npz", "deep_ensemble": "training.npz", "nuts": "draws_05.npz", "sghmc": "draws_05.npz"
}  # fmt: skip
"""Method → the file that it has just saved when it is killed: SiteNUTS between two rounds."""

QUICK = ["fit", "--sites", "4", "--method", "mc_dropout", "--config", "quick.yaml", "--out", "out", "--quiet"]
QUICK_SETTINGS = """
model: {options: {hidden: [4]}}
methods: {mc_dropout: {draws: 8, steps: 100}}
"""


pytestmark = pytest.mark.usefixtures("soil_that_costs_nothing")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quick.yaml").write_text(QUICK_SETTINGS)


def _start(*arguments: str) -> subprocess.Popen[str]:
    """Start the command line with such a soil: see the end of this file."""
    command = [sys.executable, __file__, *arguments]
    other_order = os.environ | {"PYTHONHASHSEED": "random"}  # of the names in a set, as users' processes have it
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=other_order)


def _kill_at(file: Path, process: subprocess.Popen[str]) -> None:
    """Kill a process as soon as it has written a file."""
    deadline = time.monotonic() + 300
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{file} has not been written"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def _finish(*arguments: str) -> None:
    """Run the command line to its end; so short a fit has not converged."""
    process = _start(*arguments, "--quiet")
    answer = process.communicate()
    assert process.returncode == 3, answer


def _draws(folder: Path, method: str) -> xr.DataTree:
    """Return the groups of a posterior that hold what was drawn, without what they were drawn with."""
    tree = storage.load(folder / f"posterior_{method}.nc")
    return xr.DataTree.from_dict(
        {name: tree[name].to_dataset() for name in ("posterior", "posterior_predictive", "sample_stats")}
    )


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [KILLED_AT, pytest.param(ALSO_KILLED_AT, marks=pytest.mark.long)])
def test_a_run_killed_again_and_again_goes_on_to_the_same_draws(killed_at: dict[str, str]) -> None:
    methods = {method: METHODS[method] for method in killed_at}
    settings = bp.Settings(data={"sites": [0, 3]}, model={"name": "site"}, methods=methods)
    settings.to_yaml("settings.yaml")
    _finish("fit", "--config", "settings.yaml", "--out", "undisturbed")
    start, spent = ["fit", "--config", "settings.yaml", "--out", "out"], {}
    for method, saved in killed_at.items():
        checkpoint = Path("out/checkpoints") / method
        _kill_at(checkpoint / saved, _start(*start))
        assert not Path(f"out/posterior_{method}.nc").exists()
        assert json.loads(Path("out/run.json").read_text())["status"] == "running"
        spent[method] = json.loads((checkpoint / "seconds.json").read_text())
        start = ["fit", "--out", "out", "--resume"]
    _finish(*start)
    for method in killed_at:
        xr.testing.assert_identical(_draws(Path("out"), method), _draws(Path("undisturbed"), method))
    kept = {"requirements.txt", "run.json", "settings.yaml", *(f"posterior_{method}.nc" for method in killed_at)}
    by_site = {"convergence_site_nuts.csv"} if "site_nuts" in killed_at else set()
    assert {file.name for file in Path("out").iterdir()} == kept | by_site
    _check_record(json.loads(Path("out/run.json").read_text()), spent)


def _check_record(record: dict[str, Any], spent: dict[str, float]) -> None:
    """Check that a run counts the time that its killed processes had spent."""
    assert record["status"] == "complete"
    assert len(record["resumed"]) == len(spent)
    assert set(record["verdicts"]) == set(spent)
    for method, before in spent.items():
        fitted = storage.load(f"out/posterior_{method}.nc").attrs["wall_seconds"]
        assert 0.0 < before < fitted < record["wall_seconds"][method]
    assert record["wall_seconds"]["total"] > sum(record["wall_seconds"][method] for method in spent)


@pytest.mark.slow
def test_a_fit_from_python_goes_on_to_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    from binn_prob.inference.checkpoint import Checkpoint

    sites = bp.data.load("synthetic", sites=4, seed=0)
    options: dict[str, Any] = {"method": "mc_dropout", "draws": 8, "steps": 1100, "patience": None, "progress": False}
    model = bp.models.BINN(hidden=(4,))
    save, saves = Checkpoint.save, []

    def save_once(self: Checkpoint, name: str, tree: Any) -> None:
        if saves:
            raise KeyboardInterrupt
        saves.append(name)
        save(self, name, tree)

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", save_once)
        with pytest.raises(KeyboardInterrupt):
            bp.fit(model, sites, checkpoint="kept", **options)
    before = json.loads(Path("kept/seconds.json").read_text())
    with pytest.raises(bp.InputError, match="holds a checkpoint already"):
        bp.fit(model, sites, checkpoint="kept", **options)
    with pytest.raises(bp.InputError, match="steps was 1100 and is now 4000"):
        bp.fit(model, sites, checkpoint="kept", resume=True, **options | {"steps": 4000})
    with pytest.raises(bp.InputError, match="data_fingerprint was"):
        bp.fit(model, sites.isel(site=slice(3)), checkpoint="kept", resume=True, **options)
    resumed = bp.fit(model, sites, checkpoint="kept", resume=True, **options)
    undisturbed = bp.fit(model, sites, **options)
    for name in ("posterior", "posterior_predictive", "sample_stats"):
        xr.testing.assert_identical(resumed.posterior()[name].to_dataset(), undisturbed.posterior()[name].to_dataset())
    assert resumed.sample_stats["loss"].shape == (1100,)
    assert resumed.wall_seconds > before > 0.0


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a short run that has ended, not to be changed."""
    folder = tmp_path_factory.mktemp("quick")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        Path("quick.yaml").write_text(QUICK_SETTINGS)
        assert cli.main(QUICK) == 3
    return folder / "out"


@pytest.fixture
def finished(quick_run: Path) -> None:
    """A copy of that folder as ``out``."""
    shutil.copytree(quick_run, "out")


def test_resume_needs_a_checkpoint() -> None:
    sites = bp.data.load("synthetic", sites=4, seed=0)
    with pytest.raises(bp.InputError, match="resume without a checkpoint"):
        bp.fit("binn", sites, "vi", resume=True)


@pytest.mark.usefixtures("finished")
def test_what_is_finished_is_not_fitted_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("out/posterior_mc_dropout.nc").stat()

    def fit(*arguments: Any, **options: Any) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr("binn_prob.workflow.fit", fit)
    assert cli.main(["fit", "--out", "out", "--resume", "--allow-unconverged"]) == 0
    answer = capsys.readouterr()
    assert answer.out.startswith("mc_dropout: not converged: 100 training steps, too few")
    assert "mc_dropout (1 of 1, there already)" in answer.err
    assert Path("out/posterior_mc_dropout.nc").stat().st_mtime_ns == before.st_mtime_ns
    assert not Path("out/checkpoints").exists()


@pytest.mark.usefixtures("finished")
def test_a_damaged_posterior_is_fitted_again(capsys: pytest.CaptureFixture[str]) -> None:
    expected = _draws(Path("out"), "mc_dropout")
    file = Path("out/posterior_mc_dropout.nc")
    file.write_bytes(file.read_bytes()[:1000])
    assert cli.main(["fit", "--out", "out", "--resume", "--allow-unconverged"]) == 0
    assert "mc_dropout is fitted again" in capsys.readouterr().err
    xr.testing.assert_identical(_draws(Path("out"), "mc_dropout"), expected)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Run arguments that must be refused: status 2, one line with these words."""

    def run(arguments: list[str], *words: str) -> None:
        capsys.readouterr()
        assert cli.main(arguments) == 2
        answer = capsys.readouterr()
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
        assert [word for word in words if word not in answer.err] == []

    return run


@pytest.mark.usefixtures("finished")
def test_only_the_same_run_is_resumed(refused: Callable[..., None]) -> None:
    written = Path("out/settings.yaml").read_text()
    refused(QUICK, "out", "not empty", "--resume")
    refused(["fit", "--out", "out", "--resume", "--seed", "1"], "seed was 0 and is now 1")
    refused([*QUICK, "--resume", "--sites", "5"], "data.sites was 4 and is now 5")
    refused(["fit", "--resume"], "--resume without --out")
    refused(["fit", "--out", "nowhere", "--resume"], "nowhere, which holds no run to resume")
    Path("other").mkdir()
    Path("other/kept").touch()
    refused(["fit", "--out", "other", "--resume"], "holds no run", "settings.yaml")
    assert Path("out/settings.yaml").read_text() == written


@pytest.mark.usefixtures("finished")
def test_other_data_are_refused(monkeypatch: pytest.MonkeyPatch, refused: Callable[..., None]) -> None:
    monkeypatch.setattr("binn_prob.data.fingerprint", lambda dataset: "another")
    refused(["fit", "--out", "out", "--resume", "--quiet"], "posterior_mc_dropout.nc, fitted to other data")


@pytest.mark.usefixtures("finished")
def test_a_second_process_is_refused(refused: Callable[..., None]) -> None:
    with locked("out/checkpoints"):
        refused(["fit", "--out", "out", "--resume", "--quiet"], "to which another process is writing")


def test_an_empty_folder_can_be_resumed() -> None:
    Path("out").mkdir()
    assert cli.main([*QUICK, "--resume", "--allow-unconverged"]) == 0


def test_a_run_killed_before_its_settings_were_written_can_be_resumed(refused: Callable[..., None]) -> None:
    Path("out/checkpoints").mkdir(parents=True)
    Path("out/checkpoints/lock").touch()
    Path("out/.settings.yaml.0.part").touch()
    assert run_folder("any", "out", resume=True) == Path("out")
    Path("out/checkpoints/chains.npz").touch()
    with pytest.raises(bp.InputError, match="which holds no run"):
        run_folder("any", "out", resume=True)


def test_a_full_disk_is_one_line_and_can_be_resumed(
    monkeypatch: pytest.MonkeyPatch, refused: Callable[..., None]
) -> None:
    def reserved(path: Path, size: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr("binn_prob.results.storage.reserved", reserved)
        refused(QUICK, "no room to write", "posterior_mc_dropout.nc", "free space")
    assert Path("out/checkpoints/mc_dropout/training.npz").exists()
    assert cli.main(["fit", "--out", "out", "--resume", "--allow-unconverged"]) == 0


if __name__ == "__main__":
    replace_the_soil(pytest.MonkeyPatch())
    sys.exit(cli.main())
