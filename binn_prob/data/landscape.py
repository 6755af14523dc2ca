"""A synthetic landscape: sites with known parameters, as in :mod:`binn_prob.data.synthetic`, alike where they are near.

It rehearses national and continental studies: there may be more sites than memory holds, for they are made and written
block by block.  What a block holds depends on its number, not on how many are made or in which order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from binn_prob import stores
from binn_prob.data.arguments import checked_noise, whole_number
from binn_prob.data.storage import checked_path
from binn_prob.data.synthetic import BATCH, observed
from binn_prob.data.synthetic_sites import EAST, NORTH, SOUTH, WEST, distinct, repeated, soils
from binn_prob.files import replacing

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["BLOCK", "Landscape"]

BLOCK = BATCH
"""Sites that are made at once"""

_WAVES = 48
_SHORTEST, _LONGEST = 1.5, 40.0  # wavelengths of a field [degrees of latitude]
_DEGREE = np.cos(np.radians((SOUTH + NORTH) / 2))  # a degree of longitude in degrees of latitude
_LOCAL = 0.15  # share of a field's variance that is each place's own

_OF_FIELDS, _OF_BLOCKS = 0, 1  # streams of random numbers


@dataclass(frozen=True)
class Landscape:
    """Synthetic sites with spatial structure, see :mod:`binn_prob.data.landscape`.

    What :func:`binn_prob.data.synthetic.generate` draws for every place by itself (elevation, texture, departures from
    the climate of the latitude, ...) are here fields with the same distributions: sums of waves of 1.5° to 40°, and a
    small part that is each place's own.

    Raises
    ------
    InputError
        If a field is out of range.
    """

    sites: int
    """How many"""
    seed: int = 0
    """Of everything random; the function from covariates to parameters does not depend on it"""
    grid: bool = False
    """Whether sites are the cells of a regular grid, which nobody has observed, from south to north; otherwise they are
    scattered, one in ten at the place of another, and the first of many are those of few"""
    noise: float = 0.3
    """Standard deviation of the logarithm of an observation about the model's value"""

    def __post_init__(self) -> None:
        whole_number("sites", self.sites, 1)
        whole_number("seed", self.seed, 0)
        checked_noise(self.noise)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.sites // BLOCK)

    def block(self, number: int) -> xr.Dataset:
        """Make the sites of one block, the last of which may be smaller: see :mod:`binn_prob.data.schema`."""
        first = number * BLOCK
        count = min(BLOCK, self.sites - first)
        random = self._random(_OF_BLOCKS, number)
        if self.grid:
            place = self._soils(*self._cells(first), random)
        else:
            longitude, latitude = (random.uniform(*ends, distinct(BLOCK)) for ends in ((WEST, EAST), (SOUTH, NORTH)))
            place = repeated(self._soils(longitude, latitude, random), BLOCK, random)
        made = observed(place, random, self.noise).isel(site=slice(count))
        layout = "grid" if self.grid else "scattered"
        source = f"synthetic landscape: {layout}, seed {self.seed}, noise {self.noise:g}"
        made = made.assign_coords(site=first + np.arange(count))
        return (_unobserved(made) if self.grid else made).assign_attrs(name="landscape", source=source, exclusions="{}")

    def write(self, path: str | os.PathLike[str], told: Callable[[int], object] = lambda sites: None) -> Path:
        """Write all sites to a Zarr store, numbers as float32; one block is in memory at a time.

        Parameters
        ----------
        path : path
            Ends in ``.zarr``; the store appears there when it is complete.
        told : callable
            Called with the number of sites of each block that was written.

        Raises
        ------
        InputError
            If the path is not that of a new store in an existing folder, or zarr is not installed.
        """
        path = checked_path(path, (stores.ENDING,))
        with replacing(path) as temporary:
            stores.create(temporary, _narrow(self.block(0)), self.sites, BLOCK)
            store = stores.opened(temporary, "r+")
            for number in range(self.blocks):
                block = _narrow(self.block(number))
                stores.write(store, number * BLOCK, block)
                told(block.sizes["site"])
            stores.finished(temporary)
        return path

    def _cells(self, first: int) -> tuple[Array, Array]:
        """Return longitude and latitude of the cells of a block; after the last cell it is filled with the last."""
        columns = math.ceil(math.sqrt(self.sites * (EAST - WEST) / (NORTH - SOUTH)))
        width = (EAST - WEST) / columns
        row, column = np.divmod(np.minimum(np.arange(first, first + BLOCK), self.sites - 1), columns)
        return WEST + width * (column + 0.5), SOUTH + width * (row + 0.5)

    def _soils(self, longitude: Array, latitude: Array, random: np.random.Generator) -> dict[str, Array]:
        fields = _Fields(lambda number: self._random(_OF_FIELDS, number), longitude, latitude, random)
        return soils(longitude, latitude, fields)

    def _random(self, stream: int, number: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(stream, number)))


class _Fields:
    """Fields at some places, one after another, in the place of a random generator."""

    def __init__(
        self,
        waves: Callable[[int], np.random.Generator],
        longitude: Array,
        latitude: Array,
        own: np.random.Generator,
    ) -> None:
        self._waves, self._own, self._number = waves, own, 0
        self._place = np.stack([_DEGREE * longitude, latitude], axis=1)

    def standard_normal(self, size: int, /) -> Array:
        """Return the next field: a sum of waves in random directions, and what is each place's own."""
        random = self._waves(self._number)
        self._number += 1
        lengths = _SHORTEST * (_LONGEST / _SHORTEST) ** random.uniform(size=_WAVES)
        direction, phase = random.uniform(0.0, 2.0 * np.pi, (2, _WAVES))
        waves = 2.0 * np.pi * np.stack([np.cos(direction), np.sin(direction)]) / lengths
        smooth = np.sqrt(2.0 / _WAVES) * np.cos(self._place @ waves + phase).sum(axis=1)
        return np.sqrt(1.0 - _LOCAL) * smooth + np.sqrt(_LOCAL) * self._own.standard_normal(size)

    def beta(self, a: float, b: float, size: int, /) -> Array:
        """Return the next field, with a beta distribution."""
        from scipy.special import betaincinv, ndtr

        values: Array = betaincinv(a, b, ndtr(self.standard_normal(size)))
        return values


def _unobserved(sites: xr.Dataset) -> xr.Dataset:
    """Return sites without observations."""
    none = np.full((sites.sizes["site"], 1), np.nan)
    units = {name: sites[name].attrs for name in ("soc", "depth")}
    return sites.drop_vars(units).assign({name: (("site", "observation"), none, held) for name, held in units.items()})


def _narrow(sites: xr.Dataset) -> xr.Dataset:
    """Return sites with numbers of half the width; those of coordinates, by which sites are found, stay as they are."""
    narrow = {str(name): values.astype(np.float32) for name, values in sites.items() if values.dtype == np.float64}
    return sites.assign(narrow)
