"""Sites in files: what is written is read again, and what is no table of sites is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from binn_prob import InputError, data


def test_sites_survive_a_file(tmp_path: Path) -> None:
    sites = data.load("synthetic", sites=5, seed=1)
    path = data.save(sites, tmp_path / "sites.nc")
    again = data.load(str(path))
    xr.testing.assert_identical(again, data.validate(sites))
    assert data.fingerprint(again) == data.fingerprint(sites)
    assert [file.name for file in tmp_path.iterdir()] == ["sites.nc"]
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
