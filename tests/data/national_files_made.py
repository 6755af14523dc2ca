"""BINN's national input in small: files of the published names, variables and shapes, of six profiles.

What is stored in a cell of the spin-up says where it was stored, so that a wrong axis, cell or unit shows.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import xarray as xr

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


def counted(dataset: xr.Dataset) -> dict[str, int]:
    return {reason: count for reason, count in json.loads(dataset.attrs["exclusions"]).items() if count}
