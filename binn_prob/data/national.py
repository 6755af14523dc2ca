"""The published national input of BINN: WoSIS profiles, their environment, and the CESM2 spin-up as forcing.

The files, many gigabytes, are those that the programs of BINN (Xu et al. 2025, arXiv 2502.00672) and PRODA (Tao et al.
2020, Frontiers in Big Data 3:17; Tao et al. 2023, Nature 618:981) read: more than 100,000 profiles of the whole Earth,
of which BINN's screening keeps about 26,000 in the conterminous United States.  They were not at hand when this reader
was written; it was tested on small files of the same names, variables and shapes.

| file in ``INPUT_DATA`` | variable | MATLAB's shape, what is read |
|---|---|---|
| ``wosis_2019_snap_shot/soc_profile_….nc`` | ``soc_profile_info`` | (profile, 7): id, countries, longitude, latitude |
| ``wosis_2019_snap_shot/soc_data_….nc`` | ``data_soc_integrate`` | (layer, 9): id, depths [cm], SOC [g C m-3] |
| ``wosis_2019_snap_shot/…_env_info.mat`` | ``EnvInfo`` | (profile, 81): covariates, as published |
| ``wosis_2019_snap_shot/…_para_gr.mat`` | ``para_gr`` | (profile, parameter): shrink factors of PRODA's chains |
| ``wosis_2019_snap_shot/…_stat_r2.mat`` | ``stat_r2`` | (profile, chain): R2 of PRODA's chains |
| ``wosis_2019_snap_shot/eligible_….mat`` | ``eligible_loc_0`` | rows of profiles, from 1 |
| ``wosis_2019_snap_shot/…_representative_….mat`` | ``sample_profile_id`` | rows of profiles, from 1 |
| ``cesm2_simu/spinup_ss/…_VARIABLE.mat`` | ``var_record_monthly_mean`` | (latitude, longitude[, layer], month) |
| ``PRODA_Results/nn_site_loc_full_….csv`` | | numbers of profiles |
| ``PRODA_Results/nn_para_result_full_….csv`` | | (profile, 21): parameters in the unit cube |

What the programs leave open is read so.  The id of a site is the row of its profile, counted from 0, as in the New York
files.  Litter input is a density that BINN multiplies by the thickness of the layers and adds up, g C m-2 month-1; of
variables with more than 20 layers the upper 20 count.  Sand, which the soil model does not use, is not read, so that a
profile which lacks nothing else stays in.  BINN's 58 covariates are used; longitude and latitude are coordinates.  The
programs state no units for net primary production and vegetation carbon, and none are made up here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from binn_prob.clm5.forcing import DIMENSIONS, LITTER_POOLS
from binn_prob.clm5.layers import LAYERS, MONTHS, NODE_DEPTH, THICKNESS
from binn_prob.clm5.parameters import NAMES
from binn_prob.data import new_york_tables
from binn_prob.data.download import cache_folder
from binn_prob.data.exclusions import usable
from binn_prob.data.national_files import CURE, ENVIRONMENT, grid_cells, proda_results, spin_up
from binn_prob.data.national_filters import FILTERS, SCREENINGS, Profiles, screened
from binn_prob.data.new_york import ENVIRONMENT_VARIABLE
from binn_prob.data.schema import attach_units
from binn_prob.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CATEGORICAL", "CONTINUOUS", "FILTERS", "SCREENINGS", "data_folder", "proda_parameters", "read"]

_DEPTHS = ("0cm", "30cm", "100cm")
CONTINUOUS: dict[str, str] = {
    **{name: unit for name, unit in new_york_tables.COLUMNS[2:] if unit is not None},
    # WorldClim: temperatures of months and quarters, precipitation of months and quarters
    **{f"BIO{number}": "degC" for number in range(5, 12)},
    "BIO13": "mm month-1",
    "BIO14": "mm month-1",
    **{f"BIO{number}": "mm quarter-1" for number in range(16, 20)},
    # SoilGrids
    **{f"Sand_Content_{depth}": "%" for depth in _DEPTHS},
    "Abs_Depth_to_Bedrock": "cm",
    "Occurrence_R_Horizon": "%",
    "Garde_Acid": "1",
    "cesm2_npp": "unknown",
    "cesm2_npp_std": "unknown",
    "cesm2_vegc": "unknown",
}
"""Name and unit of each of the 51 continuous covariates; ``pH_Water`` is ten times pH."""

CATEGORICAL = new_york_tables.CATEGORICAL
"""Names of the seven categorical covariates."""

_LAYERED = {
    "soil_temperature": "TSOI", "water_scalar": "W_SCALAR", "oxygen_scalar": "O_SCALAR", "nitrogen_scalar": "FPI_vr",
}  # fmt: skip
_MONTHLY = {"active_layer_depth": "ALTMAX", "active_layer_depth_last_year": "ALTMAX_LASTYEAR"}
_LITTER = ("CWD_INPUT_ACC_VECTOR", *(f"LITR{number}_INPUT_ACC_VECTOR" for number in (1, 2, 3)))
_SOURCE = "BINN's national input, https://github.com/Hardyxu8067/BINN: WoSIS 2019 and others, CESM2 spin-up 661 to 680"


def data_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder ``INPUT_DATA``: in ``folder``, else in ``BINN_PROB_DATA``, else in the cache folder.

    The folder may be ``INPUT_DATA`` itself, or hold ``INPUT_DATA`` or ``ENSEMBLE/INPUT_DATA``.
    """
    chosen = folder or os.environ.get(ENVIRONMENT_VARIABLE)
    top = Path(chosen).expanduser() if chosen else cache_folder() / "national"
    below = (top, top / "INPUT_DATA", top / "ENSEMBLE" / "INPUT_DATA")
    return next((path for path in below if (path / "wosis_2019_snap_shot").is_dir()), top)


