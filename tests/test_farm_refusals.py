"""Farms that are refused before anything is computed, and what is asked of clusters."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import distributed
import pytest
import xarray as xr

import binn_prob as bp
from binn_prob import cli
from binn_prob.farm import ClusterSettings, clusters, fit_sites, open_sites
from binn_prob.farm.software import refuse_other_software
from binn_prob.farm.tasks import Tasks
from binn_prob.inference import SiteNUTS
from binn_prob.models import SiteModel

TWO = ClusterSettings(sites_per_unit=2)


@pytest.fixture(scope="module")
def sites() -> xr.Dataset:
    return bp.data.load("synthetic", sites=5, seed=0)


@pytest.fixture
def farm(sites: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a farm that was killed before it had computed anything."""
    with monkeypatch.context() as patched:
        patched.setattr("binn_prob.farm.sites._fit_all", lambda *arguments: None)
        _fit(sites, tmp_path / "farm", TWO)
    return tmp_path / "farm"


def _fit(sites: xr.Dataset, folder: Path, cluster: Any, **options: Any) -> Any:
    usual = {"method": SiteNUTS(warmup=20), "seed": 3, "progress": False}
    return fit_sites(SiteModel(), sites, folder, cluster=cluster, **usual | options)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    # what is wrong: arguments, and words of the message
    "another seed": ({"seed": 4}, "the farm of another fit: seed was 3 and is now 4"),
    "another option": ({"method": SiteNUTS()}, "method.warmup was 20 and is now 300"),
    "another method": ({"method": "vi"}, "a cluster for the method 'vi'; expected method 'site_nuts'"),
    "an option beside a method": ({"draws": 3}, "options draws beside a method"),
    "no such seed": ({"seed": -1}, "seed -1"),
    "there already": ({"resume": False}, "holds a farm already"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_at_once(case: str, sites: xr.Dataset, farm: Path) -> None:
    options, words = REFUSED[case]
    with pytest.raises(bp.InputError, match=words):
        _fit(sites, farm, TWO, **{"resume": True} | options)


def test_other_units_data_and_folders_are_refused(sites: xr.Dataset, farm: Path) -> None:
    with pytest.raises(bp.InputError, match="sites_per_unit was 2 and is now 3"):
        _fit(sites, farm, ClusterSettings(sites_per_unit=3), resume=True)
    with pytest.raises(bp.InputError, match="data_fingerprint was"):
        _fit(sites.isel(site=slice(4)), farm, TWO, resume=True)
    with pytest.raises(bp.InputError, match="which holds farm and no farm"):
        _fit(sites, farm.parent, TWO)
    with pytest.raises(bp.InputError, match="where there is no farm"):
        open_sites(farm)
    with pytest.raises(bp.InputError, match="whose sites share a network"):
        fit_sites("binn", sites, farm.parent / "new")


def test_a_cluster_that_is_not_there(sites: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(bp.InputError, match=r"unknown cluster 'moon'; expected one of local, tcp://host:port, slurm"):
        _fit(sites, tmp_path, "moon")
    soon = dask.config.set({"distributed.comm.timeouts.connect": "100ms"})
    with soon, pytest.raises(bp.InputError, match="where no scheduler answers"):
        _fit(sites, tmp_path / "farm", "tcp://127.0.0.1:1")
    monkeypatch.setattr(clusters, "find_spec", lambda name: None)
    with pytest.raises(bp.InputError, match=r"without dask, distributed, zarr, dask-jobqueue.*binn-prob\[cluster\]"):
        _fit(sites, tmp_path / "farm", "slurm")


def test_slurm_is_asked_for_the_jobs_of_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}
    sbatch = tmp_path / "sbatch"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    class Jobs:
        def __init__(self, **options: Any) -> None:
            if "que" in options:
                raise ValueError("unexpected que")
            asked.update(options)

        def adapt(self, **options: int) -> None:
            asked.update(options)

        def job_script(self) -> str:
            return "#!/bin/sh\n# of 100 workers"

        def close(self) -> None:
            asked["closed"] = True

        job_cls = SimpleNamespace(submit_command="sbatch --cluster 'big one'")  # as a site may have set it

    monkeypatch.setattr("dask_jobqueue.SLURMCluster", Jobs)
    sbatch.write_text(f'#!/bin/sh\ncat > {tmp_path}/script; echo "$@" >> {tmp_path}/script\n', encoding="utf-8")
    sbatch.chmod(0o755)
    clusters._slurm(ClusterSettings(address="slurm", workers=100, slurm={"queue": "long", "cores": 16}))
    assert asked == {"queue": "long", "cores": 16, "processes": 16, "memory": "4GB", "minimum": 100, "maximum": 100}
    with pytest.raises(bp.InputError, match=r"cluster.slurm .*unexpected que"):
        clusters._slurm(ClusterSettings(address="slurm", slurm={"que": "long"}))
    assert (tmp_path / "script").read_text(
        encoding="utf-8"
    ) == "#!/bin/sh\n# of 100 workers--cluster big one --test-only\n"

    sbatch.write_text("#!/bin/sh\necho sbatch: error: no such queue >&2; exit 1\n", encoding="utf-8")
    with pytest.raises(bp.InputError, match=r"does not take \(sbatch: error: no such queue\).*correct cluster.slurm"):
        clusters._slurm(ClusterSettings(address="slurm"))
    assert asked["closed"]
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(bp.InputError, match="where sbatch cannot be called"):
        clusters._slurm(ClusterSettings(address="slurm"))


def test_tasks_become_as_long_as_is_wanted() -> None:
    client: Any = SimpleNamespace(nthreads=lambda: {"a": 1, "b": 1})
    tasks = Tasks(client, *[None] * 5)
    assert tasks.units_per_task(1000) == 1  # nothing is known yet
    tasks.seconds += [10.0, 20.0]
    assert tasks.units_per_task(1000) == 4  # a minute
    assert tasks.units_per_task(9) == 2  # all workers are to end together
    assert tasks.units_per_task(1) == 1
    tasks.seconds += [500.0]
    assert tasks.units_per_task(1000) == 1


def test_workers_with_other_software_are_named() -> None:
    def asked(**said: Any) -> None:
        client: Any = SimpleNamespace(run=lambda *arguments, **options: said)
        refuse_other_software(client, {})

    asked(one="", two=OSError("gone"))
    with pytest.raises(bp.InputError, match=r"at the worker two: jax was '1' and is now '2'; expected that of this"):
        asked(one="", two="jax was '1' and is now '2'")
    with pytest.raises(bp.InputError, match="worker one and 1 more: ModuleNotFoundError: no binn_prob"):
        asked(one=ModuleNotFoundError("no\nbinn_prob"), two="python was '1'")


UNSUITED: dict[str, tuple[str, str]] = {
    # what is wrong: the arguments, and words of the message
    "another method": ("fit --model site --method vi,site_nuts --cluster local", "a cluster for the method 'vi'"),
    "no independent sites": ("fit --cluster local", "a cluster for the method 'nuts'"),
    "other devices": ("fit --model site --cluster local --devices 2", "and other devices"),
    "no such cluster": ("fit --model site --cluster moon", "unknown cluster 'moon'"),
    "a comparison": ("compare --config cluster.yaml", "a cluster for a comparison"),
    "no such key": ("fit --config workers.yaml", "unknown key 'worker'"),
}


@pytest.mark.parametrize("case", UNSUITED)
def test_runs_that_a_cluster_cannot_do(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = UNSUITED[case]
    monkeypatch.chdir(tmp_path)
    Path("cluster.yaml").write_text("model: {name: site}\nmethods: [site_nuts]\ncluster: local\n")
    Path("workers.yaml").write_text("model: {name: site}\ncluster: {worker: 3}\n")
    assert cli.main([*arguments.split(), "--out", "out"]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not Path("out").exists()


def test_units_whose_workers_die_are_tried_alone_and_then_given_up() -> None:
    died = SimpleNamespace(exception=lambda: distributed.KilledWorker("task", None, 3))
    store: Any = SimpleNamespace(has=lambda unit: unit == 1)
    tasks = Tasks(None, SimpleNamespace(store=store), None, None, 2, print)
    assert tasks._reasons(died, [1, 2, 3]) == {}
    assert list(tasks.alone) == [2, 3]
    assert tasks._reasons(died, [1]) == {}
    reasons = tasks._reasons(died, [2])
    assert list(reasons) == [2]
    assert reasons[2] == "4 processes died at it, perhaps for lack of memory"  # whatever was said of retries
