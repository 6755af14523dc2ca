"""What a farm has computed so far: a folder that all its processes see.

====================  ==================================================================================================
``posterior.zarr``    the posteriors of all sites, a Zarr store with the groups of
                      :mod:`binn_prob.results.posterior`; a unit is a chunk of every array
``units/<unit>.json``  appears when all of a unit stands in the store: its sites, its cost, its diagnostics
``identity.json``     everything that determines the draws
``lock``              held by the one process that hands the units out
====================  ==================================================================================================

A worker that dies leaves at most a unit without its file, which is then computed again, to the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from binn_prob.claims import IDENTITY, claimed, read_json, write_json
from binn_prob.files import remove_leftovers, replacing

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Store"]

_KIND, _UNITS, _POSTERIOR = "farm", "units", "posterior.zarr"


@dataclass(frozen=True)
class Store:
    """The folder of a farm, as its processes write to it."""

    folder: Path
    sites: int
    """All of the farm"""
    sites_per_unit: int

    @property
    def posterior(self) -> Path:
        """Path of the Zarr store."""
        return self.folder / _POSTERIOR

    @contextmanager
    def held(self, identity: Mapping[str, Any], *, resume: bool) -> Iterator[None]:
        """Hold the folder, so that no other process hands units out.

        Raises
        ------
        InputError
            If another process holds it, it is that of another farm, it is that of this one and ``resume`` is false, or
            it holds anything else.
        """
        with claimed(self.folder, identity, _KIND, resume=resume):
            (self.folder / _UNITS).mkdir(exist_ok=True)
            yield

    def done(self) -> dict[int, dict[str, Any]]:
        """Return what is said of the units that stand in the store."""
        found = sorted((self.folder / _UNITS).glob("*.json"))
        return {int(file.stem): read_json(file, _KIND) for file in found}

    def has(self, unit: int) -> bool:
        """Say whether a unit stands in the store."""
        return self.file(unit).exists()

    def file(self, unit: int) -> Path:
        """Return the path of the file that says so."""
        return self.folder / _UNITS / f"{unit:06d}.json"

    def place(self, unit: int) -> slice:
        """Return the positions of the sites of a unit in the store."""
        first = unit * self.sites_per_unit
        return slice(first, min(first + self.sites_per_unit, self.sites))

    def write(self, unit: int, tree: xr.DataTree, said: Mapping[str, Any]) -> None:
        """Write the posterior of a unit, and then the file that says that it is there.

        Parameters
        ----------
        unit : int
        tree : xarray.DataTree
            Its posterior.
        said : mapping
            What else is to be known of it, as JSON can hold it.
        """
        from binn_prob import stores
        from binn_prob.data import fingerprint

        if not self.posterior.exists():
            self._create(tree)
        for name, group in tree.children.items():
            stores.write(stores.opened(self.posterior / name, "r+"), self.place(unit).start, group.to_dataset())
        os.sync()  # else a machine that fails may keep the file of a unit and lose its draws
        content = {**said, "fingerprints": {name: fingerprint(one.to_dataset()) for name, one in tree.children.items()}}
        write_json(self.file(unit), content)

    def finish(self) -> None:
        """Remove what killed workers have left.

        All units must be there: a worker that was taken for dead and still writes one then fails at nothing needed.
        """
        remove_leftovers(self.folder)
        for half in self.posterior.rglob("*.partial"):
            half.unlink(missing_ok=True)

    def identity(self) -> dict[str, Any]:
        """Return everything that determines the draws."""
        found: dict[str, Any] = read_json(self.folder / IDENTITY, _KIND)
        return found

    def _create(self, tree: xr.DataTree) -> None:
        """Make room for all sites, unless another worker is the first to have done so."""
        from binn_prob import stores

        try:
            with replacing(self.posterior) as temporary:
                stores.library().open_group(str(temporary), mode="w", zarr_format=3, attributes=_shared(tree.attrs))
                for name, group in tree.children.items():
                    template = group.to_dataset().assign_attrs(_shared(group.attrs))
                    stores.create(temporary / name, template, self.sites, self.sites_per_unit)
        except OSError:
            if not self.posterior.is_dir():
                raise


_OWN = (
    "seed", "created", "wall_seconds", "gradients", "peak_memory", "prediction", "data_fingerprint", "exclusions",
)  # fmt: skip
"""Attributes of a posterior that are not the same for all units."""


def _shared(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the attributes that all units have alike."""
    return {str(name): value for name, value in attrs.items() if name not in _OWN}