def read(
    folder: str | os.PathLike[str] | None = None,
    *,
    screening: str | Iterable[str] | None = "binn",
    exclude: bool = True,
    proda_counts_from: int = 0,
) -> xr.Dataset:
    """Read the profiles that pass a screening, with the forcing of the grid cells they lie in.

    Parameters
    ----------
    folder : path, optional
        See :func:`data_folder`.
    screening : {"binn", "proda"}, or names of tests, or None
        Which tests profiles must pass, in order: those of one of :data:`SCREENINGS`, or any of :data:`FILTERS`, for
        instance ``(*SCREENINGS["binn"], "representative")``.  Files that no test asks for need not be there.
    exclude : bool
        Leave out what cannot be used, as :func:`binn_prob.data.new_york.read` does.  Without it missing forcing and
        continuous covariates are NaN, missing categories -1, and a missing bedrock layer 0.
    proda_counts_from : int
        What number PRODA's results give the first profile.  BINN reads 0; PRODA's own programs write 1.

    Returns
    -------
    xarray.Dataset
        See :mod:`binn_prob.data.schema`.  ``attrs["exclusions"]`` counts, in order, the profiles that each test
        removes, the layers that are no observation, and what cannot be used.  The forcing takes 8 kB a site.

    Raises
    ------
    InputError
        If a file is missing or not what it must be, there is no such test, or no profile passes.
    """
    profiles = Profiles(data_folder(folder), proda_counts_from)
    rows, counts = screened(profiles, screening)
    observations, left_out = _observations(profiles, rows)
    environment = dict(zip(ENVIRONMENT, profiles.environment[rows].T, strict=True))
    place = {name: profiles.table[name][rows] for name in ("longitude", "latitude")}
    categories = np.stack([environment[name] for name in CATEGORICAL], axis=1)
    dataset = xr.Dataset(
        {
            **{name: (("site", "observation"), values) for name, values in observations.items()},
            **{name: (DIMENSIONS[name], values) for name, values in _forcing(profiles.folder, **place).items()},
            "continuous": (("site", "continuous_covariate"), np.stack([environment[c] for c in CONTINUOUS], axis=1)),
            "categorical": (("site", "categorical_covariate"), np.nan_to_num(categories, nan=-1).astype(int)),
        },
        coords={
            "site": rows,
            **{name: ("site", values) for name, values in place.items()},
            "layer": NODE_DEPTH[:LAYERS],
            "month": np.arange(1, MONTHS + 1),
            "litter_pool": list(LITTER_POOLS),
            "continuous_covariate": list(CONTINUOUS),
            "continuous_unit": ("continuous_covariate", list(CONTINUOUS.values())),
            "categorical_covariate": list(CATEGORICAL),
        },
        attrs={"name": "national", "source": _SOURCE, "exclusions": json.dumps(counts | left_out)},
    )
    return usable(attach_units(dataset)) if exclude else attach_units(dataset)


