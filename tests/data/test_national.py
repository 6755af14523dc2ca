"""The national reader: values, units, axes, cells, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from national_files_made import (
    COUNT,
    ENVIRONMENT_FILE,
    LAYER_FILE,
    SPIN_UP,
    VARIABLES,
    World,
    counted,
    nearest,
    stored,
)

from binn_prob import cli
from binn_prob.clm5.layers import THICKNESS
from binn_prob.clm5.parameters import NAMES
from binn_prob.data import load, national, save, validate
from binn_prob.data.national_files import ENVIRONMENT, grid_cells, spin_up
from binn_prob.data.national_filters import Profiles
from binn_prob.data_settings import DataSettings
from binn_prob.errors import InputError


@pytest.fixture
def world() -> World:
    return World()


class TestValues:
    @pytest.fixture
    def dataset(self, world: World, tmp_path: Path) -> xr.Dataset:
        return national.read(world.write(tmp_path))

    def test_it_is_valid_and_whole(self, dataset: xr.Dataset, tmp_path: Path) -> None:
        validate(dataset)
        assert dataset["site"].to_numpy().tolist() == list(range(COUNT))
        assert dataset.attrs["name"] == "national"
        assert counted(dataset) == {}
        assert dataset.sizes["observation"] == 3
        again = load(str(save(dataset, tmp_path / "sites.nc")))
        xr.testing.assert_identical(again, validate(dataset))

    def test_places_and_observations(self, dataset: xr.Dataset, world: World) -> None:
        np.testing.assert_array_equal(dataset["longitude"], world.profiles[:, 3])
        np.testing.assert_array_equal(dataset["latitude"], world.profiles[:, 4])
        np.testing.assert_array_equal(dataset["soc"], world.soc)
        np.testing.assert_allclose(dataset["depth"], world.node / 100, rtol=1e-15)  # cm to m

    def test_forcing_is_that_of_the_cell_layer_and_month(self, dataset: xr.Dataset, world: World) -> None:
        rows, columns = np.transpose([nearest(*place) for place in world.profiles[:, 3:5]])
        assert (rows[0], columns[0]) == (101, 167)  # 42.1875 N 75 W is a corner of four cells: the north-western one
        for site, (row, column) in enumerate(zip(rows, columns, strict=True)):
            for name, variable in (
                ("soil_temperature", "TSOI"), ("water_scalar", "W_SCALAR"), ("oxygen_scalar", "O_SCALAR"),
                ("nitrogen_scalar", "FPI_vr"), ("active_layer_depth", "ALTMAX"),
                ("active_layer_depth_last_year", "ALTMAX_LASTYEAR"),
            ):  # fmt: skip
                kind = np.float32 if variable == "TSOI" else np.float64
                expected = stored(variable, row, column).astype(kind)
                expected = expected[:20] if expected.ndim == 2 else expected
                np.testing.assert_array_equal(dataset[name][site], expected, err_msg=name)
        assert dataset["bedrock_layer"].to_numpy().tolist() == [12] * COUNT

    def test_no_more_than_the_cells_between_the_sites_is_read(
        self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows, columns = np.transpose([nearest(*place) for place in world.profiles[:, 3:5]])
        sizes, getitem = [], h5py.Dataset.__getitem__

        def recorded(dataset: h5py.Dataset, place: object) -> np.ndarray:
            values = getitem(dataset, place)
            sizes.append(values.size)
            return values

        folder = world.write(tmp_path)
        monkeypatch.setattr(h5py.Dataset, "__getitem__", recorded)
        cells = np.array([rows, columns])
        from_file = spin_up(folder, "TSOI", cells, layered=True)
        np.testing.assert_array_equal(from_file[4], stored("TSOI", rows[4], columns[4])[:20].astype(np.float32))
        assert sizes == [20 * (np.ptp(rows) + 1) * (np.ptp(columns) + 1)] * 12  # a month at a time

    def test_litter_is_summed_over_the_thickness_of_layers(self, dataset: xr.Dataset, world: World) -> None:
        row, column = nearest(*world.profiles[3, 3:5])
        for pool, variable in zip(
            ("cwd", "metabolic", "cellulose", "lignin"), list(VARIABLES)[-4:], strict=True
        ):  # CWD, LITR1, LITR2, LITR3
            density = stored(variable, row, column)
            expected = sum(density[layer] * THICKNESS[layer] for layer in range(20))
            np.testing.assert_allclose(dataset["litter_input"].sel(litter_pool=pool)[3], expected, rtol=1e-13)

    def test_covariates_are_the_58_of_binn(self, dataset: xr.Dataset, world: World) -> None:
        assert len(ENVIRONMENT) == 81
        assert ENVIRONMENT.index("Max_Depth") == 72  # the 73rd of PRODA's program
        assert dataset.sizes["continuous_covariate"] + dataset.sizes["categorical_covariate"] == 58
        for kind in ("continuous", "categorical"):
            for name in dataset[f"{kind}_covariate"].to_numpy():
                values = dataset[kind].sel({f"{kind}_covariate": name})
                np.testing.assert_array_equal(values, world.environment[:, ENVIRONMENT.index(name)])

    def test_the_parameters_of_proda(self, world: World, tmp_path: Path) -> None:
        world.listed = world.listed[::-1]
        parameters = national.proda_parameters(world.write_tables(tmp_path))
        assert parameters["parameter"].to_numpy().tolist() == list(NAMES)
        expected = np.linspace(0.1, 0.5, 21) + 0.05 + 0.001 * np.arange(COUNT)[:, None]  # seeds 1 to 9: mean 5
        np.testing.assert_allclose(parameters.sel(site=np.arange(COUNT)), expected, rtol=1e-14)
        assert national.proda_parameters(tmp_path, counts_from=1)["site"].to_numpy().tolist() == [-1, 0, 1, 2, 3, 4]

    @pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
    def test_older_netcdf_and_newer_matlab_tables(self, world: World, tmp_path: Path, engine: str) -> None:
        world.write_tables(tmp_path, engine)
        with h5py.File(tmp_path / ENVIRONMENT_FILE, "w", userblock_size=512) as file:
            file["EnvInfo"] = world.environment.T
        profiles = Profiles(tmp_path)
        np.testing.assert_array_equal(profiles.environment, world.environment)
        np.testing.assert_array_equal(profiles.table["longitude"], world.profiles[:, 3])


@pytest.mark.parametrize(
    ("longitude", "latitude"),
    [(-180, 90), (180, -90), (0, 0), (-75, 42.1875), (-66.949895, 49.384358), (0.3125, -0.234375), (179.99, -89.99)],
)
def test_the_cell_is_the_first_nearest_one(longitude: float, latitude: float) -> None:
    cell = grid_cells(np.array([longitude]), np.array([latitude]))[:, 0]
    assert tuple(cell) == nearest(longitude, latitude)


def test_cells_of_many_places() -> None:
    random = np.random.default_rng(0)
    longitude, latitude = random.uniform(-180, 180, 500), random.uniform(-90, 90, 500)
    expected = [nearest(*place) for place in zip(longitude, latitude, strict=True)]
    np.testing.assert_array_equal(grid_cells(longitude, latitude).T, expected)


class TestMissing:
    def test_layers_that_are_no_observation_are_counted(self, world: World, tmp_path: Path) -> None:
        world.upper[0, 0] = world.lower[1, 0] = world.node[1, 1] = world.soc[2, 1] = np.nan
        world.node[3, 0] = -3
        world.soc[4, 2] = -1
        dataset = national.read(world.write(tmp_path), screening=None)
        assert counted(dataset) == {
            "layers without SOC, depth or limits": 4, "layers above the surface": 1, "layers of negative SOC": 1,
        }  # fmt: skip
        assert np.isfinite(dataset["soc"]).sum("observation").to_numpy().tolist() == [2, 1, 2, 2, 2, 3]
        np.testing.assert_array_equal(dataset["soc"][2], [30_002, 5_002, np.nan])
        np.testing.assert_array_equal(dataset["depth"][2], [0.05, 0.8, np.nan])

    def test_what_cannot_be_used_is_counted_or_kept(self, world: World, tmp_path: Path) -> None:
        world.environment[0, ENVIRONMENT.index("BIO7")] = np.nan
        world.environment[1, ENVIRONMENT.index("WRB_Subgroup")] = np.nan
        world.environment[2, ENVIRONMENT.index("Drought")] = np.nan  # no covariate of BINN
        world.bedrock[3] = 6  # its lower interface is at 0.48 m, above the last observation
        world.profiles[5, 3] = np.nan
        folder = world.write(tmp_path)
        row, column = nearest(*world.profiles[4, 3:5])
        with h5py.File(folder / f"{SPIN_UP}LITR2_INPUT_ACC_VECTOR.mat", "r+") as file:
            file["var_record_monthly_mean"][3, 19, column, row] = np.nan
        dataset = national.read(folder, screening=None)
        assert dataset["site"].to_numpy().tolist() == [2, 3]
        assert counted(dataset) == {
            "sites with missing covariates": 2, "sites with missing forcing": 2, "observations below bedrock": 1,
        }  # fmt: skip
        whole = national.read(folder, screening=None, exclude=False)
        assert whole.sizes["site"] == COUNT
        assert whole["bedrock_layer"].to_numpy().tolist() == [12, 12, 12, 6, 12, 0]
        assert whole["categorical"].sel(site=1, categorical_covariate="WRB_Subgroup") == -1
        assert np.isnan(whole["litter_input"].sel(site=4, litter_pool="cellulose", month=4))
        assert np.isnan(whole["soil_temperature"].sel(site=5)).all()

    def test_layers_of_profiles_that_are_not_listed_are_left_alone(self, world: World, tmp_path: Path) -> None:
        folder = world.write(tmp_path)
        table = np.vstack([world.layers(), np.full((2, 9), 999.0), np.full((1, 9), 1.0)])
        xr.Dataset({"data_soc_integrate": (("column", "row"), table.T)}).to_netcdf(folder / LAYER_FILE)
        np.testing.assert_array_equal(national.read(folder)["soc"], world.soc)


class TestByName:
    def test_it_is_found_and_loaded(self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = world.write(tmp_path / "ENSEMBLE" / "INPUT_DATA")
        whole = national.read(folder)
        for top in (tmp_path, tmp_path / "ENSEMBLE", folder):
            assert load("national", folder=top).identical(whole)
        monkeypatch.setenv("BINN_PROB_DATA", str(tmp_path))
        assert load("national").identical(whole)
        assert load("national", sites=[4, 1])["site"].to_numpy().tolist() == [4, 1]
        assert load("national", sites=2, seed=3).sizes["site"] == 2

    def test_the_screening_can_be_chosen(self, world: World, tmp_path: Path) -> None:
        world.listed = np.array([1.0, 3.0])
        world.r2[2] = 0.5
        folder = world.write(tmp_path)
        asked: dict[str, Any] = {"screening": ["proda_parameters"], "proda_counts_from": 1}
        settings = DataSettings(name="national", folder=str(folder), **asked)
        dataset = load(**settings.model_dump())
        assert dataset.identical(national.read(folder, **asked))
        assert dataset["site"].to_numpy().tolist() == [0, 2]
        assert load("national", folder=folder, screening="proda").identical(national.read(folder, screening="proda"))
        assert load("national", folder=folder, screening=[]).identical(national.read(folder, screening=None))

    def test_the_screening_can_be_chosen_in_the_shell(
        self, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        world.listed = np.array([1.0, 3.0])  # rows 1 and 3 of the table, or 0 and 2 counted from 1
        world.r2[2] = 0.5
        arguments = ["data", "describe", "national", "--folder", str(world.write(tmp_path)), "--screening"]
        for screening, first, kept in (
            ("proda", 1, COUNT - 1),
            ("best_r2", 1, COUNT - 1),
            ("converged,mean_r2", 1, COUNT),
            ("best_r2,proda_parameters", 0, 2),
            ("best_r2,proda_parameters", 1, 1),
        ):
            assert cli.main([*arguments, screening, "--proda-counts-from", str(first), "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["sites"] == kept

    def test_a_missing_folder_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BINN_PROB_DATA", str(tmp_path / "nowhere"))
        with pytest.raises(InputError, match=r"nowhere.*INPUT_DATA"):
            load("national")
