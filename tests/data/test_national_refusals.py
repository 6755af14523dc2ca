"""What is wrong with a file of the national input is said in one line: what was got, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import xarray as xr
from national_files_made import (
    COUNT,
    ELIGIBLE_FILE,
    ENVIRONMENT_FILE,
    LAYER_FILE,
    PRODA,
    PROFILE_FILE,
    R2_FILE,
    SHRINK_FILE,
    SPIN_UP,
    World,
    nearest,
)

from binn_prob.data import national
from binn_prob.errors import InputError


@pytest.fixture
def world() -> World:
    return World()


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

    @pytest.mark.parametrize(("row", "counts_from"), [(COUNT, 0), (0, 1)])
    def test_a_list_that_counts_from_the_other_number(
        self, row: int, counts_from: int, world: World, tmp_path: Path
    ) -> None:
        world.listed = np.array([2.0, row])
        folder = world.write_tables(tmp_path)
        with pytest.raises(InputError, match=f"PRODA_Results .* say proda_counts_from={1 - counts_from}"):
            national.read(folder, proda_counts_from=counts_from)

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
