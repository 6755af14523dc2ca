"""Maps of the processes: posterior mean and standard deviation at each site."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from binn_prob.clm5.processes import PROCESSES
from binn_prob.errors import InputError
from binn_prob.results import distance
from binn_prob.results.drawing import label, panels, styled, unit
from binn_prob.results.posterior import group

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["can_be_mapped", "maps", "maps_of_summaries"]

_MEAN, _DEVIATION = "viridis", "magma"

_EMPTIEST = 100
"""Cells for each site in the emptiest grid that is drawn as one: rounded coordinates lie on a grid too, a fine one."""

_MOST = 40_000
"""Sites that a map shows at most: more cannot be told apart."""


@styled
def maps(tree: xr.DataTree, name: str = "") -> Figure:
    """Draw maps of the processes: posterior means above, standard deviations below.

    Sites on a regular grid, as the cells of New York State, are drawn as cells, others as dots.  The outlines of states
    are drawn where cartopy (``pip install "binn-prob[maps]"``) has them at hand or can download them.

    Parameters
    ----------
    tree : xarray.DataTree
        A posterior, or a prediction at other sites.
    name : str, optional
        The method, for the title.

    Raises
    ------
    InputError
        If it is not known where the sites lie.
    """
    if not can_be_mapped(tree):
        raise InputError("sites of unknown place", "longitude and latitude of every site", "add these coordinates")
    sites = group(tree, "posterior")
    mean, deviation = distance.spread(tree)
    return _maps(sites["longitude"].to_numpy(), sites["latitude"].to_numpy(), mean, deviation, label(name))


@styled
def maps_of_summaries(sites: xr.Dataset, name: str = "") -> Figure:
    """Draw the same maps of any number of sites, thinned if there are very many.

    Parameters
    ----------
    sites : xarray.Dataset
        ``mean`` and ``sd`` (site, process), ``longitude`` and ``latitude`` (site,), see
        :func:`binn_prob.results.summary_store.overview`.
    name : str, optional
        The method, for the title.
    """
    longitude, latitude = sites["longitude"].to_numpy(), sites["latitude"].to_numpy()
    shown = _thinned(longitude, latitude)
    count, title = len(longitude), label(name)
    if len(shown) < count:
        title = f"{title}{': ' if title else ''}{len(shown):,} of {count:,} sites"
    means, deviations = (sites[which].isel(site=shown) for which in ("mean", "sd"))
    return _maps(longitude[shown], latitude[shown], means, deviations, title)


def _thinned(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Return the positions of the sites that a map shows: so many columns and rows of a grid, or so many sites."""
    if len(longitude) <= _MOST:
        return np.arange(len(longitude))
    every, step = math.ceil(math.sqrt(len(longitude) / _MOST)), _grid_step(longitude, latitude)
    if step is None:
        return np.arange(0, len(longitude), every**2)
    row, column = (np.rint((x - x.min()) / step).astype(int) for x in (latitude, longitude))
    return np.flatnonzero((row % every == 0) & (column % every == 0))


def _maps(
    longitude: np.ndarray, latitude: np.ndarray, mean: xr.DataArray, deviation: xr.DataArray, title: str
) -> Figure:
    """Draw means above, standard deviations below."""
    aspect = 1.0 / math.cos(math.radians(float(latitude.mean())))
    tall = np.clip((np.ptp(latitude) + 1.0) / (np.ptp(longitude) + 1.0) * aspect, 0.4, 1.6)
    figure, axes = panels(2, len(PROCESSES), (2.4, 2.1 * tall + 0.7), sharex=True, sharey=True)
    for row, values, colours in ((0, mean, _MEAN), (1, deviation, _DEVIATION)):
        for axis, process in zip(axes[row], PROCESSES, strict=True):
            of = values.transpose("site", "process").sel(process=process.name).to_numpy()
            if row == 1 and not (of > 0).any():
                axis.text(0.5, 0.5, "known exactly", transform=axis.transAxes, ha="center", color="0.35")
            else:
                _draw(figure, axis, longitude, latitude, of, colours)
            outlined(axis, longitude, latitude)
            axis.set_aspect(aspect)
            if row == 0:
                axis.set_title(f"{process.name.replace('_', ' ')}{unit(process.unit)}", fontsize=8)
    axes[0, 0].set_ylabel("posterior mean")
    axes[1, 0].set_ylabel("standard deviation")
    figure.supxlabel("longitude (°E)")
    figure.supylabel("latitude (°N)")
    figure.suptitle(title)
    return figure


