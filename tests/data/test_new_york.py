from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from binn_prob.clm5.forcing import Forcing
from binn_prob.data import new_york, validate
from binn_prob.data.new_york_tables import CATEGORICAL, COLUMNS, CONTINUOUS
from binn_prob.data.observations import below_bedrock
from binn_prob.errors import InputError


def edit(path: Path, change: Callable[[np.ndarray], None]) -> None:
    """Change the numbers of a published file."""
    values = np.load(path) if path.suffix == ".npy" else np.loadtxt(path, delimiter=",")
    change(values)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        np.savetxt(path, values, delimiter=",")


def set_to(value: float, *place: int) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[place] = value

    return change


class TestMadeUpFiles:
    def test_whole_files_are_valid(self, published: Path) -> None:
        dataset = new_york.read(published)
        assert dataset["site"].to_numpy().tolist() == [11, 12, 13, 14, 15]
        assert dataset.sizes["observation"] == 3
        assert set(json.loads(dataset.attrs["exclusions"]).values()) == {0}
        assert dataset["longitude"].to_numpy().tolist() == [1, 2, 1, 2, 1]
        np.testing.assert_array_equal(dataset["depth"][0], [0.05, 0.3, 0.8])

    def test_exclusions_are_counted_under_their_reason(self, published: Path) -> None:
        folder = published / "Training_Data"
        edit(folder / "env_info.txt", set_to(np.nan, 0, 30))
        edit(folder / "model_force_xin.npy", set_to(np.nan, 1, 4, 5))
        edit(folder / "model_force_nbedrock.txt", set_to(7, 2))  # 0.68 m
        edit(folder / "obs_soc_NY.txt", set_to(0, 2, 0))
        edit(folder / "obs_soc_NY.txt", set_to(250_000, 2, 1))
        dataset = new_york.read(published)
        assert list(json.loads(dataset.attrs["exclusions"]).values()) == [1, 1, 1, 1, 1, 1]
        assert dataset["site"].to_numpy().tolist() == [14, 15]
        everything = new_york.read(published, exclude=False)
        assert everything.sizes["site"] == 5
        assert everything["categorical"].sel(site=11, categorical_covariate="Texture_USDA_0cm") == -1
        with pytest.raises(InputError, match=r"nitrogen_scalar is missing \(NaN\) at 1 site \(12\)"):
            validate(everything)

    def test_a_missing_bedrock_layer_is_zero(self, published: Path) -> None:
        edit(published / "Training_Data" / "model_force_nbedrock.txt", set_to(np.nan, 3))
        assert new_york.read(published, exclude=False)["bedrock_layer"].to_numpy().tolist() == [12, 12, 12, 0, 12]
        assert json.loads(new_york.read(published).attrs["exclusions"])["sites with missing forcing"] == 1

    def test_the_grid_has_no_observations(self, published: Path) -> None:
        edit(published / "Prediction_Data" / "model_force_pred_soil_temp_profile.npy", set_to(np.nan, 1))
        grid = new_york.read_grid(published)
        assert grid["site"].to_numpy().tolist() == [11, 13]
        assert grid["soc"].shape == (2, 1)
        assert np.isnan(grid["soc"]).all()

    def test_a_bedrock_layer_that_changes_with_the_month_is_refused(self, published: Path) -> None:
        edit(published / "Training_Data" / "model_force_nbedrock.txt", set_to(7, 2, 5))
        with pytest.raises(InputError, match="change within the year"):
            new_york.read(published)


def half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cut_lines(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), encoding="utf-8")


SPOILT = {
    "missing": (Path.unlink, "no file"),
    "truncated": (half, "cannot be read"),
    "shorter": (cut_lines, "truncated"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "blank": (lambda path: path.write_bytes(b"\n"), "cannot be read"),
    "binary": (lambda path: path.write_bytes(b"\xff\xfe\x00\n"), "cannot be read"),
    "a page": (lambda path: path.write_text("<html>\nno,such\n</html>\n", encoding="utf-8"), "cannot be read"),
}


FILES = ("env_info.txt", "obs_soc_NY.txt", "model_force_xin.npy")


@pytest.mark.parametrize(
    ("case", "file"),
    [(case, file) for case in SPOILT for file in FILES if case != "shorter" or file.endswith(".txt")],
)
def test_a_spoilt_file_is_named_with_the_cure(case: str, file: str, published: Path) -> None:
    path = published / "Training_Data" / file
    SPOILT[case][0](path)
    with pytest.raises(InputError, match=SPOILT[case][1]) as caught:
        new_york.read(published)
    message = str(caught.value)
    assert str(path) in message
    assert "binn-prob data fetch new-york" in message
    assert "BINN_PROB_DATA" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "values", [np.array(["text"]), np.ones((4, 20, 12)), np.array([{"an": "object"}], dtype=object)]
)
def test_another_array_is_refused(values: np.ndarray, published: Path) -> None:
    np.save(published / "Training_Data" / "model_force_xio.npy", values)
    with pytest.raises(InputError, match=r"model_force_xio\.npy"):
        new_york.read(published)


def test_a_missing_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINN_PROB_DATA", str(tmp_path / "nowhere"))
    for read in (new_york.read, new_york.read_grid):
        with pytest.raises(InputError, match="nowhere"):
            read()