def proda_parameters(folder: str | os.PathLike[str] | None = None, *, counts_from: int = 0) -> xr.DataArray:
    """Return the parameters that PRODA's networks predict, means over the nine, (site, parameter) [1].

    They are in the unit cube of PRODA's ranges, which a network may leave a little; once clipped to [0, 1],
    ``clm5.parameters.physical(…, "proda")`` has them in their units.  ``site`` is that of :func:`read`.

    Parameters
    ----------
    folder : path, optional
        See :func:`data_folder`.
    counts_from : int
        As ``proda_counts_from`` of :func:`read`.

    Raises
    ------
    InputError
        If a file is missing or not what it must be.
    """
    sites, parameters = proda_results(data_folder(folder))
    coordinates = {"site": sites - counts_from, "parameter": list(NAMES)}
    named = xr.DataArray(parameters, coordinates, ("site", "parameter"), name="proda_parameters", attrs={"units": "1"})
    return named.sortby("site")


def _observations(profiles: Profiles, rows: NDArray[np.intp]) -> tuple[dict[str, NDArray[np.float64]], dict[str, int]]:
    """Return SOC [g C m-3] and depth [m], (site, observation), and how many layers are none, by reason."""
    profile, layers = profiles.layers
    chosen = np.isin(profile, rows)
    site = np.searchsorted(rows, profile[chosen])
    upper, lower, node, soc = (layers[name][chosen] for name in ("upper_depth", "lower_depth", "node_depth", "soc"))
    reasons = {
        "layers without SOC, depth or limits": np.isnan(upper + lower + node + soc),
        "layers above the surface": node < 0,
        "layers of negative SOC": soc < 0,
    }
    counts, kept = dict[str, int](), np.full(len(site), True)
    for reason, wrong in reasons.items():
        counts[reason] = int((kept & wrong).sum())
        kept &= ~wrong
    site, number = site[kept], np.bincount(site[kept], minlength=len(rows))
    slot = np.arange(len(site)) - np.repeat(np.cumsum(number) - number, number)
    table = {name: np.full((len(rows), max(1, int(number.max()))), np.nan) for name in ("soc", "depth")}
    table["soc"][site, slot], table["depth"][site, slot] = soc[kept], node[kept] / 100
    return table, counts


def _forcing(
    folder: Path, longitude: NDArray[np.float64], latitude: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the forcing of the cell of each site; each cell is read once."""
    known = np.isfinite(longitude) & np.isfinite(latitude)
    if not known.any():
        raise InputError("profiles without longitude and latitude", "at least one with both", CURE)
    cells, of_site = np.unique(grid_cells(longitude[known], latitude[known]), axis=1, return_inverse=True)

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.full((len(known), *values.shape[1:]), np.nan)
        whole[known] = values[of_site]
        return whole

    forcing = {name: spread(spin_up(folder, variable, cells, layered=True)) for name, variable in _LAYERED.items()}
    forcing |= {name: spread(spin_up(folder, variable, cells, layered=False)) for name, variable in _MONTHLY.items()}
    thickness = THICKNESS[:LAYERS, None]
    litter = [(spin_up(folder, variable, cells, layered=True) * thickness).sum(axis=1) for variable in _LITTER]
    bedrock = spin_up(folder, "nbedrock", cells, layered=False)
    if not np.array_equal(bedrock, np.broadcast_to(np.rint(bedrock[:, :1]), bedrock.shape), equal_nan=True):
        raise InputError("nbedrock that is no whole number, or changes within the year", "one number per cell", CURE)
    forcing["litter_input"] = spread(np.stack(litter, axis=1))
    forcing["bedrock_layer"] = np.nan_to_num(spread(bedrock[:, 0]), nan=0).astype(int)
    return forcing