def can_be_mapped(tree: xr.DataTree) -> bool:
    """Say whether it is known where the sites lie."""
    return {"longitude", "latitude"} <= set(group(tree, "posterior").coords)


def _draw(
    figure: Figure, axis: Axes, longitude: np.ndarray, latitude: np.ndarray, values: np.ndarray, colours: str
) -> None:
    """Draw one map with its scale: cells of a regular grid, or dots."""
    step = _grid_step(longitude, latitude)
    drawn: Any
    if step is None:
        drawn = axis.scatter(longitude, latitude, c=values, s=10, cmap=colours, linewidths=0)
    else:
        columns, rows = (np.arange(x.min(), x.max() + step / 2, step) for x in (longitude, latitude))
        cells = np.full((len(rows), len(columns)), math.nan)
        places = [np.rint((x - x.min()) / step).astype(int) for x in (latitude, longitude)]
        cells[places[0], places[1]] = values
        drawn = axis.pcolormesh(columns, rows, cells, cmap=colours, shading="nearest")
    drawn.set_rasterized(len(values) > _MOST // 10)  # else a PDF holds every cell by itself
    axis.grid(visible=False)
    bar = figure.colorbar(drawn, ax=axis, orientation="horizontal", pad=0.02, aspect=25)
    bar.ax.locator_params(nbins=4)
    bar.ax.tick_params(labelsize=7)


def _grid_step(longitude: np.ndarray, latitude: np.ndarray) -> float | None:
    """Return the width of the cells if the sites lie on a regular grid, not too empty, each in a cell of its own."""
    places = np.stack([longitude, latitude])
    gaps = np.concatenate([np.diff(np.unique(np.round(x, 6))) for x in places])
    if not len(gaps):
        return None
    longest = float(np.ptp(places, axis=1).max())
    step = longest / round(longest / float(gaps.min()))  # the gap to all its digits
    steps = (places - places.min(axis=1, keepdims=True)) / step
    regular = step > 1e-3 and np.abs(steps - np.rint(steps)).max() < 1e-3
    alone = len(np.unique(np.rint(steps), axis=1).T) == len(longitude)
    dense = np.prod(np.ptp(steps, axis=1) + 1.0) <= _EMPTIEST * len(longitude)
    return step if regular and alone and dense else None


def outlined(axis: Axes, longitude: np.ndarray, latitude: np.ndarray) -> None:
    """Draw the outlines of states and provinces, if cartopy is installed and has them or can download them."""
    try:
        from cartopy.io import shapereader
    except ImportError:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cartopy warns of every download
            path = shapereader.natural_earth("50m", "cultural", "admin_1_states_provinces_lakes")
            shapes = list(shapereader.Reader(path).geometries())
    except OSError:  # no network: a map without outlines is a map
        return
    ends = (longitude.min() - 1, longitude.max() + 1, latitude.min() - 1, latitude.max() + 1)
    for shape in shapes:
        west, south, east, north = shape.bounds
        if west > ends[1] or east < ends[0] or south > ends[3] or north < ends[2]:
            continue
        for polygon in getattr(shape, "geoms", [shape]):
            axis.plot(*polygon.exterior.xy, color="0.3", linewidth=0.5)
    axis.set(xlim=ends[:2], ylim=ends[2:])
