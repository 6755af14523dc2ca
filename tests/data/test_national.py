"""The national reader, on small files of the published names, variables and shapes that are written here.

What is stored in a cell of the spin-up says where it was stored, so that a wrong axis, cell or unit shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import xarray as xr

from binn_prob.clm5.layers import THICKNESS
from binn_prob.clm5.parameters import NAMES
from binn_prob.data import describe, load, national, save, validate
from binn_prob.data.national_files import ENVIRONMENT, grid_cells, spin_up
from binn_prob.data.national_filters import FILTERS, SCREENINGS, Profiles, screened
from binn_prob.errors import InputError

SPIN_UP = "cesm2_simu/spinup_ss/sasu_f05_g16_checked_step4_cesm2_ss_4da_661_680_"
PRODA = "_full_cesm2_clm5_cen_vr_v2_whole_time_exp_pc_cesm2_23_cross_valid_0_"
WOSIS = "wosis_2019_snap_shot"
PROFILE_FILE = f"{WOSIS}/soc_profile_wosis_2019_snapshot_hugelius_mishra.nc"
LAYER_FILE = f"{WOSIS}/soc_data_integrate_wosis_2019_snapshot_hugelius_mishra.nc"
ENVIRONMENT_FILE = f"{WOSIS}/wosis_2019_snapshot_hugelius_mishra_env_info.mat"
SHRINK_FILE = f"{WOSIS}/cesm2_clm5_cen_vr_v2_para_gr.mat"
R2_FILE = f"{WOSIS}/cesm2_clm5_cen_vr_v2_stat_r2.mat"
ELIGIBLE_FILE = f"{WOSIS}/eligible_profile_loc_0_cesm2_clm5_cen_vr_v2_whole_time.mat"
SAMPLE_FILE = f"{WOSIS}/wosis_2019_snapshot_hugelius_mishra_representative_profiles.mat"

VARIABLES: dict[str, tuple[int, float, float]] = {
    # name: layers in the file (0: none), value in the corner of the grid, factor of what is added to it
    "TSOI": (25, 280.0, 1.0),
    "W_SCALAR": (25, 0.1, 1.0),
    "O_SCALAR": (20, 0.2, 1.0),
    "FPI_vr": (20, 0.3, 1.0),
    "ALTMAX": (0, 40.0, 1.0),
    "ALTMAX_LASTYEAR": (0, 30.0, 1.0),
    "CWD_INPUT_ACC_VECTOR": (20, 0.0, 10.0),
    "LITR1_INPUT_ACC_VECTOR": (20, 0.0, 20.0),
    "LITR2_INPUT_ACC_VECTOR": (20, 0.0, 30.0),
    "LITR3_INPUT_ACC_VECTOR": (20, 0.0, 40.0),
}
COUNT = 6


def stored(variable: str, row: int, column: int) -> np.ndarray:
    """Value in a cell, (layer, month) or (month,): it grows with layer, month, row and column, each at its own rate."""
    layers, corner, factor = VARIABLES[variable]
    months = 0.01 * np.arange(12) + 1e-4 * row + 1e-7 * column
    return corner + factor * (0.02 * np.arange(layers)[:, None] + months if layers else months)


def nearest(longitude: float, latitude: float) -> tuple[int, int]:
    """Row and column of the first nearest centre, as the published programs look for it."""
    north, west = 90 - (np.arange(384) + 0.5) * 180 / 384, -180 + (np.arange(576) + 0.5) * 360 / 576
    return int(np.argmin(np.abs(latitude - north))), int(np.argmin(np.abs(longitude - west)))


class World:
    """The published tables of six profiles, all of which pass every test; change them, then write them."""

    def __init__(self) -> None:
        row = np.arange(COUNT)
        self.profiles = np.full((COUNT, 7), 1.0)
        self.profiles[:, 0] = [70, 30, 60, 20, 50, 40]  # ids in no order
        self.profiles[:, 2] = 156
        self.profiles[:, 3] = [-75.0, -74.9, -100.3, -120.2, -90.0, -80.7]  # 0 on a border of cells, 1 in the next
        self.profiles[:, 4] = [42.1875, 42.0, 35.1, 48.9, 30.2, 26.0]
        self.soc = np.array([30_000.0, 10_000.0, 5_000.0]) + row[:, None]
        self.node = np.tile([5.0, 30.0, 80.0], (COUNT, 1))
        self.upper, self.lower = self.node - 4, self.node + 4
        self.environment = np.arange(81) + 100.0 * row[:, None]
        self.shrink, self.r2 = np.full((COUNT, 21), 1.01), np.full((COUNT, 3), 0.9)
        self.eligible, self.sample = row + 1, row.reshape(2, 3) + 1
        self.listed = row.astype(float)
        self.bedrock = np.full(COUNT, 12.0)

    def layers(self) -> np.ndarray:
        """The table of layers, (layer, column), those of the last profile first."""
        table = np.full((COUNT, 3, 9), -1.0)
        table[..., 0] = self.profiles[:, :1]
        for column, values in ((2, self.upper), (3, self.lower), (4, self.node), (6, self.soc)):
            table[..., column] = values
        return table[::-1].reshape(-1, 9)

    def write_tables(self, folder: Path, engine: str = "h5netcdf") -> Path:
        for part in (WOSIS, "PRODA_Results"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for file, name, table in (
            (PROFILE_FILE, "soc_profile_info", self.profiles),
            (LAYER_FILE, "data_soc_integrate", self.layers()),
        ):
            xr.Dataset({name: (("column", "row"), table.T)}).to_netcdf(folder / file, engine=engine)  # type: ignore[call-overload]
        for file, name, table in (
            (ENVIRONMENT_FILE, "EnvInfo", self.environment),
            (SHRINK_FILE, "para_gr", self.shrink),
            (R2_FILE, "stat_r2", self.r2),
            (ELIGIBLE_FILE, "eligible_loc_0", self.eligible[:, None]),
            (SAMPLE_FILE, "sample_profile_id", self.sample),
        ):
            scipy.io.savemat(folder / file, {name: table})
        for seed in range(1, 10):
            parameters = np.linspace(0.1, 0.5, 21) + 0.01 * seed + 0.001 * self.listed[:, None]
            np.savetxt(folder / f"PRODA_Results/nn_site_loc{PRODA}{seed}.csv", self.listed, delimiter=",")
            np.savetxt(folder / f"PRODA_Results/nn_para_result{PRODA}{seed}.csv", parameters, delimiter=",")
        return folder

    def write(self, folder: Path) -> Path:
        (folder / SPIN_UP).parent.mkdir(parents=True)
        cells = [nearest(*place) for place in self.profiles[:, 3:5] if np.isfinite(place).all()]
        for variable, (layers, *_) in VARIABLES.items():
            with matlab_file(folder / f"{SPIN_UP}{variable}.mat", (layers,) if layers else ()) as file:
                for row, column in cells:
                    file["var_record_monthly_mean"][..., column, row] = stored(variable, row, column).T
        with matlab_file(folder / f"{SPIN_UP}nbedrock.mat", ()) as file:
            for (row, column), layer in zip(cells, self.bedrock, strict=False):
                file["var_record_monthly_mean"][:, column, row] = layer
        return self.write_tables(folder)


def matlab_file(path: Path, layers: tuple[int, ...]) -> h5py.File:
    """Make a MATLAB 7.3 file of the whole grid: text in its first 512 bytes, axes from last to first, all missing."""
    with h5py.File(path, "w", userblock_size=512) as file:
        shape, chunks = (12, *layers, 576, 384), (12, *layers, 4, 4)
        kind = "f4" if "TSOI" in path.name else "f8"
        values = file.create_dataset("var_record_monthly_mean", shape, kind, chunks=chunks, fillvalue=np.nan)
        values.attrs["MATLAB_class"] = np.bytes_("single" if kind == "f4" else "double")
    with path.open("r+b") as head:
        head.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return h5py.File(path, "r+")


@pytest.fixture
def world() -> World:
    return World()


def counted(dataset: xr.Dataset) -> dict[str, int]:
    return {reason: count for reason, count in json.loads(dataset.attrs["exclusions"]).items() if count}


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


def put(table: str, *places: tuple[object, object]) -> Callable[[World], None]:
    """Return what sets places of a table to values."""

    def change(world: World) -> None:
        for place, value in places:
            getattr(world, table)[place] = value

    return change


def replace(table: str, values: Sequence[float]) -> Callable[[World], None]:
    return lambda world: setattr(world, table, np.array(values))


nan = np.nan
REMOVED: tuple[tuple[str, Callable[[World], None], list[int]], ...] = (
    ("united_states", put("profiles", ((1, 2), 157), ((2, 1), 157)), [1]),  # the second of the two countries
    ("proda_countries", put("profiles", ((1, 1), 68), ((2, 1), 39), ((3, 2), 68)), [1, 2]),  # the first
    ("conterminous", put("profiles", ((0, 3), -125), ((1, 3), -66.9), ((2, 4), 24.4), ((3, 4), 49.4)), [0, 1, 2, 3]),
    ("conterminous", put("profiles", ((0, 3), -124.763068), ((1, 3), -66.949895), ((2, 4), 24.5)), []),
    ("conterminous", put("profiles", ((0, 3), nan)), [0]),
    ("converged", put("shrink", (0, 1.05), ((1, 4), 1.9), ((2, 4), nan), ((3, 4), 1.8)), [0, 1, 2]),
    ("mean_r2", put("r2", (0, [-1, 0.5, 0.5]), (1, [0.9, nan, 0.9]), (2, [-0.9, 0.9, 0.1])), [0, 1]),
    ("best_r2", put("r2", (0, [0.75, 0.1, 0.2]), (1, [nan, 0.8, nan]), (2, nan)), [0, 2]),
    ("eligible", replace("eligible", [1, 3, 5, 6]), [1, 3]),
    ("proda_parameters", replace("listed", [0, 5, 2]), [1, 3, 4]),
    ("representative", replace("sample", [[1, 2], [3, 4]]), [4, 5]),
    ("two_layers", put("soc", ((1, slice(1, 3)), nan), (2, nan), ((3, 2), nan)), [1, 2]),
    ("two_layers", put("node", ((1, slice(1, 3)), nan)), [1]),
    ("two_layers", put("upper", ((1, slice(1, 3)), nan)), []),  # PRODA does not ask for the limits of layers
    ("falling", put("soc", (0, [1, 9, 8]), (1, [9, 1, 4]), (2, [5, 5, 5])), [0]),
    ("greatest_above_last", put("soc", (0, [8, 1, 9]), (1, [9, 1, 9]), (2, [nan, nan, 9]), (3, nan)), [0, 2, 3]),
    ("first_above_last", put("soc", (0, [8, 1, 9]), (1, [9, 1, 9]), (2, [9, 1, nan]), (3, nan)), [0, 1, 3]),
    ("deep", put("environment", ((0, 72), 50.0), ((1, 72), 50.1), ((2, 72), nan)), [0, 2]),
)  # fmt: skip


class TestScreenings:
    def test_every_test_is_tested(self) -> None:
        assert {name for name, *_ in REMOVED} == set(FILTERS)
        assert {name for names in SCREENINGS.values() for name in names} <= set(FILTERS)
        assert len({test.removed for test in FILTERS.values()}) == len(FILTERS)

    @pytest.mark.parametrize(("name", "change", "removed"), REMOVED, ids=[name for name, *_ in REMOVED])
    def test_it_removes_and_counts(
        self, name: str, change: Callable[[World], None], removed: list[int], world: World, tmp_path: Path
    ) -> None:
        change(world)
        rows, counts = screened(Profiles(world.write_tables(tmp_path)), [name])
        assert sorted(set(range(COUNT)) - set(rows)) == removed
        assert counts == {FILTERS[name].removed: len(removed)}

    @pytest.mark.parametrize("screening", SCREENINGS)
    def test_a_profile_counts_under_the_first_test_that_removes_it(
        self, screening: str, world: World, tmp_path: Path
    ) -> None:
        names = SCREENINGS[screening]
        world.shrink[[0, 1]] = 2.0  # 0 by a test before as well, for BINN; the last test, for PRODA
        world.profiles[0, 1:3] = 68, 7
        world.r2[2] = -1
        rows, counts = screened(Profiles(world.write_tables(tmp_path)), screening)
        assert rows.tolist() == [3, 4, 5]
        assert list(counts) == [FILTERS[name].removed for name in names]
        first = ("united_states", "converged", "mean_r2") if screening == "binn" else (
            "proda_countries", "converged", "best_r2")  # fmt: skip
        assert {reason for reason, count in counts.items() if count} == {FILTERS[name].removed for name in first}
        assert max(counts.values()) == 1

    def test_they_stand_first_in_the_exclusions(self, world: World, tmp_path: Path) -> None:
        world.r2[2] = -1
        world.soc[4] = 0
        dataset = national.read(world.write(tmp_path), screening=("mean_r2", "representative"))
        assert dataset["site"].to_numpy().tolist() == [0, 1, 3, 5]
        assert list(json.loads(dataset.attrs["exclusions"]))[:2] == [
            FILTERS[name].removed for name in ("mean_r2", "representative")
        ]
        assert counted(dataset) == {
            FILTERS["mean_r2"].removed: 1, "observations of zero SOC": 3, "sites without observation": 1,
        }  # fmt: skip
        assert describe(dataset)["value"]["excluded observations of zero SOC"] == 3

    def test_no_screening_needs_no_results_of_proda(self, world: World, tmp_path: Path) -> None:
        world.profiles[5, 3:5] = 10.0, 50.0
        folder = world.write(tmp_path)
        for file in (SHRINK_FILE, R2_FILE, ELIGIBLE_FILE, SAMPLE_FILE):
            (folder / file).unlink()
        assert national.read(folder, screening=None).sizes["site"] == COUNT

    def test_the_lists_of_proda_may_count_from_one(self, world: World, tmp_path: Path) -> None:
        world.listed = np.array([1.0, 3.0])
        folder = world.write(tmp_path)
        chosen = [national.read(folder, proda_counts_from=one)["site"].to_numpy().tolist() for one in (0, 1)]
        assert chosen == [[1, 3], [0, 2]]


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


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def rename(path: Path) -> None:
    path.rename(path.with_name(path.name.replace("_", "-", 1)))


def rewrite(**arrays: np.ndarray) -> Callable[[Path], None]:
    """Return what writes other variables into a file, in its own format."""

    def spoil(path: Path) -> None:
        path.unlink()
        if path.suffix == ".nc":
            xr.Dataset({name: ((f"{name}1", f"{name}2"), values) for name, values in arrays.items()}).to_netcdf(path)
        elif path.is_relative_to(path.parents[2] / "cesm2_simu"):
            with h5py.File(path, "w", userblock_size=512) as file:
                for name, values in arrays.items():
                    file[name] = values
        elif path.suffix == ".csv":
            np.savetxt(path, next(iter(arrays.values())), delimiter=",")
        else:
            scipy.io.savemat(path, arrays)

    return spoil


TSOI, SITES, PARAMETERS = (
    f"{SPIN_UP}TSOI.mat", f"PRODA_Results/nn_site_loc{PRODA}4.csv", f"PRODA_Results/nn_para_result{PRODA}4.csv",
)  # fmt: skip
EVERY = (PROFILE_FILE, LAYER_FILE, ENVIRONMENT_FILE, SHRINK_FILE, R2_FILE, ELIGIBLE_FILE, TSOI, SITES, PARAMETERS)
SPOILT: list[tuple[str, Callable[[Path], object], str]] = [
    *((file, Path.unlink, "no file") for file in EVERY),
    *((file, rename, "there is ") for file in EVERY),
    *((file, cut, "cannot be read") for file in EVERY if not file.endswith(".csv")),
    *((file, lambda path: path.write_bytes(b""), "cannot be read|no HDF5 file") for file in EVERY),
    *((file, lambda path: path.write_bytes(b"<html>\nno,such\n"), "cannot be read|no HDF5") for file in EVERY),
    *((file, rewrite(other=np.ones((2, 2))), "with other; expected the variable") for file in EVERY[:7]),
    (PROFILE_FILE, rewrite(soc_profile_info=np.ones((COUNT, 7))), r"with 6 x 7 values; expected 7 x any"),
    (PROFILE_FILE, rewrite(soc_profile_info=np.ones((7, 2))), "a profile_id twice"),
    (PROFILE_FILE, rewrite(soc_profile_info=np.ones((7, 0))), "no profile"),
    (LAYER_FILE, rewrite(data_soc_integrate=np.ones((8, 9))), "with 8 x 9 values; expected 9 x any"),
    (ENVIRONMENT_FILE, rewrite(EnvInfo=np.ones((COUNT, 80))), "with 6 x 80 values; expected any x 81"),
    (ENVIRONMENT_FILE, rewrite(EnvInfo=np.ones((COUNT - 1, 81))), "with 5 rows; expected 6"),
    (SHRINK_FILE, rewrite(para_gr=np.ones((COUNT + 1, 21))), "with 7 rows; expected 6"),
    (ELIGIBLE_FILE, rewrite(eligible_loc_0=np.array([[0.0]])), "not among the 6"),
    (ELIGIBLE_FILE, rewrite(eligible_loc_0=np.array([[7.0]])), "not among the 6"),
    (TSOI, rewrite(var_record_monthly_mean=np.ones((12, 25, 4, 3))), "25 x 4 x 3 values; expected 12 x 25 x 576 x 384"),
    (TSOI, rewrite(var_record_monthly_mean=np.ones((12, 4, 3))), "12 x 4 x 3 values; expected 12 x 20 x 576 x 384"),
    (SITES, rewrite(rows=np.arange(6.0)[::-1]), "with other profiles"),
    (SITES, rewrite(rows=np.ones((6, 2))), "with 6 x 2 values; expected any x 1"),
    (PARAMETERS, rewrite(rows=np.ones((5, 21))), "with 5 x 21 values; expected 6 x 21"),
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that nothing is wrong with; not to be changed."""
    return World().write(tmp_path_factory.mktemp("national"))


