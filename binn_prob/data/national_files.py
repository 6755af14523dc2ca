"""The files of the published national input: names, the shapes they are stored in, and how parts of them are read.

The folder is that of the BINN program (Xu et al. 2025, arXiv 2502.00672, ``ENSEMBLE/INPUT_DATA``), whose tables and
model output come from PRODA (Tao et al. 2020, 2023).  It was written by MATLAB, which stores the first index fastest:
what MATLAB calls (profile, column) is (column, profile) in netCDF and HDF5, and (latitude, longitude, layer, month) is
(month, layer, longitude, latitude).  Rows of profiles are counted from 0 here, from 1 in MATLAB's lists.

The forcing of the whole Earth, 425 MB a variable, is never read at once: only the cells between the outermost ones that
are asked for, month by month, at most 35 MB at a time.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from binn_prob.clm5.layers import LAYERS, MONTHS
from binn_prob.clm5.parameters import NAMES
from binn_prob.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = [
    "CURE", "ENVIRONMENT", "GRID", "LAYER_COLUMNS", "PROFILE_COLUMNS", "grid_cells", "matlab_table", "netcdf_columns",
    "proda_results", "spin_up",
]  # fmt: skip

CURE = "point the folder, or BINN_PROB_DATA, at a whole copy of BINN's ENSEMBLE/INPUT_DATA"

PROFILE_COLUMNS = ("profile_id", "country_id", "country_name", "longitude", "latitude", "layer_number", "date")
"""Columns of the table of profiles; both countries are numbers, of two different lists."""

LAYER_COLUMNS = (
    "profile_id", "date", "upper_depth", "lower_depth", "node_depth", "layer_weight", "soc", "bulk_density", "is_pedo",
)  # fmt: skip
"""Columns of the table of layers: depths in cm, ``soc`` in g C m-3."""


def _at_depths(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}_{depth}" for name in names for depth in ("0cm", "30cm", "100cm"))


ENVIRONMENT = (
    "ProfileNum", "ProfileID", "LayerNum", "Lon", "Lat", "Date", "Rmean", "Rmax", "Rmin", "ESA_Land_Cover", "ET",
    "IGBP", "Climate", "Soil_Type", "NPPmean", "NPPmax", "NPPmin", "Veg_Cover", *(f"BIO{one}" for one in range(1, 20)),
    "Abs_Depth_to_Bedrock", *_at_depths("Bulk_Density", "CEC", "Clay_Content", "Coarse_Fragments_v"), "Depth_Bedrock_R",
    "Garde_Acid", "Occurrence_R_Horizon",
    *_at_depths("pH_Water", "Sand_Content", "Silt_Content", "SWC_v_Wilting_Point", "Texture_USDA"), "USDA_Suborder",
    "WRB_Subgroup", "Drought", "Elevation", "Max_Depth", "Koppen_Climate_2018", "cesm2_npp", "cesm2_npp_std",
    "cesm2_gpp", "cesm2_gpp_std", "cesm2_vegc", "nbedrock", "R_Squared",
)  # fmt: skip
"""The 81 columns of the environment of the profiles, by their published names; the file does not name them."""

GRID = (384, 576)
"""Cells of the spin-up from north to south and from west to east: 0.46875 by 0.625 degrees, from 90 N and 180 W."""

_SPIN_UP = "cesm2_simu/spinup_ss/sasu_f05_g16_checked_step4_cesm2_ss_4da_661_680_{}.mat"
_PRODA = "PRODA_Results/nn_{}_full_cesm2_clm5_cen_vr_v2_whole_time_exp_pc_cesm2_23_cross_valid_0_{}.csv"
_SEEDS = range(1, 10)


def netcdf_columns(path: Path, variable: str, columns: Sequence[str], wanted: Sequence[str]) -> dict[str, Array]:
    """Read columns of a table in netCDF, stored as (column, row); missing values become NaN.

    Raises
    ------
    InputError
        If the file is missing or unreadable, or has no such variable, or one of another shape.
    """
    import xarray as xr

    _there(path)
    try:
        with xr.open_dataset(path, decode_times=False) as dataset:
            if variable not in dataset.variables:
                raise _without(path, variable, list(map(str, dataset.variables)))
            _shaped(path, variable, dataset[variable].shape, (len(columns), None))
            return {name: np.asarray(dataset[variable][columns.index(name)].to_numpy(), np.float64) for name in wanted}
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _unreadable(path, error) from error


def matlab_table(path: Path, variable: str, columns: int | None = None) -> Array:
    """Read a table (row, column) from a ``.mat`` file of any version.

    Raises
    ------
    InputError
        If the file is missing or unreadable, or has no such variable, or one of another number of columns.
    """
    import h5py
    import scipy.io

    _there(path)
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                found = {name: file[name] for name in file if not name.startswith("#")}
                values = found[variable][()].T if variable in found else None
        else:
            found = {name: None for name, *_ in scipy.io.whosmat(path)}
            values = scipy.io.loadmat(path, variable_names=[variable]).get(variable)
        table = None if values is None else np.asarray(values, np.float64)
    except Exception as error:  # of the many kinds that the parsers of a damaged file raise
        raise _unreadable(path, error) from error
    if table is None:
        raise _without(path, variable, list(found))
    _shaped(path, variable, table.shape, (None, columns))
    return table


def grid_cells(longitude: Array, latitude: Array) -> NDArray[np.intp]:
    """Return the row and column of the nearest cell of :data:`GRID`, shape (2, profile).

    On the border of two cells it is the northern or western one, the first that the published programs find.

    Raises
    ------
    InputError
        If a place is not on the Earth.
    """
    if not (np.abs(longitude) <= 180).all() or not (np.abs(latitude) <= 90).all():
        got = f"longitudes up to {np.abs(longitude).max():g} and latitudes up to {np.abs(latitude).max():g} degrees"
        raise InputError(got, "at most 180 and 90", CURE)
    rows, columns = GRID
    cells = np.ceil([(90 - latitude) * rows / 180, (longitude + 180) * columns / 360]).astype(np.intp) - 1
    return np.maximum(cells, 0)


def spin_up(folder: Path, variable: str, cells: NDArray[np.intp], *, layered: bool) -> Array:
    """Read the monthly means of a variable of the CESM2 spin-up at some cells.

    Parameters
    ----------
    folder : Path
        ``INPUT_DATA``.
    variable : str
        Its name in CLM5, which ends the name of the file.
    cells : array of shape (2, cell)
        See :func:`grid_cells`.
    layered : bool
        Whether it has layers, of which there may be more than carry carbon.

    Returns
    -------
    array of shape (cell, layer, month) or (cell, month)
        In the units of the file.

    Raises
    ------
    InputError
        If the file is missing, unreadable, older than MATLAB 7.3, without the variable, or on another grid.
    """
    import h5py

    path, name = folder / _SPIN_UP.format(variable), "var_record_monthly_mean"
    _there(path)
    if not h5py.is_hdf5(path):
        raise InputError(
            f"{path}, no HDF5 file", "MATLAB 7.3, of which parts can be read", f"save it as -v7.3, or {CURE}"
        )
    corner, end = cells.min(axis=1), cells.max(axis=1) + 1
    row, column = cells - corner[:, None]
    months = []
    try:
        with h5py.File(path) as file:
            if name not in file:
                raise _without(path, name, list(file))
            stored = file[name]
            layers = stored.shape[1:2] if layered and stored.ndim == 4 and stored.shape[1] >= LAYERS else (LAYERS,)
            _shaped(path, name, stored.shape, (MONTHS, *(layers if layered else ()), *GRID[::-1]))
            box = np.s_[corner[1] : end[1], corner[0] : end[0]]
            for month in range(MONTHS):
                block = stored[(month, slice(LAYERS), *box) if layered else (month, *box)]
                months.append(np.moveaxis(block[..., column, row], -1, 0))
    except (OSError, RuntimeError, TypeError, AttributeError) as error:
        raise _unreadable(path, error) from error
    return np.stack(months, axis=-1).astype(np.float64)


def proda_results(folder: Path) -> tuple[NDArray[np.intp], Array]:
    """Read what PRODA's networks predict: the listed profiles (profile,), and the parameters (profile, parameter).

    The parameters are means over the nine networks, each in the unit cube of PRODA's ranges, which a network may leave.

    Raises
    ------
    InputError
        If a file is missing, holds something else, or the networks list different profiles.
    """
    sites, parameters = [], []
    for seed in _SEEDS:
        of_sites, of_parameters = (folder / _PRODA.format(kind, seed) for kind in ("site_loc", "para_result"))
        sites.append(_numbers(of_sites, (None, 1))[:, 0])
        if not np.array_equal(sites[-1], sites[0]) or (sites[-1] % 1).any():
            raise InputError(f"{of_sites} with other profiles", "whole numbers, the same in all nine files", CURE)
        parameters.append(_numbers(of_parameters, (len(sites[0]), len(NAMES))))
    return sites[0].astype(np.intp), np.mean(parameters, axis=0)


def _numbers(path: Path, shape: tuple[int | None, ...]) -> Array:
    """Read numbers separated by commas, without a line of names: BINN's later programs read them so."""
    import pandas as pd

    _there(path)
    try:
        values = pd.read_csv(path, header=None, dtype=np.float64).to_numpy()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    _shaped(path, "table", values.shape, shape)
    return values


def _there(path: Path) -> None:
    """Refuse a file that does not exist, and name the one most like it."""
    if not path.is_file():
        names = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        similar = "".join(f" (there is {name})" for name in get_close_matches(path.name, names, n=1, cutoff=0.8))
        raise InputError(f"no file {path}{similar}", "the published files under their names", CURE)


def _shaped(path: Path, variable: str, shape: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    if len(shape) != len(expected) or any(e not in (None, n) for n, e in zip(shape, expected, strict=True)):
        got, wanted = (" x ".join("any" if n is None else str(n) for n in one) for one in (shape, expected))
        raise InputError(
            f"{variable} of {path} with {got} values", f"{wanted} values", f"it may be another one: {CURE}"
        )


def _without(path: Path, variable: str, found: list[str]) -> InputError:
    listed = ", ".join(sorted(found)) or "nothing"
    return InputError(f"{path} with {listed}", f"the variable {variable}", f"it may be another file: {CURE}")


def _unreadable(path: Path, error: Any) -> InputError:
    reason = " ".join(str(error).split())[:120]
    return InputError(f"a file that cannot be read, {path} ({reason})", "a whole file", CURE)
