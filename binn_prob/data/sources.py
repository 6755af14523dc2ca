"""The datasets by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from binn_prob.data.arguments import generator, whole_number
from binn_prob.errors import InputError

if TYPE_CHECKING:
    import os

    import xarray as xr

__all__ = ["Name", "load"]

Name = Literal["synthetic", "new-york"]

_SYNTHETIC_SITES = 64


def load(
    name: Name,
    *,
    sites: int | Sequence[int] | None = None,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
) -> xr.Dataset:
    """Return a dataset by name.

    Parameters
    ----------
    name : {"synthetic", "new-york"}
        Sites made from known parameters (:mod:`binn_prob.data.synthetic`), or the published profiles of New York State
        (:mod:`binn_prob.data.new_york`).
    sites : int or sequence of int, optional
        Number of sites, or their ids.  Synthetic: 64 by default.  New York: a number means a random subset of the
        usable profiles, all by default.
    seed : int
        Of the synthetic sites, or of the random subset.
    folder : path, optional
        Where the published files lie; see :func:`binn_prob.data.new_york.data_folder`.

    Returns
    -------
    xarray.Dataset
        See :mod:`binn_prob.data.schema`.

    Raises
    ------
    InputError
        If there is no such dataset or site, its files cannot be read, or it has fewer sites.
    """
    if name not in get_args(Name):
        raise InputError(f"dataset {name!r}", " or ".join(map(repr, get_args(Name))), "choose one of them")
    if isinstance(sites, Sequence):
        sites = [whole_number("sites", site, 0) for site in sites]
    elif sites is not None:
        whole_number("sites", sites, 1)
    if name == "synthetic":
        from binn_prob.data import synthetic

        if folder is not None:
            raise InputError("a folder for synthetic sites", "none, for they are made", "leave the folder out")
        number = _SYNTHETIC_SITES if sites is None or isinstance(sites, Sequence) else sites
        made = synthetic.generate(sites=number, seed=seed)
        return _named(made, sites) if isinstance(sites, Sequence) else made
    from binn_prob.data import new_york

    dataset: xr.Dataset = new_york.read(folder)
    if sites is None:
        return dataset
    return _named(dataset, sites) if isinstance(sites, Sequence) else _subset(dataset, sites, seed)


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
