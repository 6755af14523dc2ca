"""The published tables of the New York profiles: names of files and columns, and how one set of sites is read."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from binn_prob.clm5.forcing import DIMENSIONS, LITTER_POOLS
from binn_prob.clm5.layers import LAYERS, MONTHS, NODE_DEPTH
from binn_prob.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["CATEGORICAL", "COLUMNS", "CONTINUOUS", "GRID", "PROFILES", "Files", "read_sites", "read_table"]

_DEPTHS = ("0cm", "30cm", "100cm")


def _at_depths(name: str, unit: str | None) -> tuple[tuple[str, str | None], ...]:
    return tuple((f"{name}_{depth}", unit) for depth in _DEPTHS)


COLUMNS: tuple[tuple[str, str | None], ...] = (
    ("Lon", "degrees_east"), ("Lat", "degrees_north"), ("ESA_Land_Cover", None),
    # WorldClim: annual mean temperature, diurnal range, isothermality, temperature seasonality (standard deviation),
    # annual precipitation, precipitation seasonality (coefficient of variation)
    ("BIO1", "degC"), ("BIO2", "degC"), ("BIO3", "%"), ("BIO4", "0.01 degC"), ("BIO12", "mm yr-1"), ("BIO15", "%"),
    # SoilGrids; pH is ten times pH
    *_at_depths("Bulk_Density", "kg m-3"), *_at_depths("CEC", "cmol kg-1"), *_at_depths("Clay_Content", "%"),
    *_at_depths("Coarse_Fragments_v", "%"), *_at_depths("pH_Water", "0.1 pH"), *_at_depths("Silt_Content", "%"),
    *_at_depths("SWC_v_Wilting_Point", "%"), *_at_depths("Texture_USDA", None),
    ("USDA_Suborder", None), ("WRB_Subgroup", None),
    ("Elevation", "m"), ("Koppen_Climate_2018", None), ("nbedrock", "1"),
)  # fmt: skip
"""Name and unit of each of the 38 published columns; no unit: a categorical covariate."""

CONTINUOUS = tuple(name for name, unit in COLUMNS[2:] if unit is not None)
CATEGORICAL = tuple(name for name, unit in COLUMNS[2:] if unit is None)

_FORCING = {
    "soil_temperature": "soil_temp_profile.npy",
    "water_scalar": "soil_water_profile.npy",
    "oxygen_scalar": "xio.npy",
    "nitrogen_scalar": "xin.npy",
    "active_layer_depth": "altmax_current_profile.txt",
    "active_layer_depth_last_year": "altmax_lastyear_profile.txt",
}
_LITTER = ("input_vector_cwd.txt", "input_vector_litter1.txt", "input_vector_litter2.txt", "input_vector_litter3.txt")

_CURE = "run 'binn-prob data fetch new-york', or point BINN_PROB_DATA at a whole copy of the folder"


class Files(NamedTuple):
    """Names of one set of published files."""

    folder: str
    sites: str
    covariates: str
    forcing: str
    """What the names of its forcing files begin with."""


PROFILES = Files("Training_Data", "profile_id.txt", "env_info.txt", "model_force_")
GRID = Files("Prediction_Data", "grid_env_info_ID.txt", "grid_env_info_NY.txt", "model_force_pred_")


def read_sites(path: Path, files: Files) -> xr.Dataset:
    """Read the forcing and covariates of one set of sites.

    Parameters
    ----------
    path : Path
        The folder that holds the folder of ``files``.
    files : Files
        :data:`PROFILES` or :data:`GRID`.

    Returns
    -------
    xarray.Dataset
        Without observations and units.  Missing forcing and continuous covariates are NaN, missing categories -1, and a
        missing bedrock layer is 0.

    Raises
    ------
    InputError
        If a file is missing, truncated or unreadable.
    """
    folder = path / files.folder
    identifiers = read_table(folder / files.sites, (None,))
    if not (np.isfinite(identifiers) & (identifiers % 1 == 0)).all():
        raise InputError(f"site ids in {folder / files.sites} that are no whole numbers", "the published file", _CURE)
    sites = identifiers.astype(int)
    count = len(sites)

    def forcing(file: str, *shape: int) -> NDArray[np.float64]:
        return read_table(folder / f"{files.forcing}{file}", (count, *shape))

    sizes = {"layer": LAYERS, "month": MONTHS}
    variables = {
        variable: (DIMENSIONS[variable], forcing(file, *(sizes[dimension] for dimension in DIMENSIONS[variable][1:])))
        for variable, file in _FORCING.items()
    }
    litter = np.stack([forcing(file, MONTHS) for file in _LITTER], axis=1)
    bedrock = _constant(forcing("nbedrock.txt", MONTHS), folder / f"{files.forcing}nbedrock.txt")
    covariates = read_table(folder / files.covariates, (count, len(COLUMNS)))
    column = {name: covariates[:, position] for position, (name, _) in enumerate(COLUMNS)}
    return xr.Dataset(
        {
            **variables,
            "litter_input": (DIMENSIONS["litter_input"], litter),
            "bedrock_layer": (DIMENSIONS["bedrock_layer"], np.nan_to_num(bedrock, nan=0).astype(int)),
            "continuous": (("site", "continuous_covariate"), np.stack([column[c] for c in CONTINUOUS], axis=1)),
            "categorical": (
                ("site", "categorical_covariate"),
                np.nan_to_num(np.stack([column[c] for c in CATEGORICAL], axis=1), nan=-1).astype(int),
            ),
        },
        coords={
            "site": sites,
            "longitude": ("site", column["Lon"], {"units": "degrees_east"}),
            "latitude": ("site", column["Lat"], {"units": "degrees_north"}),
            "layer": ("layer", NODE_DEPTH[:LAYERS], {"units": "m"}),
            "month": np.arange(1, MONTHS + 1),
            "litter_pool": list(LITTER_POOLS),
            "continuous_covariate": list(CONTINUOUS),
            "continuous_unit": ("continuous_covariate", [dict(COLUMNS)[c] for c in CONTINUOUS]),
            "categorical_covariate": list(CATEGORICAL),
        },
    )


def read_table(path: Path, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """Read a published file: numbers separated by commas, or a NumPy file.

    Parameters
    ----------
    path : Path
    shape : tuple of int or None
        Shape it must have; ``None``: any length.

    Raises
    ------
    InputError
        If the file is missing, truncated, unreadable, or of another shape.
    """
    if not path.is_file():
        raise InputError(f"no file {path}", "the published files", _CURE)
    try:
        content = path.read_bytes()
        values = _numbers(content, 1 if len(shape) == 1 else 2) if path.suffix == ".txt" else _array(content)
    except (OSError, EOFError, ValueError, Warning) as error:
        got = " ".join(f"a file that cannot be read, {path} ({error})".split())
        raise InputError(got, "a whole file", _CURE) from error
    if len(values.shape) != len(shape) or any(e not in (None, n) for n, e in zip(values.shape, shape, strict=True)):
        expected = " x ".join("any" if length is None else str(length) for length in shape)
        got = " x ".join(map(str, values.shape))
        raise InputError(f"{path} with {got} values", f"{expected} values", f"it may be truncated: {_CURE}")
    return np.asarray(values, dtype=np.float64)


def _numbers(content: bytes, dimensions: Literal[1, 2]) -> NDArray[np.float64]:
    """Parse lines of numbers separated by commas."""
    if not content.endswith(b"\n"):
        raise ValueError("its last line is cut off")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a file without numbers is a mere warning to NumPy
        return np.loadtxt(io.BytesIO(content), delimiter=",", ndmin=dimensions)


def _array(content: bytes) -> NDArray[Any]:
    """Parse a NumPy file that holds floating-point numbers."""
    values = np.load(io.BytesIO(content), allow_pickle=False)
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        raise ValueError("it holds no array of numbers")
    return values


def _constant(monthly: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    """Return a value per site that is published once a month and must not change from month to month."""
    if not np.array_equal(monthly, np.broadcast_to(monthly[:, :1], monthly.shape), equal_nan=True):
        raise InputError(f"{path} with values that change within the year", "one value per site", _CURE)
    return monthly[:, 0]
