"""Splits of the sites of a Dataset into training and test sites.

Profiles that share coordinates share their covariates too, so a split that tears them apart tests on what it was
trained on.  ``"location"`` keeps them together; ``"block"`` also keeps neighbours together, and so tests at places away
from the training sites; ``"random"`` splits site by site.  A split depends on its own seed alone: neither on a model's
seed nor on the order of the sites.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from binn_prob.data.arguments import generator, whole_number
from binn_prob.errors import InputError

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["Rule", "folds", "groups", "split"]

Rule = Literal["location", "random", "block"]


def split(
    dataset: xr.Dataset,
    *,
    by: Rule = "location",
    test_fraction: float = 0.2,
    seed: int = 0,
    block_size: float = 1.0,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Split the sites of a Dataset into training and test sites.

    Parameters
    ----------
    dataset : xarray.Dataset
        See :mod:`binn_prob.data.schema`.
    by : {"location", "random", "block"}
        What stays on one side: all sites of one longitude and latitude, single sites, or all sites of one block.
    test_fraction : float
        Share of the sites to hold out, between 0 and 1; as much of it as whole groups fill, never all or none.
    seed : int
        Of the split alone.
    block_size : float
        Edge of a block [degrees]; used by ``"block"``.

    Returns
    -------
    tuple of xarray.Dataset
        Training and test sites, each in the order of ``dataset``.

    Raises
    ------
    InputError
        If an argument is outside its range, or there are fewer than two groups.
    """
    if not 0 < test_fraction < 1:
        raise InputError(f"test_fraction {test_fraction}", "a number between 0 and 1", "hold out e.g. 0.2 of the sites")
    group = groups(dataset, by=by, block_size=block_size)
    sizes = _sizes(group, least=2, by=by)
    wanted, held_out, taken = max(1, round(test_fraction * len(group))), 0, list[int]()
    for member in generator(seed).permutation(len(sizes)):
        if held_out + sizes[member] <= wanted and len(taken) < len(sizes) - 1:
            taken.append(member)
            held_out += sizes[member]
    return _sides(dataset, np.isin(group, taken or [np.argmin(sizes)]))


def folds(
    dataset: xr.Dataset, *, by: Rule = "location", count: int = 10, seed: int = 0, block_size: float = 1.0
) -> list[tuple[xr.Dataset, xr.Dataset]]:
    """Split the sites of a Dataset into folds of about equal size, each the test side once.

    Parameters
    ----------
    dataset, by, seed, block_size
        As for :func:`split`.
    count : int
        Number of folds, at least 2.

    Returns
    -------
    list of tuple of xarray.Dataset
        ``count`` pairs of training and test sites; every site is in exactly one of the test sides.

    Raises
    ------
    InputError
        If an argument is outside its range, or there are fewer groups than folds.
    """
    whole_number("count", count, 2)
    group = groups(dataset, by=by, block_size=block_size)
    sizes = _sizes(group, least=count, by=by)
    fold_of_group = np.empty(len(sizes), dtype=int)
    filled = np.zeros(count, dtype=int)
    order = generator(seed).permutation(len(sizes))
    for member in order[np.argsort(-sizes[order], kind="stable")]:  # the largest first, each to the emptiest fold
        fold_of_group[member] = np.argmin(filled)
        filled[fold_of_group[member]] += sizes[member]
    return [_sides(dataset, fold_of_group[group] == fold) for fold in range(count)]


def groups(dataset: xr.Dataset, *, by: Rule = "location", block_size: float = 1.0) -> NDArray[np.intp]:
    """Return the number of the group of each site, shape (site,), counted from 0; a group stays on one side.

    Raises
    ------
    InputError
        If there is no such rule, the coordinates are missing, or ``block_size`` is not positive.
    """
    if by not in get_args(Rule):
        raise InputError(f"split by {by!r}", " or ".join(map(repr, get_args(Rule))), "choose one of them")
    if not block_size > 0:
        raise InputError(f"block_size {block_size}", "a positive number of degrees", "ask for e.g. block_size=1.0")
    names = ("site",) if by == "random" else ("longitude", "latitude")
    for name in names:
        if name not in dataset.coords or dataset[name].dims != ("site",):
            raise InputError(f"a dataset without the coordinate {name}(site)", "a valid dataset", "add the coordinate")
    if by == "random":
        return np.unique(dataset["site"].to_numpy(), return_inverse=True)[1]
    places = np.column_stack([dataset[name].to_numpy() for name in names])
    places = np.floor(places / block_size) if by == "block" else places
    return np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)


def _sizes(group: NDArray[np.intp], least: int, by: str) -> NDArray[np.intp]:
    """Return the number of sites of every group, of which there must be at least ``least``."""
    sizes = np.bincount(group)
    if len(sizes) < least:
        cure = "use more sites or fewer folds" if by == "random" else "use more sites, fewer folds, or another rule"
        raise InputError(f"{len(sizes)} group(s) of sites by {by}", f"at least {least}", cure)
    return sizes


def _sides(dataset: xr.Dataset, test: NDArray[np.bool_]) -> tuple[xr.Dataset, xr.Dataset]:
    return dataset.isel(site=np.flatnonzero(~test)), dataset.isel(site=np.flatnonzero(test))
