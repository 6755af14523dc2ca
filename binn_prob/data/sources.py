"""The datasets by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from binn_prob.data.arguments import generator, whole_number
from binn_prob.errors import InputError

if TYPE_CHECKING:
    import os

    import xarray as xr

__all__ = ["NAMES", "absolute", "is_file_name", "load", "screening_of"]

NAMES = ("synthetic", "new-york", "new-york-grid", "national")
"""Names of datasets; anything else is the path of a file."""

_ENDINGS = (".nc", ".zarr")

_SYNTHETIC_SITES = 64


def load(
    name: str,
    *,
    sites: int | Sequence[int] | None = None,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    screening: str | Sequence[str] | None = None,
    proda_counts_from: int | None = None,
) -> xr.Dataset:
    """Return a dataset by name.

    Parameters
    ----------
    name : {"synthetic", "new-york", "new-york-grid", "national"} or str
        Sites made from known parameters (:mod:`binn_prob.data.synthetic`); the published profiles of New York State, or
        its grid cells, which have no observation (:mod:`binn_prob.data.new_york`); BINN's profiles of the conterminous
        United States (:mod:`binn_prob.data.national`); or a netCDF file (``.nc``) or Zarr store (``.zarr``) of sites,
        such as :func:`binn_prob.data.save` writes.
    sites : int or sequence of int, optional
        Number of sites, or their ids.  Synthetic: 64 by default.  Others: a number means a random subset, all by
        default.
    seed : int
        Of the synthetic sites, or of the random subset.
    folder : path, optional
        Where the published files lie; see :func:`binn_prob.data.new_york.data_folder` and
        :func:`binn_prob.data.national.data_folder`.
    screening, proda_counts_from : optional
        Of the national profiles alone: see :func:`binn_prob.data.national.read`, whose defaults are the defaults here.
        An empty list of tests lets all profiles pass.

    Returns
    -------
    xarray.Dataset
        See :mod:`binn_prob.data.schema`.

    Raises
    ------
    InputError
        If there is no such dataset, site or screening, its files cannot be read, or it has fewer sites.
    """
    if name not in NAMES and not is_file_name(name):
        expected = f"{', '.join(map(repr, NAMES))}, or a netCDF file (.nc) or Zarr store (.zarr)"
        raise InputError(f"dataset {name!r}", expected, "choose one of them")
    if isinstance(sites, Sequence):
        sites = [whole_number("sites", site, 0) for site in sites]
    elif sites is not None:
        whole_number("sites", sites, 1)
    passing = screening_of(name, screening, proda_counts_from)
    if folder is not None and (name == "synthetic" or is_file_name(name)):
        raise InputError(f"a folder for {name!r}", "none, but for published files", "leave the folder out")
    if name == "synthetic":
        from binn_prob.data import synthetic

        number = _SYNTHETIC_SITES if sites is None or isinstance(sites, Sequence) else sites
        made = synthetic.generate(sites=number, seed=seed)
        return _named(made, sites) if isinstance(sites, Sequence) else made
    dataset = _read(name, folder, passing)
    if sites is None:
        return dataset
    return _named(dataset, sites) if isinstance(sites, Sequence) else _subset(dataset, sites, seed)


def is_file_name(name: str) -> bool:
    """Say whether a name is the path of a file of sites, by its ending."""
    return name.rstrip("/").endswith(_ENDINGS)


def absolute(name: str) -> str:
    """Return a path in full, so that it means the same in any folder; another name as it is."""
    return str(Path(name).expanduser().absolute()) if is_file_name(name) else name


def screening_of(name: str, screening: str | Sequence[str] | None, proda_counts_from: int | None) -> dict[str, Any]:
    """Return which profiles pass, as arguments of the reader of the national ones, or none for other data.

    Raises
    ------
    InputError
        If there is no such screening, no such number to count from, or either is given for other data.
    """
    asked = {"screening": screening, "proda_counts_from": proda_counts_from}
    given = {argument: value for argument, value in asked.items() if value is not None}
    if name != "national":
        if given:
            got = f"{' and '.join(given)} for {name!r}"
            raise InputError(got, "neither, but for 'national'", "leave them out")
        return {}
    from binn_prob.data.national_filters import tests_of

    tests_of(screening)
    if proda_counts_from not in (None, 0, 1):
        cure = "say what number PRODA's results give the first profile"
        raise InputError(f"proda_counts_from {proda_counts_from!r}", "0 or 1", cure)
    return {"screening": "binn", "proda_counts_from": 0} | given


def _read(name: str, folder: str | os.PathLike[str] | None, passing: dict[str, Any]) -> xr.Dataset:
    """Return all sites of published or own files."""
    if is_file_name(name):
        from binn_prob.data import storage

        return storage.read(absolute(name))
    if name == "national":
        from binn_prob.data import national

        return national.read(folder, **passing)
    from binn_prob.data import new_york

    return new_york.read(folder) if name == "new-york" else new_york.read_grid(folder)


def _named(dataset: xr.Dataset, sites: Sequence[int]) -> xr.Dataset:
    """Choose sites by their ids, in the order given."""
    from binn_prob.data.observations import left_packed

    known = dataset.indexes["site"]
    if missing := [site for site in sites if site not in known]:
        got = f"no site {', '.join(map(str, missing))}"
        raise InputError(got, f"ids among the {len(known)} usable sites, such as {known[0]}", "correct the ids")
    if len(set(sites)) < len(sites):
        raise InputError(f"the sites {', '.join(map(str, sites))}", "each site once", "leave the repeated ones out")
    return left_packed(dataset.sel(site=list(sites)))


def _subset(dataset: xr.Dataset, sites: int, seed: int) -> xr.Dataset:
    """Choose sites at random, kept in their order."""
    from binn_prob.data.observations import left_packed

    available = dataset.sizes["site"]
    if sites > available:
        raise InputError(f"{sites} sites", f"at most {available}, the usable ones", "ask for fewer, or leave sites out")
    chosen = np.sort(generator(seed).choice(available, size=sites, replace=False))
    return left_packed(dataset.isel(site=chosen))
