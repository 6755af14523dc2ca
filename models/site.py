"""Independent sites: each has its own parameters, as in PRODA's first stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpyro
import numpyro.distributions as dist

from binn_prob.clm5.parameters import NAMES, physical, ranges
from binn_prob.clm5.transport import Column, check_column
from binn_prob.models.likelihoods import StudentTLogSOC
from binn_prob.models.profiles import Profiles, soil_organic_carbon_profiles

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SiteModel"]


@dataclass(frozen=True)
class SiteModel:
    """Every site has its own 21 parameters, uniform in their ranges, and its own error scale (Tao et al. 2020, 2023).

    Nothing is shared: the posterior of a site depends on its profile alone, and says nothing about sites without one.
    The sites of the model are ``unit_parameters`` (site, parameter); ``soc_scale`` (site,); those of
    :mod:`binn_prob.models.profiles`; and the likelihood ``soc``.

    Called with prepared sites, an instance is a NumPyro model.

    Raises
    ------
    InputError
        If there are no such ranges or column.
    """

    name: ClassVar[str] = "site"
    has_network: ClassVar[bool] = False
    has_hidden_units: ClassVar[bool] = False

    ranges: str = "binn"
    """Parameter ranges, ``binn`` or ``proda``."""
    column: Column = "closed"
    """Lower boundary of the soil, see :func:`binn_prob.clm5.prepare`."""
    likelihood: StudentTLogSOC = field(default_factory=StudentTLogSOC)

    def __post_init__(self) -> None:
        ranges(self.ranges)
        check_column(self.column)

    def encode(self, dataset: xr.Dataset) -> None:
        """Covariates are not read; there is nothing to learn."""

    def prepare(self, dataset: xr.Dataset, encoding: None = None) -> Profiles:
        """Turn a Dataset into the arrays that the model is called with."""
        return Profiles.from_dataset(dataset, self.column)

    def __call__(self, profiles: Profiles) -> None:
        """Be a NumPyro model."""
        with numpyro.plate("sites", profiles.depth.shape[0], dim=-1):
            prior = dist.Uniform(0.0, 1.0).expand((len(NAMES),)).to_event(1)
            unit = numpyro.sample("unit_parameters", prior)
            scale = numpyro.sample("soc_scale", self.likelihood.scale_prior())
        soc = soil_organic_carbon_profiles(physical(unit, self.ranges), profiles)
        self.likelihood(soc, scale[:, None], profiles.soc, profiles.mask)