class TestRefused:
    @pytest.mark.parametrize(("file", "spoil", "message"), SPOILT, ids=[f"{Path(row[0]).name[:30]}" for row in SPOILT])
    def test_a_spoilt_file_is_named_with_the_cure(
        self, file: str, spoil: Callable[[Path], object], message: str, whole: Path, tmp_path: Path
    ) -> None:
        for source in whole.rglob("*.*"):
            target = tmp_path / source.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source == whole / file:
                target.write_bytes(source.read_bytes())
            else:
                target.symlink_to(source)
        spoil(tmp_path / file)
        with pytest.raises(InputError, match=message) as caught:
            national.read(tmp_path)
        assert Path(file).name in str(caught.value)
        assert "BINN_PROB_DATA" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_older_matlab_file_of_the_spin_up(self, world: World, tmp_path: Path) -> None:
        folder = world.write(tmp_path)
        scipy.io.savemat(folder / TSOI, {"var_record_monthly_mean": np.ones((2, 2))})
        with pytest.raises(InputError, match=r"MATLAB 7.3.*save it as -v7.3"):
            national.read(folder)

    def test_a_bedrock_layer_that_changes_with_the_month(self, world: World, tmp_path: Path) -> None:
        folder = world.write(tmp_path)
        row, column = nearest(*world.profiles[2, 3:5])
        with h5py.File(folder / f"{SPIN_UP}nbedrock.mat", "r+") as file:
            file["var_record_monthly_mean"][4, column, row] = 9
        with pytest.raises(InputError, match="nbedrock"):
            national.read(folder)

    def test_a_place_that_is_not_on_earth(self, world: World, tmp_path: Path) -> None:
        folder = world.write(tmp_path)
        world.profiles[1, 3] = 285.0
        world.write_tables(tmp_path)
        with pytest.raises(InputError, match="longitudes up to 285"):
            national.read(folder, screening=None)

    @pytest.mark.parametrize("screening", ["ohio", ["converged", "ohio"]])
    def test_an_unknown_screening(self, screening: str | list[str], whole: Path) -> None:
        with pytest.raises(InputError, match=r"ohio.*'binn' or 'proda'"):
            national.read(whole, screening=screening)

    def test_a_screening_that_nothing_passes(self, world: World, tmp_path: Path) -> None:
        world.r2[:] = -1
        with pytest.raises(InputError, match="6 profiles with a mean R2"):
            national.read(world.write(tmp_path))


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

    def test_a_missing_folder_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BINN_PROB_DATA", str(tmp_path / "nowhere"))
        with pytest.raises(InputError, match=r"nowhere.*INPUT_DATA"):
            load("national")
