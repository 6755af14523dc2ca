"""PRODA's and BINN's screenings of the national profiles: each test has a name, and says how many profiles it removes.

A test returns which profiles it keeps, shape (profile,); :data:`SCREENINGS` names the tests of a study, in order, and
:func:`screened` applies and counts them.  Sources: PRODA's program that cleans profiles before its networks are trained
(Tao et al. 2020, Frontiers in Big Data 3:17), and BINN's (Xu et al. 2025, arXiv 2502.00672).

What the two leave open is read so.  BINN compares the second of the two country numbers, PRODA the first.  BINN takes
the means over chains and parameters as they are, so that one missing value removes a profile; PRODA's largest R2
passes over missing ones.  "Last" is the last of a profile's layers in the order of the table, which goes downwards; a
greatest value that also stands higher up is not the last.  A correlation that does not exist, all values being equal,
is not positive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from binn_prob.data.national_files import (
    CURE,
    ENVIRONMENT,
    LAYER_COLUMNS,
    PROFILE_COLUMNS,
    matlab_table,
    netcdf_columns,
    proda_results,
)
from binn_prob.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Keeps = NDArray[np.bool_]

__all__ = ["FILTERS", "SCREENINGS", "Filter", "Profiles", "screened", "tests_of"]

_WOSIS = "wosis_2019_snap_shot"
_MODEL = "cesm2_clm5_cen_vr_v2"


@dataclass(frozen=True)
class Profiles:
    """The published tables of all profiles, each read when it is first asked for."""

    folder: Path
    """``INPUT_DATA``."""
    proda_counts_from: int = 0
    """Number of the first profile in the lists of PRODA's results."""

    @cached_property
    def table(self) -> dict[str, Array]:
        """Columns of the table of profiles, (profile,)."""
        path = self.folder / _WOSIS / "soc_profile_wosis_2019_snapshot_hugelius_mishra.nc"
        wanted = ("profile_id", "country_id", "country_name", "longitude", "latitude")
        table = netcdf_columns(path, "soc_profile_info", PROFILE_COLUMNS, wanted)
        unique = np.unique(table["profile_id"])
        if not unique.size or len(unique) < len(table["profile_id"]):
            raise InputError(f"{path} with no profile, or with a profile_id twice", "one row for each profile", CURE)
        return table

    @cached_property
    def count(self) -> int:
        """Number of profiles."""
        return len(self.table["profile_id"])

    @cached_property
    def layers(self) -> tuple[NDArray[np.intp], dict[str, Array]]:
        """The row of the profile of each layer, (layer,), and columns of the table of layers, in that order."""
        path = self.folder / _WOSIS / "soc_data_integrate_wosis_2019_snapshot_hugelius_mishra.nc"
        wanted = ("profile_id", "upper_depth", "lower_depth", "node_depth", "soc")
        layers = netcdf_columns(path, "data_soc_integrate", LAYER_COLUMNS, wanted)
        order = np.argsort(self.table["profile_id"])
        place = np.searchsorted(self.table["profile_id"], layers["profile_id"], sorter=order)
        profile = order[np.minimum(place, self.count - 1)]
        found = np.flatnonzero(self.table["profile_id"][profile] == layers["profile_id"])
        found = found[np.argsort(profile[found], kind="stable")]
        return profile[found], {name: values[found] for name, values in layers.items()}

    @cached_property
    def environment(self) -> Array:
        """The columns :data:`ENVIRONMENT`, (profile, column)."""
        return self._per_profile(
            f"{_WOSIS}/wosis_2019_snapshot_hugelius_mishra_env_info.mat", "EnvInfo", len(ENVIRONMENT)
        )

    @cached_property
    def mean_shrink_factor(self) -> Array:
        """Gelman and Rubin's statistic of PRODA's chains, mean over the parameters, (profile,)."""
        return self._per_profile(f"{_WOSIS}/{_MODEL}_para_gr.mat", "para_gr").mean(axis=1)

    @cached_property
    def r2(self) -> Array:
        """R2 of each of PRODA's chains, (profile, chain)."""
        return self._per_profile(f"{_WOSIS}/{_MODEL}_stat_r2.mat", "stat_r2")

    @cached_property
    def observed(self) -> dict[str, NDArray[Any]]:
        """What PRODA's tests ask of the shape of each profile, (profile,), from layers with both depth and SOC."""
        profile, layers = self.layers
        valid = ~np.isnan(layers["node_depth"]) & ~np.isnan(layers["soc"])
        profile, depth, soc = profile[valid], layers["node_depth"][valid], layers["soc"][valid]
        count = np.bincount(profile, minlength=self.count)

        def total(values: Array) -> Array:
            return np.bincount(profile, weights=values, minlength=self.count)

        with np.errstate(invalid="ignore"):
            mean_depth, mean_soc = total(depth) / count, total(soc) / count
        last = np.cumsum(count)[count > 0] - 1
        shape = {name: np.full(self.count, np.nan) for name in ("first", "last", "greatest")}
        shape["first"][count > 0], shape["last"][count > 0] = soc[last + 1 - count[count > 0]], soc[last]
        shape["greatest"][count > 0] = np.maximum.reduceat(soc, last + 1 - count[count > 0]) if len(last) else []
        covariance = total((depth - mean_depth[profile]) * (soc - mean_soc[profile]))
        attained = total((soc == shape["greatest"][profile]).astype(float))
        return {"count": count, "covariance": covariance, "attained": attained, **shape}

    def listed(self, file: str, variable: str) -> Keeps:
        """Say which profiles a list of MATLAB's row numbers holds, (profile,)."""
        return self._rows(matlab_table(self.folder / _WOSIS / file, variable).ravel() - 1, file)

    @cached_property
    def has_parameters(self) -> Keeps:
        """Which profiles PRODA's networks have parameters for, (profile,)."""
        number = 1 - self.proda_counts_from
        other = f"say proda_counts_from={number} (among settings: data.proda_counts_from), or {CURE}"
        return self._rows(proda_results(self.folder)[0] - self.proda_counts_from, "PRODA_Results", other)

    def _rows(self, rows: NDArray[np.generic], file: str, cure: str = CURE) -> Keeps:
        chosen = np.arange(self.count)
        if not np.isin(rows, chosen).all():
            raise InputError(f"{file} with profiles that are not among the {self.count}", "rows of the table", cure)
        return np.isin(chosen, rows)

    def _per_profile(self, file: str, variable: str, columns: int | None = None) -> Array:
        values = matlab_table(self.folder / file, variable, columns)
        if len(values) != self.count:
            got = f"{variable} of {self.folder / file} with {len(values)} rows"
            raise InputError(got, f"{self.count}, one for each profile", f"it may be of another table: {CURE}")
        return values


