"""Predictions of many sites chunk by chunk: the numbers of one prediction of all, however they are cut or broken."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import jax
import numpy as np
import pytest
import xarray as xr
from numpyro.infer import Predictive

import binn_prob as bp
from binn_prob import cli, stores, streaming
from binn_prob.data.landscape import Landscape
from binn_prob.inference import Fit, predictive
from binn_prob.models import BINN, NeuralPrior, SiteModel
from binn_prob.results import plots, summary, summary_store
from binn_prob.settings import Settings
from binn_prob.sites import chosen

pytest.importorskip("zarr")
pytestmark = pytest.mark.usefixtures("soil_that_costs_nothing")

CHUNK, NEW = 3, 8
FITS: dict[str, tuple[Any, dict[str, Any]]] = {
    "a network": (BINN(hidden=(4,)), {}),
    "dropout": (BINN(hidden=(4,)), {"dropout_rate": 0.3, "shared_mask": True}),
    "offsets of each site": (NeuralPrior(hidden=(4,)), {}),
    "independent sites": (SiteModel(), {}),
}
"""Kind of draws → model, and options of its prediction"""


@dataclass(frozen=True)
class Made:
    name: ClassVar[str] = "made"


def from_prior(model: Any, train: xr.Dataset, draws: int = 5) -> Fit:
    """Return a fit whose draws, so many in each of two chains, are those of the prior."""
    encoding = model.encode(train)
    profiles = model.prepare(train, encoding).without_observations()
    drawn = Predictive(model.prior, num_samples=2 * draws)(jax.random.key(0), profiles)
    latent = {site: values.reshape(2, draws, *values.shape[1:]) for site, values in drawn.items()}
    return Fit(Made(), model, train, encoding, latent, jax.random.key(1), 0.0, check=bp.data.validate)


@pytest.fixture(scope="module")
def fits() -> Callable[[str], Fit]:
    """Fits whose draws are their prior's."""
    made: dict[str, Fit] = {}
    train = bp.data.load("synthetic", sites=7, seed=1).assign_coords(site=100 + np.arange(7))

    def get(name: str) -> Fit:
        if name not in made:
            model, options = FITS[name]
            made[name] = replace(from_prior(model, train), options=options)
        return made[name]

    return get


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store of sites that were not fitted, not to be changed."""
    return bp.data.save(bp.data.load("synthetic", sites=NEW, seed=2), tmp_path_factory.mktemp("sites") / "new.zarr")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were memory for three sites only."""
    monkeypatch.setattr(streaming, "chunk_size", lambda *arguments: CHUNK)


def table(path: Path) -> xr.Dataset:
    """Return what is stored."""
    with summary_store.opened(path) as lazy:
        return lazy.load()


