"""Sites in files: netCDF, or a Zarr store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from binn_prob import stores
from binn_prob.data.schema import validate
from binn_prob.errors import InputError
from binn_prob.files import replacing, reserved

if TYPE_CHECKING:
    import os

    import xarray as xr

__all__ = ["ENDINGS", "checked_path", "opened", "read", "save"]

ENDINGS = (".nc", stores.ENDING)
"""Of the paths of files of sites"""

_OVERHEAD = 2**20
"""What a netCDF file may take beside its arrays, at most [byte]."""


def save(dataset: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write sites to a file, which appears under its name only when it is complete.

    Parameters
    ----------
    dataset : xarray.Dataset
        See :mod:`binn_prob.data.schema`.
    path : path
        Ends in ``.nc``, a netCDF file, or in ``.zarr``, a Zarr store: a folder of chunks of sites, for which zarr must
        be installed.  :func:`binn_prob.data.load` reads it, and so does ``--data`` of the command line.

    Raises
    ------
    InputError
        If the sites are not what they must be, or the path is not that of a new file in an existing folder.
    """
    path, sites = checked_path(path), validate(dataset)
    with replacing(path) as temporary:
        if path.suffix == stores.ENDING:
            stores.create(temporary, sites, sites.sizes["site"])
            stores.write(stores.opened(temporary, "r+"), 0, sites)
            stores.finished(temporary)
        else:
            # HDF5 may bring down the process when it closes a file that it could not finish.
            reserved(temporary, sites.nbytes * 21 // 20 + _OVERHEAD)
            sites.to_netcdf(temporary, engine="h5netcdf")
    return path


def checked_path(path: str | os.PathLike[str], endings: tuple[str, ...] = ENDINGS) -> Path:
    """Return the path of a file of sites that can be written.

    Raises
    ------
    InputError
        If it has another ending, there is something already, its folder does not exist, or zarr would be needed and is
        not installed.
    """
    path = Path(path).expanduser()
    if path.suffix not in endings:
        raise InputError(f"{path}", f"a path that ends in {' or '.join(endings)}", "correct the path")
    if path.exists():
        raise InputError(f"{path}, which is there already", "a new file", "give another path, or remove it")
    if not path.parent.is_dir():
        raise InputError(f"{path} in a folder that does not exist", "a path in an existing folder", "make the folder")
    if path.suffix == stores.ENDING:
        stores.library()
    return path


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read sites from a file, all of it into memory.

    Raises
    ------
    InputError
        If the file is missing, unreadable, or its sites are not what they must be.
    """
    with opened(path) as dataset:
        try:
            sites = dataset.load()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise _unreadable(path, error) from error
    return validate(sites)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[xr.Dataset]:
    """Open a file of sites, of which nothing is read but what is asked for, and nothing is kept.

    Raises
    ------
    InputError
        If the file is missing or unreadable.
    """
    import xarray as xr

    path = Path(path)
    store = path.suffix == stores.ENDING
    if not (path.is_dir() if store else path.is_file()):
        raise InputError(
            f"no file {path}", f"a {'Zarr store' if store else 'netCDF file'} of sites", "correct the path"
        )
    if store:
        stores.library()
    try:
        kind: Any = {"engine": "zarr", "consolidated": False} if store else {}
        lazy = xr.open_dataset(path, cache=False, **kind)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    with lazy:
        text = {
            name: lazy[name].astype(object).astype(str)
            for name, values in lazy.coords.items()
            if values.dtype.kind in "OT"
        }
        yield lazy.assign_coords({str(name): values for name, values in text.items()})


def _unreadable(path: str | os.PathLike[str], error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:120]
    return InputError(f"an unreadable file {path} ({reason})", "a file of sites", "write it again")