class Filter(NamedTuple):
    """One test."""

    removed: str
    """What it removes, as ``attrs["exclusions"]`` counts it."""
    keeps: Callable[[Profiles], Keeps]


_WEST, _EAST, _SOUTH, _NORTH = -124.763068, -66.949895, 24.5, 49.384358
_UNITED_STATES, _LEFT_OUT_BY_PRODA = 156, (68, 39)


def _inside(profiles: Profiles) -> Keeps:
    longitude, latitude = profiles.table["longitude"], profiles.table["latitude"]
    return (longitude >= _WEST) & (longitude <= _EAST) & (latitude >= _SOUTH) & (latitude <= _NORTH)


FILTERS: dict[str, Filter] = {
    "united_states": Filter(
        "profiles outside the United States", lambda profiles: profiles.table["country_name"] == _UNITED_STATES
    ),
    "conterminous": Filter("profiles outside the box of the conterminous United States", _inside),
    "converged": Filter(
        "profiles on which PRODA's chains differ, mean shrink factor 1.05 or more",
        lambda profiles: profiles.mean_shrink_factor < 1.05,
    ),
    "mean_r2": Filter(
        "profiles with a mean R2 of PRODA's chains of 0 or less", lambda profiles: profiles.r2.mean(axis=1) > 0
    ),
    "best_r2": Filter(
        "profiles with no R2 of PRODA's chains above 0.75", lambda profiles: np.fmax.reduce(profiles.r2, axis=1) > 0.75
    ),
    "eligible": Filter(
        "profiles not on PRODA's list of eligible ones",
        lambda profiles: profiles.listed(f"eligible_profile_loc_0_{_MODEL}_whole_time.mat", "eligible_loc_0"),
    ),
    "proda_parameters": Filter(
        "profiles without parameters by PRODA's networks", lambda profiles: profiles.has_parameters
    ),
    "representative": Filter(
        "profiles not in the representative sample",
        lambda profiles: profiles.listed(
            "wosis_2019_snapshot_hugelius_mishra_representative_profiles.mat", "sample_profile_id"
        ),
    ),
    "two_layers": Filter("profiles with fewer than two layers", lambda profiles: profiles.observed["count"] >= 2),
    "falling": Filter(
        "profiles in which SOC rises with depth", lambda profiles: ~(profiles.observed["covariance"] > 0)
    ),
    "greatest_above_last": Filter(
        "profiles with the most SOC in the last layer",
        lambda profiles: (
            (profiles.observed["greatest"] > profiles.observed["last"]) | (profiles.observed["attained"] > 1)
        ),
    ),
    "first_above_last": Filter(
        "profiles with no more SOC in the first layer than in the last",
        lambda profiles: profiles.observed["first"] > profiles.observed["last"],
    ),
    "deep": Filter(
        "profiles of 50 cm or less", lambda profiles: profiles.environment[:, ENVIRONMENT.index("Max_Depth")] > 50
    ),
    "proda_countries": Filter(
        "profiles of the two countries that PRODA leaves out",
        lambda profiles: ~np.isin(profiles.table["country_id"], _LEFT_OUT_BY_PRODA),
    ),
}
"""The tests by name."""

