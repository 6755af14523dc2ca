"""Sites in a file that are read a few at a time, so that a file of any size takes little memory.

Chunks are read one after another and each but once, so plain slices of a file that xarray has opened are enough: a
graph of tasks, such as dask makes, would plan what is known beforehand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from binn_prob import stores
from binn_prob.data.schema import validate
from binn_prob.data.sources import is_file_name
from binn_prob.data.storage import opened
from binn_prob.data.summary import fingerprint
from binn_prob.errors import InputError

if TYPE_CHECKING:
    import os

    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["StoredSites", "stored"]


@dataclass(frozen=True, eq=False)
class StoredSites:
    """Sites in a file that is open; only their ids are held in memory."""

    path: Path
    lazy: xr.Dataset
    """What is in the file, not read yet"""
    ids: NDArray[np.generic]
    """(site,)"""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def chunk(self) -> int:
        """Sites that must be read at once, because the file keeps them so: 1 if any can be read alone."""
        kept = [self.lazy[name] for name in stores.own(self.lazy)]
        sizes = [(one.encoding.get("chunks") or one.encoding.get("chunksizes"), one.dims) for one in kept]
        return max((size[dims.index("site")] for size, dims in sizes if size), default=1)

    @property
    def bytes_a_site(self) -> float:
        """Memory that a site takes when it has been read [byte]."""
        return sum(self.lazy[name].nbytes for name in stores.own(self.lazy)) / len(self)

    def read(self, first: int, count: int, *, check: bool = True) -> xr.Dataset:
        """Read so many sites, or as many as there are, from the position ``first`` on.

        Raises
        ------
        InputError
            If they are not what they must be; nothing but what is read is looked at, and not even that without
            ``check``.
        """
        part = self.lazy.isel(site=slice(first, first + count))
        try:
            part = part.load()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120]
            got = f"{self.path}, whose sites from position {first} on cannot be read ({reason})"
            raise InputError(got, "a complete file of sites", "write it again") from error
        return validate(part) if check else part

    def pieces(self, count: int, *, check: bool = True) -> Iterator[xr.Dataset]:
        """Read all sites in their order, so many at a time; raises as :meth:`read`."""
        for first in range(0, len(self), count):
            yield self.read(first, count, check=check)

    def examined(self, count: int, told: Callable[[int], object] = lambda sites: None) -> str:
        """Read all sites once, and return a fingerprint of them and of ``count``, how many are read at a time.

        Parameters
        ----------
        count : int
        told : callable
            Called with the number of sites of each piece.

        Raises
        ------
        InputError
            If some are not what they must be.
        """
        digest = hashlib.sha256()
        for piece in self.pieces(count):
            digest.update(fingerprint(piece).encode())
            told(piece.sizes["site"])
        return digest.hexdigest()


@contextmanager
def stored(path: str | os.PathLike[str]) -> Iterator[StoredSites]:
    """Open a file of sites, which are read when they are asked for.

    Parameters
    ----------
    path : path
        Of a netCDF file (``.nc``) or a Zarr store (``.zarr``), such as :func:`binn_prob.data.save` writes.

    Raises
    ------
    InputError
        If there is no such file, it holds no site, or ids are given twice.
    """
    path = Path(path).expanduser()
    if not is_file_name(str(path)):
        raise InputError(f"sites {str(path)!r}", "a netCDF file (.nc) or a Zarr store (.zarr)", "correct the path")
    with opened(path) as lazy:
        if "site" not in lazy.coords or not lazy.sizes["site"]:
            raise InputError(f"{path} without sites", "a file of sites", "write it again")
        ids = lazy["site"].to_numpy()
        if len(np.unique(ids)) < len(ids):
            raise InputError(f"{path}, which gives sites twice", "each site once", "leave the repeated ones out")
        yield StoredSites(path, lazy, ids)
