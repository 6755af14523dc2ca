"""The sites that settings ask for: loaded, simulated if wanted, split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from binn_prob.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.settings import Settings

__all__ = ["Sites", "chosen", "loaded", "with_observations"]


@dataclass(frozen=True)
class Sites:
    """The sites of a run."""

    all: xr.Dataset
    train: xr.Dataset
    """Those to learn from; all of them where none is held out"""
    test: xr.Dataset | None
    """Those held out"""


def loaded(settings: Settings) -> xr.Dataset:
    """Load the sites that settings ask for, with simulated observations if wanted.

    Raises
    ------
    InputError
        If the data are not what they must be.
    """
    from binn_prob import data
    from binn_prob.simulation import simulate

    sites = data.validate(data.load(**settings.data.model_dump()))
    if settings.simulation is None:
        return sites
    return simulate(settings.build_model(), sites, **settings.simulation.model_dump())


def chosen(settings: Settings) -> Sites:
    """Load the sites that settings ask for, and split them.

    Sites that a model treats as independent cannot be predicted from others; then none is held out.

    Raises
    ------
    InputError
        If the data are not what they must be, hold no observation, or cannot be split so.
    """
    from binn_prob import data

    sites = with_observations(loaded(settings))
    if not settings.build_model().has_network or settings.split.test_fraction == 0.0:
        return Sites(sites, sites, None)
    return Sites(sites, *data.split(sites, **settings.split.model_dump()))


def with_observations(sites: xr.Dataset) -> xr.Dataset:
    """Return sites if there is an observation at one of them.

    Raises
    ------
    InputError
        If there is none.
    """
    if not bool(sites["soc"].notnull().any()):
        raise InputError("sites without observations", "profiles to learn from", "choose other sites")
    return sites
