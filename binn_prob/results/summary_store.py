"""Summaries of any number of sites in a Zarr store, written chunk by chunk.

===========  ============================  =======  ================================================================
variable     dimensions                    unit     meaning
===========  ============================  =======  ================================================================
parameters   site, statistic, parameter    by name  ``statistic`` is ``mean``, ``sd`` and quantiles, such as ``q05``
processes    site, statistic, process      by name
soc_layer    site, statistic, layer        g C m-3  soil organic carbon of each layer, 0 below bedrock
===========  ============================  =======  ================================================================

The numbers are those of :func:`binn_prob.results.summary.by_site`, as float32.  Chunks that are written are marked, so
that a store whose writing was broken off is finished from there; a complete one has the attribute ``complete``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from binn_prob import stores
from binn_prob.clm5.layers import LAYERS, NODE_DEPTH
from binn_prob.clm5.parameters import NAMES, PARAMETERS
from binn_prob.clm5.processes import PROCESS_NAMES, PROCESSES
from binn_prob.errors import InputError
from binn_prob.files import replacing
from binn_prob.results.distance import beyond_rounding
from binn_prob.results.summary import OF, STATISTICS, statistics

__all__ = ["SummaryStore", "opened", "overview", "summarised"]

_LABELS: dict[str, Any] = {
    "statistic": list(STATISTICS), "parameter": list(NAMES), "process": list(PROCESS_NAMES),
    "layer": NODE_DEPTH[:LAYERS],
}  # fmt: skip
_WRITTEN, _COMPLETE, _ORIGIN = "written", "complete", "origin"
_PLACE = {"longitude": "degrees_east", "latitude": "degrees_north"}


def summarised(draws: Mapping[str, np.ndarray], sites: xr.Dataset) -> xr.Dataset:
    """Summarise draws of some sites, as they are stored.

    Parameters
    ----------
    draws : mapping of arrays
        ``parameters``, ``processes`` and ``soc_layer``, each (chain, draw, site, …).
    sites : xarray.Dataset
        With the coordinates of ``site``.
    """
    variables = {}
    for name, dimension in OF.items():
        values = draws[name]
        found = statistics(values.reshape(-1, *values.shape[2:])).astype(np.float32)
        variables[name] = (("site", "statistic", dimension), np.moveaxis(found, 0, 1))
    table = xr.Dataset(variables, coords=_LABELS | {"site": sites["site"].to_numpy()})
    table["layer"].attrs["units"] = "m"
    table["soc_layer"].attrs["units"] = "g C m-3"
    places = {name: ("site", sites[name].to_numpy(), {"units": unit}) for name, unit in _PLACE.items() if name in sites}
    return table.assign_coords(
        places
        | {
            "parameter_unit": ("parameter", [row.unit for row in PARAMETERS]),
            "process_unit": ("process", [row.unit for row in PROCESSES]),
        }
    )


def _empty(sites: xr.Dataset) -> xr.Dataset:
    """Return the form of what is stored of some sites."""
    return summarised({name: np.zeros((1, 1, sites.sizes["site"], len(_LABELS[of]))) for name, of in OF.items()}, sites)


@dataclass(frozen=True, eq=False)
class SummaryStore:
    """A store that is being written."""

    path: Path
    sites: int
    chunk: int
    """Sites in a chunk; the last may have fewer"""
    store: Any
    """Its arrays by name"""

    @classmethod
    def create(
        cls, path: Path, some: xr.Dataset, sites: int, chunk: int, origin: Mapping[str, Any], attrs: Mapping[str, Any]
    ) -> SummaryStore:
        """Make a store for so many sites, in which nothing is written yet.

        Parameters
        ----------
        path : path
            Where there is nothing yet.
        some : xarray.Dataset
            One site or more, for the kind of their ids.
        sites, chunk : int
            How many, and how many in a chunk.
        origin : mapping
            What determines the numbers, for :meth:`check`.
        attrs : mapping
            Attributes that say where the numbers come from.
        """
        with replacing(path) as temporary:
            stores.create(temporary, _empty(some).assign_attrs(attrs), sites, chunk)
            store = stores.opened(temporary, "r+")
            store.attrs[_ORIGIN] = json.dumps(origin)
            count = -(-sites // chunk)
            store.create_array(_WRITTEN, shape=(count,), chunks=(1,), dtype=np.int8, dimension_names=["chunk"])
        return cls(path, sites, chunk, stores.opened(path, "r+"))

    @classmethod
    def begun(cls, path: Path) -> SummaryStore:
        """Open a store that was begun, to write the rest.

        Raises
        ------
        InputError
            If it is not such a store.
        """
        store = stores.opened(path, "r+")
        if _ORIGIN not in store.attrs:
            raise InputError(f"{path}, which is no prediction", "one that was begun", "give another path")
        return cls(path, store["site"].shape[0], store["site"].chunks[0], store)

    def check(self, origin: Mapping[str, Any]) -> None:
        """Refuse to go on with other data or another fit than the store was begun with.

        Raises
        ------
        InputError
            If something differs.
        """
        begun = json.loads(self.store.attrs[_ORIGIN])
        differ = [name for name in origin if begun.get(name) != origin[name]]
        if differ:
            got = f"{self.path}, begun with another {' and '.join(differ)}"
            raise InputError(got, "the same as before", "bring it back as it was, or start anew elsewhere")

    def missing(self) -> list[int]:
        """Return the numbers of the chunks that are still to be written."""
        if _COMPLETE in self.store.attrs:
            return []
        return [int(number) for number in np.flatnonzero(self.store[_WRITTEN][:] == 0)]

    def write(self, number: int, table: xr.Dataset) -> None:
        """Write a chunk, and then mark it: a process that is killed before leaves it to be written again."""
        stores.write(self.store, number * self.chunk, table)
        os.sync()  # else a machine that fails may keep the mark and lose the numbers
        self.store[_WRITTEN][number] = 1

    def finish(self) -> None:
        """Say that the store is complete."""
        if _COMPLETE not in self.store.attrs:
            self.store.attrs[_COMPLETE] = 1
            stores.finished(self.path)


@contextmanager
def opened(path: str | Path) -> Iterator[xr.Dataset]:
    """Open a complete store, of which nothing is read but what is asked for.

    Raises
    ------
    InputError
        If it is missing, unreadable or not complete.
    """
    store = stores.opened(path)
    if _COMPLETE not in store.attrs:
        raise InputError(f"{path}, which is not complete", "a finished prediction", "finish it with --resume")
    with xr.open_dataset(str(path), engine="zarr", consolidated=False, cache=False) as table:
        yield table.drop_vars(_WRITTEN)


def overview(path: str | Path) -> xr.Dataset:
    """Return ``mean`` and ``sd`` (site, process) of the processes at all sites, with their places: 112 bytes a site.

    Raises
    ------
    InputError
        As :func:`opened`.
    """
    with opened(path) as table:
        chunk = table["processes"].encoding["chunks"][0]
        firsts = range(0, table.sizes["site"], chunk)
        parts = [table["processes"].isel(site=slice(at, at + chunk), statistic=[0, 1]).load() for at in firsts]
    both = xr.concat(parts, "site").astype(np.float64)
    mean, deviation = (both.sel(statistic=name, drop=True) for name in ("mean", "sd"))
    return xr.Dataset({"mean": mean, "sd": beyond_rounding(deviation, mean)})
