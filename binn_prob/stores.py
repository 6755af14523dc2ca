"""Zarr stores that are filled piece by piece along the sites, so that all sites need never be in memory."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from binn_prob.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CHUNK", "ENDING", "create", "finished", "library", "opened", "own", "plain", "write"]

ENDING = ".zarr"

CHUNK = 512
"""Sites in a chunk of a store of sites: about a megabyte of each monthly variable"""

_FORMAT = 3


def library() -> Any:
    """Return the module ``zarr``.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import zarr
    except ImportError:
        cure = 'run  pip install "binn-prob[zarr]",  or use a path that ends in .nc'
        raise InputError("a Zarr store, without the library that reads and writes it", "zarr", cure) from None
    return zarr


def opened(path: str | Path, mode: str = "r") -> Any:
    """Open a store: its arrays by name, read and written where they are indexed.

    Raises
    ------
    InputError
        If there is none.
    """
    try:
        return library().open_group(str(path), mode=mode, use_consolidated=False)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"an unreadable store {path} ({reason})", "a Zarr store", "correct the path") from error


def own(dataset: xr.Dataset) -> list[str]:
    """Return the names of what each site has of its own."""
    return [str(name) for name, variable in dataset.variables.items() if "site" in variable.dims]


def plain(dataset: xr.Dataset) -> xr.Dataset:
    """Return the same with text of any length, which every reader of Zarr knows, and without hints from other files."""
    text = {name: variable.astype(object) for name, variable in dataset.variables.items() if variable.dtype.kind == "U"}
    return dataset.assign({str(name): variable for name, variable in text.items()}).drop_encoding()


def create(path: str | Path, template: xr.Dataset, sites: int, chunk: int = CHUNK) -> None:
    """Make a store in which there is room for so many sites.

    Parameters
    ----------
    path : path
        Where there is nothing yet.
    template : xarray.Dataset
        A few sites: what they have of their own is written later, by :func:`write`, the rest now.
    sites : int
        How many there will be.
    chunk : int
        Sites in a chunk; pieces that are written by themselves must start and end with chunks.
    """
    template = plain(template)
    template.drop_vars(own(template)).to_zarr(str(path), mode="w-", zarr_format=_FORMAT, consolidated=False)
    store = opened(path, "r+")
    for name in own(template):
        variable = template.variables[name].transpose("site", ...)
        store.create_array(
            name,
            shape=(sites, *variable.shape[1:]),
            chunks=(min(chunk, sites), *(max(1, size) for size in variable.shape[1:])),
            dtype=str if variable.dtype.kind == "O" else variable.dtype,
            fill_value=np.nan if variable.dtype.kind == "f" else None,
            dimension_names=list(map(str, variable.dims)),
            attributes=dict(variable.attrs),
        )
    names = [str(name) for name in template.coords if name not in template.dims]
    store.attrs["coordinates"] = " ".join(names)  # of the conventions CF, as xarray writes them


def write(store: Any, first: int, piece: xr.Dataset) -> None:
    """Write what some sites have of their own, from the position ``first`` on."""
    piece = plain(piece)
    for name in own(piece):
        values = piece.variables[name].transpose("site", ...).to_numpy()
        store[name][first : first + len(values)] = values


def finished(path: str | Path) -> None:
    """Gather the description of a store's arrays in one place, where xarray looks for it first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is an extension of version 3 of the format
        library().consolidate_metadata(str(path))
