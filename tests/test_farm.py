"""Farms of sites: the draws of ordinary fits, whoever computes them and however often a worker dies."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from distributed import LocalCluster, get_worker

import binn_prob as bp
from binn_prob import cli
from binn_prob.farm import ClusterSettings, fit_sites, fitted, open_sites, software, units
from binn_prob.farm import sites as handing_out
from binn_prob.inference import FitError, SiteNUTS
from binn_prob.models import SiteModel
from binn_prob.provenance import git_commit
from binn_prob.results import convergence, storage

pytestmark = pytest.mark.usefixtures("soil_that_costs_nothing")

QUICK = SiteNUTS(chains=2, warmup=20, draws=20, thinning=1, rounds=1, most_steps=8, sites_at_once=1)
SEED = 3
WORKER = str(Path(__file__).with_name("farm_worker.py"))


@pytest.fixture(scope="module")
def sites() -> xr.Dataset:
    """Of which some change places when they are divided into units."""
    return bp.data.load("synthetic", sites=5, seed=0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterSettings]:
    """A scheduler and a worker in this process."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    ) as started:  # fmt: skip
        yield ClusterSettings(address=started.scheduler_address, sites_per_unit=2, retries=1)


@pytest.fixture(scope="module")
def farmed(sites: xr.Dataset, cluster: ClusterSettings, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A farm that nothing has disturbed: three units, the last of one site."""
    return _fit(sites, tmp_path_factory.mktemp("farm") / "whole", cluster)


@pytest.fixture
def copy(farmed: Any, tmp_path: Path) -> Path:
    """A copy of its folder."""
    return Path(shutil.copytree(farmed.store.folder, tmp_path / "farm"))


def _fit(sites: xr.Dataset, folder: Path, cluster: Any, **options: Any) -> Any:
    return fit_sites(
        SiteModel(), sites, folder, cluster=cluster, **{"method": QUICK, "seed": SEED, "progress": False} | options
    )


def _bytes(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files of the Zarr store of a farm."""
    root = folder / "posterior.zarr"
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def test_a_unit_has_the_draws_of_an_ordinary_fit(farmed: Any, sites: xr.Dataset) -> None:
    whole = farmed.tree()
    order = units.arranged(sites)
    for first in range(0, 5, 2):
        own = sites.isel(site=order[first : first + 2])
        fit = bp.fit(SiteModel(), own, QUICK, seed=units.unit_seed(SEED, own["site"].values[0]), progress=False)
        tree = fit.posterior()
        assert whole.children.keys() == tree.children.keys()
        for name, group in tree.children.items():
            xr.testing.assert_identical(
                whole[name].to_dataset().sel(site=own["site"]).drop_attrs(), group.to_dataset().drop_attrs()
            )
    np.testing.assert_array_equal(whole["posterior"]["site"], sites["site"])
    assert whole["posterior/parameters"].dims == ("chain", "draw", "site", "parameter")
    assert (whole.attrs["seed"], whole.attrs["data_fingerprint"]) == (SEED, bp.data.fingerprint(sites))
    assert whole["posterior/soc_layer"].attrs == {"units": "g C m-3"}


def test_sites_with_about_as_many_observations_go_together() -> None:
    soc = np.full((4, 20), np.nan)
    for site, number in enumerate((20, 3, 0, 8)):
        soc[site, :number] = 1.0
    assert units.arranged(xr.Dataset({"soc": (("site", "observation"), soc)})).tolist() == [1, 2, 3, 0]


def test_the_seed_of_a_unit_is_its_own() -> None:
    seeds = {units.unit_seed(seed, first) for seed in range(10) for first in range(100)}
    assert len(seeds) == 1000
    assert max(seeds) < 2**32


def test_a_farm_is_a_fit(farmed: Any, sites: xr.Dataset) -> None:
    tree, fit = farmed.tree(), farmed.fit()
    assert fit.verdict == convergence.verdict(tree)
    again = fit.posterior()
    for name in ("unconstrained_posterior", "sample_stats"):
        xr.testing.assert_equal(again[name].to_dataset(), tree[name].to_dataset())
    np.testing.assert_allclose(again["posterior/parameters"], tree["posterior/parameters"], rtol=1e-12)
    judged = convergence.summarise(tree)
    xr.testing.assert_equal(farmed.convergence.sites, judged.sites)
    assert farmed.convergence.ess_bulk_min == judged.ess_bulk_min


def test_a_store_is_opened_lazily(farmed: Any) -> None:
    lazy = open_sites(farmed.store.folder)
    values = lazy["posterior/parameters"]
    assert values.chunks is not None
    assert max(values.chunksizes["site"]) == 2
    xr.testing.assert_equal(
        values.sel(site=3).load().transpose("chain", "draw", "parameter"),
        farmed.tree()["posterior/parameters"].sel(site=3),
    )
    assert 0.0 < farmed.gibibytes() < 0.1


def test_what_is_there_is_not_fitted_again(
    copy: Path, sites: xr.Dataset, cluster: ClusterSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, fitted_now, fit = _bytes(copy), [], units._fit
    lost = copy / "units" / "000001.json"
    lost.unlink()
    shutil.rmtree(copy / "posterior.zarr" / "posterior" / "parameters" / "c" / "1")  # as if it had been half-written
    with pytest.raises(bp.InputError, match="2 sites are missing"):
        open_sites(copy)

    def counted(farm: Any, unit: int, own: xr.Dataset) -> float:
        fitted_now.append(unit)
        (copy / "units" / ".000001.json.killed.part").touch()  # what a worker leaves that is killed while others go on
        (copy / ".posterior.zarr.killed.part" / "posterior").mkdir(parents=True)
        return fit(farm, unit, own)

    monkeypatch.setattr(units, "_fit", counted)
    _fit(sites, copy, cluster, resume=True)
    assert fitted_now == [1]
    assert _bytes(copy) == whole
    assert not list(copy.rglob("*.part"))
    _fit(sites, copy, cluster, resume=True)
    assert fitted_now == [1]


def test_a_worker_with_other_software_computes_nothing(
    sites: xr.Dataset, cluster: ClusterSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its draws would not be those of the others."""
    sent: list[bytes] = []

    def packed(*arguments: Any) -> bytes:
        sent.append(units.packed(*arguments))
        return sent[-1]

    monkeypatch.setattr("binn_prob.farm.tasks.packed", packed)
    monkeypatch.setattr("binn_prob.farm.sites.software", lambda: software.software() | {"git_commit": "abc"})
    with pytest.raises(bp.InputError, match=r"at the worker tcp://[^ ]*: git_commit was 'abc' and is now"):
        _fit(sites, tmp_path / "farm", cluster)
    assert not sent
    monkeypatch.setattr("binn_prob.farm.sites.refuse_other_software", lambda *arguments: None)  # it comes later
    words = (
        r"none with that of this process: tcp://[^ ]*: git_commit was 'abc' and is now .*; 0 units of sites are kept"
    )
    with pytest.raises(FitError, match=words):
        _fit(sites, tmp_path / "farm", cluster, resume=True)
    assert len(sent) <= 2
    assert not list((tmp_path / "farm" / "units").iterdir())


def test_a_farm_goes_on_without_a_worker_with_other_software(
    sites: xr.Dataset, farmed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_software(expected: Any, dask_worker: Any = None) -> str:
        return "jax was '1' and is now '2'" if (dask_worker or get_worker()).name == 1 else ""

    monkeypatch.setattr("binn_prob.farm.sites.refuse_other_software", lambda *arguments: None)  # it comes later
    monkeypatch.setattr("binn_prob.farm.software.other_software", other_software)
    monkeypatch.setattr("binn_prob.farm.units.other_software", other_software)
    said: list[str] = []
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    ) as two:  # fmt: skip
        other = two.workers[1].address
        at = ClusterSettings(address=two.scheduler_address, sites_per_unit=2, retries=0)
        _fit(sites, tmp_path / "farm", at, say=said.append)
    assert said[1:] == [f"sent away a worker with other software, {other}: jax was '1' and is now '2'"]
    assert _bytes(tmp_path / "farm") == _bytes(farmed.store.folder)


def test_a_unit_that_fails_is_tried_again_and_costs_no_other(
    sites: xr.Dataset, cluster: ClusterSettings, farmed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, fit = [], units._fit

    def failing(farm: Any, unit: int, own: xr.Dataset) -> float:
        tried.append(unit)
        if unit == 1 or (unit == 2 and tried.count(2) == 1):
            raise FloatingPointError("no\nnumber")
        return fit(farm, unit, own)

    with monkeypatch.context() as patched:
        patched.setattr(units, "_fit", failing)
        patched.setattr("binn_prob.inference.base.git_commit", lambda: "one made meanwhile")
        with pytest.raises(
            FitError, match=r"1 units of sites could not be fitted \(tried 2 times, FloatingPointError: no number\)"
        ) as caught:
            _fit(sites, tmp_path / "farm", cluster)
    assert "their sites are 0, 3;" in str(caught.value)
    assert sorted(tried) == [0, 1, 1, 2, 2]
    _fit(sites, tmp_path / "farm", cluster, resume=True)
    assert _bytes(tmp_path / "farm") == _bytes(farmed.store.folder)


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where worker processes leave their process ids."""
    monkeypatch.setenv("FARM_WORKERS", str(tmp_path / "workers"))
    monkeypatch.setenv("FARM_COMMIT", git_commit())
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    (tmp_path / "workers").mkdir()
    return tmp_path / "workers"


@pytest.mark.slow
def test_a_killed_worker_loses_its_unit_alone(sites: xr.Dataset, farmed: Any, tmp_path: Path, workers: Path) -> None:
    first = tmp_path / "farm" / "units" / "000000.json"
    written: list[int] = []

    def kill() -> None:
        _wait_for(first)
        written.append(first.stat().st_mtime_ns)
        (worker,) = workers.iterdir()
        os.kill(int(worker.name), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with dask.config.set({"distributed.worker.preload": [WORKER]}):
        _fit(sites, tmp_path / "farm", ClusterSettings(workers=1, sites_per_unit=2))
    killer.join(timeout=10)
    assert len(list(workers.iterdir())) == 2
    assert first.stat().st_mtime_ns == written[0]
    assert _bytes(tmp_path / "farm") == _bytes(farmed.store.folder)


@pytest.mark.slow
def test_a_farm_goes_on_after_its_scheduler_was_killed(
    sites: xr.Dataset, cluster: ClusterSettings, farmed: Any, tmp_path: Path, workers: Path
) -> None:
    where = tmp_path / "scheduler.json"
    common = ("--scheduler-file", str(where), "--no-dashboard")
    with ExitStack() as stack:

        def started(role: str, *arguments: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", f"distributed.cli.dask_{role}", *common, *arguments]
            process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            stack.callback(process.kill)
            return process

        scheduler = started("scheduler", "--host", "127.0.0.1", "--port", "0")
        started("worker", "--no-nanny", "--nthreads", "1", "--preload", WORKER)
        _wait_for(where)

        def kill() -> None:
            _wait_for(tmp_path / "farm" / "units" / "000000.json")
            scheduler.kill()

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        address = json.loads(where.read_text(encoding="utf-8"))["address"]
        with pytest.raises(
            FitError, match="connection to the scheduler was lost; 1 units of sites are kept, and resume"
        ):
            _fit(sites, tmp_path / "farm", ClusterSettings(address=address, sites_per_unit=2))
        killer.join(timeout=10)
        assert len(list(workers.iterdir())) == 1
    _fit(sites, tmp_path / "farm", cluster, resume=True)
    assert _bytes(tmp_path / "farm") == _bytes(farmed.store.folder)


def _wait_for(file: Path) -> None:
    last = time.monotonic() + 120
    while not file.exists() or not file.stat().st_size:
        assert time.monotonic() < last, f"no {file}"
        time.sleep(0.002)


def test_a_damaged_store_is_refused(farmed: Any, copy: Path) -> None:
    shutil.rmtree(copy / "posterior.zarr" / "posterior" / "parameters" / "c" / "1")
    damaged = replace(farmed, store=replace(farmed.store, folder=copy))
    with pytest.raises(bp.InputError, match=r"damaged at the sites 0, 3.*remove .*000001.json"):
        damaged.tree()


RUN = """
name: fit
split: {test_fraction: 0.0}
model: {name: site}
seed: 3
methods: {site_nuts: {chains: 2, warmup: 20, draws: 20, thinning: 1, rounds: 1, most_steps: 8, sites_at_once: 1}}
data: {sites: 5}
cluster: {sites_per_unit: 2}
"""


@pytest.fixture
def run(
    cluster: ClusterSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run ``binn-prob fit``, on the cluster of the tests unless another is named; its status and what it said."""
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(RUN)

    def fit(*arguments: str, at: str = cluster.address) -> tuple[int, str]:
        status = cli.main(["fit", "--config", "run.yaml", "--out", "out", "--cluster", at, *arguments])
        return status, " ".join(capsys.readouterr().err.split())

    return fit


def test_a_run_on_a_cluster(run: Callable[..., tuple[int, str]], farmed: Any) -> None:
    shutil.copytree(farmed.store.folder, "out/farm_site_nuts")  # as if it had been killed before its end
    Path("out/farm_site_nuts/units/000002.json").unlink()
    bp.Settings.from_yaml("run.yaml").written_out().to_yaml("out/settings.yaml")
    status, said = run("--resume")
    assert status == 3, said  # so short a fit has not converged
    assert "1 units of sites to fit, 2 there already; dashboard: " in said
    assert "site_nuts: 100%" in said
    kept = {
        "convergence_site_nuts.csv",
        "farm_site_nuts",
        "posterior_site_nuts.nc",
        "requirements.txt",
        "run.json",
        "settings.yaml",
    }
    left = {file.name for file in Path("out").iterdir()}
    assert kept <= left
    assert "checkpoints" not in left
    tree, whole = storage.load("out/posterior_site_nuts.nc"), farmed.tree()
    for name, group in whole.children.items():
        xr.testing.assert_identical(tree[name].to_dataset(), group.to_dataset())
    fit = bp.load_fit("out")
    assert fit.verdict == farmed.convergence.verdict
    assert fit.predict(fit.dataset.isel(site=[4, 0]))["posterior"].sizes["site"] == 2
    verdicts = json.loads(Path("out/run.json").read_text())["verdicts"]
    assert verdicts["site_nuts"]["reasons"] == list(fit.verdict.reasons)
    assert bp.Settings.from_yaml("out/settings.yaml").cluster.sites_per_unit == 2


def test_a_run_that_does_not_fit_into_memory(
    run: Callable[..., tuple[int, str]], farmed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(farmed.store.folder, "out/farm_site_nuts")
    bp.Settings.from_yaml("run.yaml").written_out().to_yaml("out/settings.yaml")
    monkeypatch.setattr(fitted.FittedSites, "fits_in_memory", lambda self: False)
    status, said = run("--resume", "--allow-unconverged")
    assert status == 0, said
    assert "open_sites" in said
    assert not Path("out/posterior_site_nuts.nc").exists()
    assert Path("out/convergence_site_nuts.csv").exists()
    assert json.loads(Path("out/run.json").read_text())["status"] == "complete"


def test_a_run_with_units_that_fail(run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(farm: Any, unit: int, own: xr.Dataset) -> float:
        raise FloatingPointError("no number")

    monkeypatch.setattr(units, "_fit", failing)
    monkeypatch.setattr(handing_out, "_NAMED", 3)
    status, said = run("--quiet")
    assert status == 1
    reason = "3 units of sites could not be fitted (tried 3 times, FloatingPointError: no number)"
    assert f"site_nuts could not fit: {reason}; their sites are 1, 2, 0 and 2 more; all others are kept" in said
    assert json.loads(Path("out/run.json").read_text())["status"] == "failed"
