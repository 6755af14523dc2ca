"""Sites in netCDF files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from binn_prob.data.schema import validate
from binn_prob.errors import InputError
from binn_prob.files import replacing

if TYPE_CHECKING:
    import os

    import xarray as xr

__all__ = ["read", "save"]


def save(dataset: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write sites to a netCDF file, which appears under its name only when it is complete.

    Parameters
    ----------
    dataset : xarray.Dataset
        See :mod:`binn_prob.data.schema`.
    path : path
        Ends in ``.nc``; :func:`binn_prob.data.load` reads it, and so does ``--data`` of the command line.

    Raises
    ------
    InputError
        If the sites are not what they must be, or the folder does not exist.
    """
    path = Path(path)
    if path.suffix != ".nc":
        raise InputError(f"{path}", "a path that ends in .nc", "correct the path")
    sites = validate(dataset)
    with replacing(path) as temporary:
        sites.to_netcdf(temporary, engine="h5netcdf")
    return path


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read sites from a netCDF file, all of it into memory.

    Raises
    ------
    InputError
        If the file is missing, unreadable, or its sites are not what they must be.
    """
    import xarray as xr

    if not Path(path).is_file():
        raise InputError(f"no file {path}", "a netCDF file of sites", "correct the path")
    try:
        with xr.open_dataset(path) as dataset:
            sites = dataset.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"an unreadable file {path} ({reason})", "a netCDF file of sites", "write it again") from error
    return validate(sites)