def expected(fit: Fit, sites: xr.Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """The columns of the summary of one prediction of all sites, as they are stored."""
    for name, rows in summary.by_site(fit.predict(sites)).groupby("variable"):
        yield (
            str(name),
            np.moveaxis(rows[list(summary.STATISTICS)].to_numpy().reshape(sites.sizes["site"], -1, 7), 2, 1),
        )


@pytest.mark.parametrize("name", FITS)
def test_chunks_say_what_one_prediction_of_all_sites_says(
    name: str, fits: Callable[[str], Fit], new: Path, tmp_path: Path
) -> None:
    fit, data = fits(name), new
    if not fit.model.has_network:
        data = bp.data.save(fit.dataset, tmp_path / "fitted.nc")
    compiled = predictive.draw._cache_size()
    path = streaming.predict(fit, data, tmp_path / "out.zarr", progress=False)
    assert predictive.draw._cache_size() == compiled + 1
    sites, stored = bp.data.load(str(data)), table(path)
    for variable, values in expected(fit, sites):
        np.testing.assert_allclose(stored[variable], values, rtol=1e-6)
        assert stored[variable].dims[:2] == ("site", "statistic")
        assert stored[variable].dtype == np.float32
    for coordinate in ("site", "longitude", "latitude"):
        np.testing.assert_array_equal(stored[coordinate], sites[coordinate])
    assert list(stored["statistic"].values) == list(summary.STATISTICS)
    assert stored["soc_layer"].attrs["units"] == "g C m-3"
    assert stored["parameter_unit"].sel(parameter="cryo") == "m2 yr-1"
    assert (stored.attrs["method"], stored.attrs["draws"]) == ("made", 5)
    xr.testing.assert_equal(xr.open_zarr(path, chunks=None)["processes"], stored["processes"])  # as users open it


def test_no_more_is_read_at_once_than_a_chunk(
    fits: Callable[[str], Fit], new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    load = xr.Dataset.load

    def counted(dataset: xr.Dataset, *arguments: Any, **options: Any) -> xr.Dataset:
        read.append(dataset.sizes["site"])
        return load(dataset, *arguments, **options)

    monkeypatch.setattr(xr.Dataset, "load", counted)
    streaming.predict(fits("a network"), new, tmp_path / "out.zarr", progress=False)
    assert max(read) == CHUNK
    assert sum(read) == 1 + 2 * NEW  # one for its form; all to be checked; all to be predicted


class Killed(BaseException):
    """As if the process had been killed."""


def test_a_prediction_that_was_killed_is_finished(
    fits: Callable[[str], Fit], new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, path = fits("dropout"), tmp_path / "out.zarr"
    whole = table(streaming.predict(fit, new, tmp_path / "whole.zarr", progress=False))
    write = stores.write

    def killed(store: Any, first: int, piece: xr.Dataset) -> None:
        write(store, first, piece.drop_vars("soc_layer") if first == CHUNK else piece)
        if first == CHUNK:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(stores, "write", killed)
        with pytest.raises(Killed):
            streaming.predict(fit, new, path, progress=False)
    with pytest.raises(bp.InputError, match="not complete"):
        table(path)
    with pytest.raises(bp.InputError, match="there already"):
        streaming.predict(fit, new, path, progress=False)
    with pytest.raises(bp.InputError, match="begun with another fit"):
        streaming.predict(fits("a network"), new, path, resume=True, progress=False)
    other = bp.data.save(bp.data.load("synthetic", sites=NEW, seed=3), tmp_path / "other.nc")
    with pytest.raises(bp.InputError, match="begun with another data"):
        streaming.predict(fit, other, path, resume=True, progress=False)

    firsts: list[int] = []
    draws = Fit.draws_by_layer
    monkeypatch.setattr(Fit, "draws_by_layer", lambda *given: firsts.append(given[2]) or draws(*given))
    xr.testing.assert_identical(
        table(streaming.predict(fit, new, path, resume=True, progress=False)).drop_attrs(), whole.drop_attrs()
    )
    assert firsts == [CHUNK, 2 * CHUNK]
    streaming.predict(fit, new, path, resume=True, progress=False)
    assert len(firsts) == 2


def test_a_wrong_site_is_found_before_anything_is_computed(
    fits: Callable[[str], Fit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fit, "draws_by_layer", lambda *given: pytest.fail("computed"))
    good = bp.data.load("synthetic", sites=NEW, seed=2)
    fit, out = fits("a network"), tmp_path / "out.zarr"
    wrong = good["soil_temperature"].where(good["site"] < NEW - 1, 3.0)
    bad = {
        "outside": (good.assign(soil_temperature=wrong.assign_attrs(units="K")), "soil_temperature is outside"),
        "twice": (good.assign_coords(site=np.minimum(good["site"], NEW - 2)), "sites twice"),
        "covariates": (good.isel(continuous_covariate=slice(2)), "without the continuous covariates"),
    }
    for name, (sites, words) in bad.items():
        sites.to_netcdf(tmp_path / f"{name}.nc")
        with pytest.raises(bp.InputError, match=words):
            streaming.predict(fit, tmp_path / f"{name}.nc", out, progress=False)
    data = bp.data.save(good, tmp_path / "good.nc")
    mixture = xr.concat([fit.dataset, good.isel(site=[0])], "site", data_vars="minimal")
    mixed = bp.data.save(mixture, tmp_path / "mixed.nc")
    for kind, path, words in (
        ("offsets of each site", mixed, "7 sites that were fitted among 8"),
        ("independent sites", data, "not fitted to"),
    ):
        with pytest.raises(bp.InputError, match=words):
            streaming.predict(fits(kind), path, out, progress=False)
    for path, target, words in (
        (tmp_path / "nowhere.zarr", out, "no file"),
        (tmp_path / "sites.csv", out, "a netCDF file"),
        (data, tmp_path / "out.nc", "ends in .zarr"),
        (data, tmp_path / "no" / "out.zarr", "does not exist"),
    ):
        with pytest.raises(bp.InputError, match=words):
            streaming.predict(fit, path, target, progress=False)
    assert not out.exists()


def test_a_chunk_fits_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    size = streaming.chunk_size(1000, 8_000.0, 1.0)
    assert 100 < size < 2**30 / (1000 * 47 * 8)
    assert streaming.chunk_size(2000, 8_000.0, 1.0) < size
    assert streaming.chunk_size(1000, 8_000.0, 2.0) > 1.9 * size
    assert streaming.chunk_size(50, 8_000.0, 1.0, kept=512) % 512 == 0
    for arguments in ((1000, 8_000.0, 1e-4), (10, 8_000.0, 1.0, 200_000), (10, 8_000.0, float("nan"))):
        with pytest.raises(bp.InputError, match=r"at least .* GiB"):
            streaming.chunk_size(*arguments)


RUN = """
data: {sites: 8}
split: {test_fraction: 0.25}
model: {options: {hidden: [4]}}
methods: {vi: {draws: 8, steps: 100}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with draws that are made up, not to be changed."""
    return made_run(tmp_path_factory.mktemp("run"), RUN)


def made_run(folder: Path, asked: str, draws: int = 5) -> Path:
    """Fill the folder of a run with draws that are made up."""
    (folder / "run.yaml").write_text(asked)
    settings = Settings.from_yaml(folder / "run.yaml").written_out()
    settings.to_yaml(folder / "settings.yaml")
    train = chosen(settings).train
    (method,) = settings.build_methods().values()
    origin = {"data_fingerprint": bp.data.fingerprint(train), "seed": 0}
    made = replace(from_prior(settings.build_model(), train, draws), method=method, attributes=origin)
    bp.results.storage.save(made.posterior(), folder / "posterior_vi.nc")
    return folder


def test_a_stream_from_the_shell(
    run: Path, new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "pdf", lambda figure: b"")  # takes seconds
    out = tmp_path / "out"
    arguments = ["predict", str(run), "--data", str(new), "--stream", "--out", str(out)]
    assert cli.main([*arguments, "--memory", "0.5"]) == 3
    answer = capsys.readouterr()
    assert "vertical_transport_rate" in answer.out
    assert "site/s" in answer.err
    assert {file.name for file in out.iterdir()} == {"lock", "maps_vi.pdf", "maps_vi.png", "prediction_vi.zarr"}
    assert cli.main([*arguments, "--json", "--quiet", "--allow-unconverged"]) == 2
    assert "--resume" in capsys.readouterr().err
    monkeypatch.setattr(Fit, "draws_by_layer", lambda *given: pytest.fail("computed again"))
    assert cli.main([*arguments, "--json", "--quiet", "--allow-unconverged", "--resume"]) == 0
    (rows,) = json.loads(capsys.readouterr().out).values()
    processes = summary.processes(bp.load_fit(run).predict(bp.data.load(str(new))))
    for column in ("mean", "sd", "sd_over_sites"):
        assert [row[column] for row in rows] == pytest.approx(processes[column], rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--data synthetic --stream", "'synthetic' to be predicted as a stream"),
        ("--data nowhere.zarr --stream", "no file"),
        ("--data nowhere.zarr --stream --sites 3", "--sites with --stream"),
        ("--data synthetic --memory 2 --resume", "--memory and --resume without --stream"),
    ],
)
def test_wrong_streams_are_refused_in_one_line(
    arguments: str, words: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["predict", str(run), *arguments.split(), "--out", str(out)]) == 2
    answer = capsys.readouterr().err
    assert answer.count("\n") == 1
    assert words in answer
    assert not out.exists()


STREAMED = """
import sys

import binn_prob as bp
from binn_prob.memory import watched

run, cells, out, memory = sys.argv[1:]
with watched() as peak:
    bp.streaming.predict(bp.load_fit(run), cells, out, memory=float(memory), progress=False)
print(peak.gibibytes)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell the largest memory of a process")
def test_memory_does_not_grow_with_the_number_of_sites(tmp_path: Path) -> None:
    """Not by half of what either the sites or their draws would take, were those of all sites in memory at once.

    The sites by which the two predictions differ take 0.058 GiB, their draws 0.059: either is twice the bound.
    """
    few, many, draws, memory = 2000, 16_000, 12, 0.05  # some 400 sites at once
    Landscape(NEW).write(tmp_path / "fitted.zarr")
    (tmp_path / "run").mkdir()
    run = made_run(tmp_path / "run", RUN.replace("{sites: 8}", f"{{name: {tmp_path / 'fitted.zarr'}}}"), draws // 2)
    one_heap = os.environ | {"MALLOC_ARENA_MAX": "1"}  # with more, how much is free and held varies by 0.02 GiB

    def started(sites: int) -> subprocess.Popen[str]:
        cells = Landscape(sites, grid=True).write(tmp_path / f"{sites}.zarr")
        command = [sys.executable, "-c", STREAMED, run, cells, tmp_path / f"predicted-{sites}.zarr", memory]
        return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=one_heap)

    running = [started(sites) for sites in (few, many)]
    answers = [one.communicate()[0] for one in running]
    assert [one.returncode for one in running] == [0, 0]
    peak_of_few, peak_of_many = map(float, answers)
    with xr.open_zarr(tmp_path / f"{many}.zarr", chunks=None) as cells:
        of_a_site = cells.nbytes / many
    with summary_store.opened(tmp_path / f"predicted-{many}.zarr") as predicted:
        of_its_draws = 8 * draws * sum(predicted[name][0, 0].size for name in ("parameters", "processes", "soc_layer"))
    assert peak_of_many - peak_of_few < (many - few) * min(of_a_site, of_its_draws) / 2**30 / 2


@pytest.fixture
def bench(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script that measures the table of a million cells."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    yield importlib.import_module("streaming")
    del sys.modules["streaming"]


@pytest.mark.long
def test_the_table_of_many_cells_is_measured(
    bench: ModuleType, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "SETTINGS", bench.SETTINGS.replace("draws: {draws}", "draws: {draws}, steps: 20"))
    found = bench.rows(tmp_path, cells=20, profiles=8, draws=5, memory=0.1)
    commands = ("data landscape cells.zarr --sites 20 --grid", "predict run --data cells.zarr --stream")
    assert [row[:2] for row in found] == [(f"`binn-prob {command}`", "20") for command in commands]
    for row, written in zip(found, ("cells.zarr", "predicted"), strict=True):
        (*seconds, memory, disk), units = zip(*(cell.split() for cell in row[2:]), strict=True)
        assert units == ("s", "s", "GiB", "GB")
        assert min(map(float, seconds)) > 0 or written == "cells.zarr"  # so few are made in no time
        assert float(memory) > 0.1 or sys.platform != "linux"
        assert float(disk) == pytest.approx(bench.size(tmp_path / written) / 1e9, rel=0.1)
    stored = table(tmp_path / "predicted" / "prediction_mc_dropout.zarr")
    assert (stored.sizes["site"], stored.attrs["draws"]) == (20, 5)
    assert f"| {' | '.join(bench.HEAD)} |" in (root / "docs" / "scaling.md").read_text(encoding="utf-8")
