"""Sites in netCDF files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from binn_prob.data.schema import validate
from binn_prob.errors import InputError
from binn_prob.files import replacing, reserved

if TYPE_CHECKING:
    import os

    import xarray as xr

__all__ = ["checked_path", "read", "save"]

_OVERHEAD = 2**20
"""What a netCDF file may take beside its arrays, at most [byte]."""


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
        If the sites are not what they must be, or the path is not that of a new file in an existing folder.
    """
    path, sites = checked_path(path), validate(dataset)
    with replacing(path) as temporary:
        # HDF5 may bring down the process when it closes a file that it could not finish.
        reserved(temporary, sites.nbytes * 21 // 20 + _OVERHEAD)
        sites.to_netcdf(temporary, engine="h5netcdf")
    return path


def checked_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file of sites that can be written.

    Raises
    ------
    InputError
        If it does not end in ``.nc``, there is something already, or its folder does not exist.
    """
    path = Path(path).expanduser()
    if path.suffix != ".nc":
        raise InputError(f"{path}", "a path that ends in .nc", "correct the path")
    if path.exists():
        raise InputError(f"{path}, which is there already", "a new file", "give another path, or remove it")
    if not path.parent.is_dir():
        raise InputError(f"{path} in a folder that does not exist", "a path in an existing folder", "make the folder")
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
