"""The posteriors of a farm, out of its store: as a tree in memory, opened lazily, or as a fit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from binn_prob.errors import InputError
from binn_prob.farm.store import Store

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.inference import Fit
    from binn_prob.results.convergence import Convergence

__all__ = ["FittedSites", "open_sites"]

_COPIES = 3.0
"""How many times a tree is in memory while it is read, put in order, judged and written."""

_CANONICAL = ("chain", "draw", "site")
"""First dimensions of a posterior, in their order; in the store the site is first."""


@dataclass(frozen=True)
class FittedSites:
    """The posteriors of all sites of a farm."""

    store: Store = field(repr=False)
    model: Any
    method: Any
    dataset: xr.Dataset = field(repr=False)

    def open(self) -> xr.DataTree:
        """Return the posteriors opened lazily, with the sites in the order of the store: see :func:`open_sites`."""
        return open_sites(self.store.folder)

    def tree(self) -> xr.DataTree:
        """Return the posteriors in memory, as :meth:`binn_prob.inference.Fit.posterior` gives them.

        Raises
        ------
        InputError
            If what stands in the store is not what was written.
        """
        import xarray as xr

        lazy = self.open()
        groups = {str(name): group.to_dataset().load() for name, group in lazy.children.items()}
        self._refuse_damage(groups)
        tree = xr.DataTree.from_dict({name: self._in_order(group) for name, group in groups.items()})
        tree.attrs = lazy.attrs
        for name, group in tree.children.items():
            group.attrs = lazy.children[name].attrs
        if excluded := self._exclusions():
            tree.children["observed_data"].attrs |= {"exclusions": json.dumps(excluded)}
        return tree

    def fit(self) -> Fit:
        """Return the fit of all sites; only what was sampled is read into memory, and not what follows from it."""
        from binn_prob.saved import from_tree

        return from_tree(self.open(), self.model, self.method, self.dataset, self.convergence.verdict)

    @cached_property
    def convergence(self) -> Convergence:
        """What the diagnostics of every site say."""
        import xarray as xr

        from binn_prob.results.convergence import of_sites

        units = self.store.done().values()
        names = next(iter(units))["convergence"]
        columns = {name: [value for one in units for value in one["convergence"][name]] for name in names}
        judged = xr.Dataset(
            {name: ("site", np.array(values, dtype=_kind(values))) for name, values in columns.items()},
            coords={"site": np.concatenate([one["sites"] for one in units])},
        )
        where = {name: self.dataset[name] for name in ("longitude", "latitude") if name in self.dataset.coords}
        return of_sites(self._in_order(judged).assign_coords(where))

    def gibibytes(self) -> float:
        """Return what the posteriors take in memory [GiB]."""
        return float(sum(group.nbytes for group in self.open().children.values()) / 2**30)

    def fits_in_memory(self) -> bool:
        """Say whether there is room for :meth:`tree` and what is done with it."""
        import psutil
        from distributed.system import MEMORY_LIMIT

        return _COPIES * self.gibibytes() < min(psutil.virtual_memory().available, MEMORY_LIMIT) / 2**30

    def _in_order(self, group: xr.Dataset) -> xr.Dataset:
        """Return a group with the sites in the order of the data set, and its dimensions in the usual one."""
        places = group.indexes["site"].get_indexer(self.dataset.indexes["site"])
        return group.isel(site=places).transpose(*_CANONICAL, ..., missing_dims="ignore").drop_encoding()

    def _refuse_damage(self, groups: Mapping[str, xr.Dataset]) -> None:
        """Refuse groups of the store that are not what was written."""
        from binn_prob.data import fingerprint

        for unit, said in self.store.done().items():
            for name, written in said["fingerprints"].items():
                if fingerprint(groups[name].isel(site=self.store.place(unit))) != written:
                    got = f"{self.store.posterior / name}, damaged at the sites {', '.join(map(str, said['sites']))}"
                    cure = f"remove {self.store.file(unit)} and resume; they are then fitted again"
                    raise InputError(got, "what a farm has written", cure)

    def _exclusions(self) -> dict[str, int]:
        """Return what was left out of the data, and what in every unit."""
        before = Counter(json.loads(self.dataset.attrs.get("exclusions", "{}")))
        total = Counter(before)
        for one in self.store.done().values():
            total.update({reason: number - before[reason] for reason, number in one["exclusions"].items()})
        return dict(total)


def open_sites(folder: str | Path) -> xr.DataTree:
    """Open the posteriors of a farm lazily: arrays are read where they are used, with Dask.

    Parameters
    ----------
    folder : path
        Of a farm, such as ``farm_site_nuts`` in the folder of a run.

    Returns
    -------
    xarray.DataTree
        With the groups and attributes of any posterior; the sites are in the order of the store, and a chunk is a unit.
        ``tree["posterior/parameters"].sel(site=…)`` reads what it needs.

    Raises
    ------
    InputError
        If it is not the folder of a farm, or units are still missing.
    """
    import jax
    import xarray as xr

    store, identity = _found(Path(folder))
    tree = xr.open_datatree(store.posterior, engine="zarr", chunks={}, consolidated=False)
    units = store.done().values()
    missing = tree.children["posterior"].sizes["site"] - sum(len(one["sites"]) for one in units)
    if missing:
        raise InputError(f"{folder}, where {missing} sites are missing", "a farm that has ended", "resume it")
    weights = [len(one["sites"]) for one in units]
    key = jax.random.key_data(jax.random.key(identity["seed"])).tolist()
    tree.attrs |= {
        "seed": identity["seed"],
        "data_fingerprint": identity["data_fingerprint"],
        "created": max(one["created"] for one in units),
        "wall_seconds": float(sum(one["wall_seconds"] for one in units)),
        "gradients": float(np.average([one["gradients"] for one in units], weights=weights)),
        "prediction": json.dumps({"key": key, "options": {}}),
    }
    peaks = [one["peak_memory"] for one in units if one["peak_memory"] == one["peak_memory"]]
    tree.attrs |= {"peak_memory": max(peaks)} if peaks else {}
    return tree


def _found(folder: Path) -> tuple[Store, dict[str, Any]]:
    """Return the store in a folder, and what determines its draws."""
    if not (folder / "identity.json").is_file() or not (folder / "posterior.zarr").is_dir():
        raise InputError(
            f"{folder}, where there is no farm", "a folder that fit_sites has filled", "correct the folder"
        )
    identity = Store(folder, 0, 1).identity()
    return Store(folder, 0, identity["sites_per_unit"]), identity


def _kind(values: list[Any]) -> type:
    """Return the type of an array of values."""
    return {bool: bool, str: object}.get(type(values[0]), float)