class TestPublishedProfiles:
    """Counts measured on the published files, independently of the reader."""

    def test_everything_is_kept_in_published_order(self, all_new_york_profiles: xr.Dataset) -> None:
        sites = all_new_york_profiles["site"].to_numpy()
        assert len(sites) == 1406
        assert (sites[0], sites[-1]) == (19830, 109825)
        assert (np.diff(sites) > 0).all()
        assert sites[[951, 1110, 1128]].tolist() == [33643, 37179, 37973]

    def test_observations(self, all_new_york_profiles: xr.Dataset) -> None:
        soc, depth = (all_new_york_profiles[name].to_numpy() for name in ("soc", "depth"))
        assert np.isfinite(soc).sum() == np.isfinite(depth).sum() == 8733
        assert soc.shape == (1406, 31)
        assert (soc == 0).sum() == 17
        assert sites_above(all_new_york_profiles, 200_000) == {33643, 37179, 37973}
        assert np.nanmax(depth) == pytest.approx(12.345)
        assert below_bedrock(all_new_york_profiles).sum() == 599
        counts = np.bincount(np.isfinite(soc).sum(axis=1), minlength=32)
        assert counts[[0, 1, 2, 3, 15, 31]].tolist() == [1, 18, 31, 198, 1, 1]

    def test_what_is_missing(self, all_new_york_profiles: xr.Dataset) -> None:
        data = all_new_york_profiles
        unknown = np.isnan(data["continuous"]).any("continuous_covariate")
        unknown = unknown | (data["categorical"] < 0).any("categorical_covariate")
        assert unknown.sum() == 42
        broken = np.isnan(data["soil_temperature"]).any(["layer", "month"])
        assert np.flatnonzero(broken).tolist() == [935, 1273, 1360, 1361]
        assert np.flatnonzero(data["bedrock_layer"] == 0).tolist() == [935]
        assert np.flatnonzero(~np.isfinite(data["soc"]).any("observation")).tolist() == [1233]
        assert (~(unknown | broken)).sum() == 1361

    def test_usable_profiles(self, new_york_profiles: xr.Dataset) -> None:
        assert new_york_profiles.sizes["site"] == 1360
        assert np.isfinite(new_york_profiles["soc"]).sum() == 7870
        assert json.loads(new_york_profiles.attrs["exclusions"]) == {
            "sites with missing covariates": 42,
            "sites with missing forcing": 3,
            "observations of zero SOC": 17,
            "observations of implausible SOC, above 200000 g C m-3": 3,
            "observations below bedrock": 591,
            "sites without observation": 1,
        }
        assert not below_bedrock(new_york_profiles).any()
        assert 8481 - 17 - 3 - 591 == 7870

    def test_forcing(self, new_york_profiles: xr.Dataset) -> None:
        forcing = Forcing.from_dataset(new_york_profiles)
        assert forcing.soil_temperature.shape == (1360, 20, 12)
        total = np.asarray(forcing.litter_input).sum(axis=(1, 2))
        assert 29 < total.min() < total.max() < 556
        assert float(forcing.active_layer_depth.min()) == pytest.approx(41.9984, abs=1e-3)
        # January is the coldest month of the year at the surface, July the warmest: the months are in calendar order.
        surface = np.asarray(forcing.soil_temperature)[:, 0].mean(axis=0)
        assert (surface.argmin(), surface.argmax()) in {(0, 6), (1, 6), (0, 7), (1, 7)}

    def test_columns_are_what_their_names_say(self, all_new_york_profiles: xr.Dataset) -> None:
        assert (len(COLUMNS), len(CONTINUOUS), len(CATEGORICAL)) == (38, 29, 7)
        assert all_new_york_profiles["continuous_covariate"].to_numpy().tolist() == list(CONTINUOUS)

        def column(name: str) -> np.ndarray:
            return all_new_york_profiles["continuous"].sel(continuous_covariate=name).to_numpy()

        assert (column("nbedrock") == all_new_york_profiles["bedrock_layer"]).sum() == 1404
        ground = all_new_york_profiles["soil_temperature"].mean(["layer", "month"]).to_numpy() - 273.15
        both = np.isfinite(ground) & np.isfinite(column("BIO1"))
        assert np.corrcoef(ground[both], column("BIO1")[both])[0, 1] > 0.7
        cover = all_new_york_profiles["categorical"]
        for depth in ("0cm", "30cm", "100cm"):
            clay, silt = column(f"Clay_Content_{depth}"), column(f"Silt_Content_{depth}")
            assert np.nanmax(clay + silt) <= 100
            texture = cover.sel(categorical_covariate=f"Texture_USDA_{depth}").to_numpy()
            clay_loam, silt_loam, sandy_loam = (texture == code for code in (4, 8, 9))
            assert np.nanmean(clay[clay_loam]) > 27 > np.nanmean(clay[silt_loam]) > np.nanmean(clay[sandy_loam])
            assert np.nanmean(silt[silt_loam]) > np.nanmean(silt[sandy_loam])
        assert 30 < np.nanmin(column("pH_Water_0cm")) < np.nanmax(column("pH_Water_0cm")) < 80
        assert np.nanmean(column("Bulk_Density_0cm")) < np.nanmean(column("Bulk_Density_100cm"))
        assert set(np.unique(cover.sel(categorical_covariate="Koppen_Climate_2018"))) == {-1, 25, 26, 27}

    def test_the_grid(self, new_york_folder: Path) -> None:
        everything = new_york.read_grid(new_york_folder, exclude=False)
        assert everything["site"].to_numpy().tolist() == list(range(132))
        grid = new_york.read_grid(new_york_folder)
        assert sorted(set(range(132)) - set(grid["site"].to_numpy().tolist())) == [14, 77, 105, 113]
        assert json.loads(grid.attrs["exclusions"]) == {
            "sites with missing covariates": 3,
            "sites with missing forcing": 1,
        }
        assert (float(grid["longitude"].min()), float(grid["latitude"].max())) == (-79.75, 44.75)


def sites_above(dataset: xr.Dataset, soc: float) -> set[int]:
    return set(dataset["site"].to_numpy()[(dataset["soc"] > soc).any("observation")].tolist())