SCREENINGS: dict[str, tuple[str, ...]] = {
    "binn": ("united_states", "conterminous", "converged", "mean_r2", "eligible", "proda_parameters"),
    "proda": (
        "two_layers", "falling", "greatest_above_last", "first_above_last", "deep", "proda_countries", "best_r2",
        "converged",
    ),
}  # fmt: skip
"""The tests of each study, in order: of BINN's national one, and of the training of PRODA's networks, worldwide."""


def tests_of(screening: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the names of the tests of a screening, in order.

    Raises
    ------
    InputError
        If there is no such screening or test.
    """
    names = () if screening is None else SCREENINGS.get(screening) if isinstance(screening, str) else tuple(screening)
    if names is None or not all(name in FILTERS for name in names):
        expected = f"{' or '.join(map(repr, SCREENINGS))}, or names among {', '.join(FILTERS)}"
        raise InputError(f"screening {screening!r}", expected, "choose one of them")
    return names


def screened(profiles: Profiles, screening: str | Iterable[str] | None) -> tuple[NDArray[np.intp], dict[str, int]]:
    """Return the rows of the profiles that pass, and how many each test removes of those that passed the ones before.

    Raises
    ------
    InputError
        If there is no such screening or test, no profile passes, or a file is not what it must be.
    """
    rows, counts = np.arange(profiles.count), dict[str, int]()
    for name in tests_of(screening):
        kept = rows[FILTERS[name].keeps(profiles)[rows]]
        counts[FILTERS[name].removed] = len(rows) - len(kept)
        rows = kept
    if not rows.size:
        listed = ", ".join(f"{count} {removed}" for removed, count in counts.items())
        raise InputError(
            f"no profile that passes ({listed})", "at least one", "ask for fewer tests, or check the files"
        )
    return rows, counts
