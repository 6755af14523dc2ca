"""Landscapes: sites of any number, alike where they are near, the same however many are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from binn_prob import cli
from binn_prob.data import load, synthetic, validate
from binn_prob.data.landscape import BLOCK, Landscape
from binn_prob.errors import InputError


@pytest.fixture(scope="module")
def scattered() -> xr.Dataset:
    return Landscape(2 * BLOCK, seed=1).block(0)


@pytest.fixture(scope="module")
def cells() -> xr.Dataset:
    return Landscape(BLOCK, seed=1, grid=True).block(0)


def test_blocks_are_valid_sites(scattered: xr.Dataset, cells: xr.Dataset) -> None:
    for sites in (scattered, cells):
        xr.testing.assert_identical(validate(sites), sites)
        assert sites["site"].to_numpy().tolist() == list(range(BLOCK))
    assert scattered["soc"].notnull().any("observation").all()
    assert not cells["soc"].notnull().any()
    assert cells.sizes["observation"] == 1


def test_few_sites_are_the_first_of_many(scattered: xr.Dataset) -> None:
    few = Landscape(100, seed=1).block(0)
    xr.testing.assert_identical(few, scattered.isel(site=slice(100)))
    assert not few["soc"].equals(Landscape(100, seed=2).block(0)["soc"])


def test_neighbours_are_alike() -> None:
    cells = Landscape(50_000, seed=1, grid=True).block(40)
    row = cells.isel(site=cells["latitude"] == cells["latitude"][0])
    for name in ("elevation", "clay", "sand"):
        values = row["continuous"].sel(continuous_covariate=name).to_numpy()
        assert np.corrcoef(values[1:], values[:-1])[0, 1] > 0.5, name  # of sites that are drawn one by one 0 ± 0.06
        assert abs(np.corrcoef(values[100:], values[:-100])[0, 1]) < 0.9, name


def test_cells_lie_on_a_grid(cells: xr.Dataset) -> None:
    columns, rows = (np.unique(cells[name]) for name in ("longitude", "latitude"))
    assert len(columns) * len(rows) == BLOCK
    np.testing.assert_allclose(np.diff(columns), np.diff(rows)[0])
    assert columns.min() > -125 and columns.max() < -65 and rows.min() > 40 and rows.max() < 70  # noqa: PT018


def test_fields_have_the_distributions_of_sites_that_are_drawn_one_by_one() -> None:
    made = xr.concat([Landscape(BLOCK, seed=seed).block(0) for seed in range(6)], "site", data_vars="minimal")
    drawn = synthetic.generate(sites=made.sizes["site"], seed=0)
    for name in ("elevation", "clay", "sand", "acidity", "mean_temperature"):
        ours, theirs = (one["continuous"].sel(continuous_covariate=name) for one in (made, drawn))
        assert abs(float(ours.mean() - theirs.mean())) < 0.35 * float(theirs.std()), name
        assert 0.75 < float(ours.std() / theirs.std()) < 1.25, name


@pytest.mark.parametrize("grid", [False, True])
def test_a_store_holds_the_blocks(grid: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("zarr")
    path, count = tmp_path / "land.zarr", BLOCK + 5
    options = ["--sites", str(count), "--data-seed", "3", "--quiet", *(["--grid"] if grid else [])]
    assert cli.main(["data", "landscape", str(path), *options]) == 0
    assert capsys.readouterr().out.split() == [str(path)]
    land = Landscape(count, seed=3, grid=grid)
    whole = xr.concat([land.block(number) for number in range(land.blocks)], "site", data_vars="minimal")
    stored = load(str(path))
    assert stored["soil_temperature"].dtype == np.float32
    xr.testing.assert_allclose(stored, whole, rtol=1e-6)
    assert stored.attrs == whole.attrs
    for name in ("site", "longitude", "latitude", "categorical", "bedrock_layer"):
        np.testing.assert_array_equal(stored[name], whole[name])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    for wrong, words in (({"sites": 0}, "sites 0"), ({"seed": -1}, "seed -1"), ({"noise": -1.0}, "noise -1")):
        with pytest.raises(InputError, match=words):
            Landscape(**({"sites": 3} | wrong))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"ends in \.zarr"):
        Landscape(3).write(tmp_path / "land.nc")
