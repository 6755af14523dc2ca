"""Sites in files: what is written is read again, and what is no table of sites is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from binn_prob import InputError, data
from binn_prob.data.stored import stored


@pytest.fixture(params=["sites.nc", "sites.zarr"])
def name(request: pytest.FixtureRequest) -> str:
    if request.param.endswith(".zarr"):
        pytest.importorskip("zarr")
    return str(request.param)


def test_sites_survive_a_file(name: str, tmp_path: Path) -> None:
    sites = data.load("synthetic", sites=5, seed=1)
    path = data.save(sites, tmp_path / name)
    again = data.load(f"{path}/" if path.is_dir() else str(path))
    xr.testing.assert_identical(again, data.validate(sites))
    assert data.fingerprint(again) == data.fingerprint(sites)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert list(data.load(str(path), sites=[3, 1])["site"].values) == [3, 1]
    assert data.load(str(path), sites=2, seed=0).sizes["site"] == 2


def test_the_grid_has_a_name(new_york_folder: Path) -> None:
    grid = data.load("new-york-grid", folder=new_york_folder)
    assert grid.attrs["name"] == "new-york-grid"
    assert not grid["soc"].notnull().any()


def test_what_is_no_file_of_sites_is_refused(tmp_path: Path) -> None:
    sites = data.load("synthetic", sites=3)
    with pytest.raises(InputError, match=r"ends in \.nc"):
        data.save(sites, tmp_path / "sites.csv")
    with pytest.raises(InputError, match="litter_input is missing"):
        data.save(sites.drop_vars("litter_input"), tmp_path / "sites.nc")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="no file"):
        data.load(str(tmp_path / "sites.nc"))
    (tmp_path / "sites.nc").write_bytes(b"no sites")
    with pytest.raises(InputError, match="unreadable file"):
        data.load(str(tmp_path / "sites.nc"))
    with pytest.raises(InputError, match="a folder for"):
        data.load(str(tmp_path / "sites.nc"), folder=tmp_path)


def test_what_is_no_store_of_sites_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    with pytest.raises(InputError, match="no file"):
        data.load(str(tmp_path / "sites.zarr"))
    (tmp_path / "sites.zarr").mkdir()
    with pytest.raises(InputError, match="unreadable file"):
        data.load(str(tmp_path / "sites.zarr"))
    with pytest.raises(InputError, match="there already"):
        data.save(data.load("synthetic", sites=3), tmp_path / "sites.zarr")


def test_without_zarr_a_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(InputError, match=r'run  pip install "binn-prob\[zarr\]"'):
        data.save(data.load("synthetic", sites=3), tmp_path / "sites.zarr")
    (tmp_path / "there.zarr").mkdir()
    with pytest.raises(InputError, match="without the library"):
        data.load(str(tmp_path / "there.zarr"))


def test_sites_are_read_a_few_at_a_time(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites = data.load("synthetic", sites=7, seed=1)
    path = data.save(sites, tmp_path / name)
    read: list[int] = []
    load = xr.Dataset.load
    monkeypatch.setattr(xr.Dataset, "load", lambda part: read.append(part.sizes["site"]) or load(part))
    with stored(path) as lazy:
        assert len(lazy) == 7
        assert lazy.chunk == (7 if name.endswith(".zarr") else 1)
        np.testing.assert_array_equal(lazy.ids, sites["site"])
        assert read == []
        pieces = list(lazy.pieces(3))
        assert read == [3, 3, 1]
        xr.testing.assert_identical(xr.concat(pieces, "site", data_vars="minimal"), data.validate(sites))
        assert 1.0 <= sum(piece.nbytes for piece in pieces) / (7 * lazy.bytes_a_site) < 1.2  # each has names beside
        assert lazy.examined(3) == lazy.examined(3) != lazy.examined(4)


@pytest.mark.parametrize(
    ("dimensions", "chunks"), [(("layer", "month", "site"), (20, 12, 2)), (("site", "layer", "month"), (2, 20, 12))]
)
def test_sites_may_lie_along_any_dimension(
    dimensions: tuple[str, ...], chunks: tuple[int, ...], tmp_path: Path
) -> None:
    sites = data.load("synthetic", sites=5, seed=1)
    sites["soil_temperature"] = sites["soil_temperature"].transpose(*dimensions)
    sites.to_netcdf(tmp_path / "sites.nc", encoding={"soil_temperature": {"chunksizes": chunks}})
    with stored(tmp_path / "sites.nc") as lazy:
        assert lazy.chunk == 2
        xr.testing.assert_equal(lazy.read(2, 2), data.validate(sites.isel(site=slice(2, 4))))


def test_a_piece_that_is_wrong_is_named(name: str, tmp_path: Path) -> None:
    sites = data.load("synthetic", sites=5, seed=1)
    path = data.save(sites, tmp_path / name)
    with stored(path) as lazy:
        whole = lazy.lazy.load()
    whole["soc"][4, 0] = -1.0
    (tmp_path / "wrong").mkdir()
    wrong = tmp_path / "wrong" / "sites.nc"
    whole.drop_encoding().to_netcdf(wrong)
    with stored(wrong) as lazy:
        assert lazy.read(0, 4).sizes["site"] == 4
        with pytest.raises(InputError, match=r"soc is outside .* at 1 site \(4\)"):
            lazy.read(4, 4)
