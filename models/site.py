"""Independent sites: each has its own parameters, as in PRODA's first stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import ndtr

from binn_prob.models.base import SoilModel
from binn_prob.models.density import log_densities
from binn_prob.models.profiles import Profiles

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SiteModel"]


@dataclass(frozen=True)
class SiteModel(SoilModel):
    """Every site has its own parameters, uniform in their ranges, and its own error scale (Tao et al. 2020, 2023).

    Nothing is shared: the posterior of a site depends on its profile alone, and says nothing about sites without one.
    The sites of the model are ``offsets`` (site, free parameter), standard normal; ``soc_scale`` (site,), if the
    likelihood learns one; those of :mod:`binn_prob.models.profiles`; and the likelihood ``soc``.

    ``unit = Φ(offset)``, with the distribution function Φ of the standard normal, is uniform.  On the scale of the
    offsets the prior is Gaussian, and so is the posterior of every parameter that the profile does not inform: most of
    the 21.

    Called with prepared sites, an instance is a NumPyro model.  :meth:`log_density` and :meth:`marginal_log_density`
    serve samplers that treat the sites as a batch.

    Raises
    ------
    InputError
        If there are no such ranges or column, or a fixed parameter is not what it must be.
    """

    name: ClassVar[str] = "site"
    has_network: ClassVar[bool] = False
    has_hidden_units: ClassVar[bool] = False
    site_latents: ClassVar[tuple[str, ...]] = ("offsets", "soc_scale")

    def encode(self, dataset: xr.Dataset) -> None:
        """Covariates are not read; there is nothing to learn."""

    def prepare(self, dataset: xr.Dataset, encoding: None = None) -> Profiles:
        """Turn a Dataset into the arrays that the model is called with."""
        return self._profiles(dataset)

    def __call__(self, profiles: Profiles) -> None:
        """Be a NumPyro model."""
        self._observe(*self.prior(profiles), profiles)

    def prior(self, profiles: Profiles) -> tuple[Array, Array | None]:
        """Sample the latent sites alone.

        Returns
        -------
        unit : array (site, free parameter)
            Free parameters in the unit cube of their ranges.
        scale : array (site,), or None
            Error scales, if the likelihood learns them.
        """
        with numpyro.plate("sites", profiles.depth.shape[0], dim=-1):
            offsets = numpyro.sample("offsets", dist.Normal(0.0, 1.0).expand((len(self.free),)).to_event(1))
            scale = self.likelihood.scale()
        return ndtr(offsets), scale

    def log_density(self, latents: Mapping[str, Array], profiles: Profiles) -> Array:
        """Return the log posterior density of each site, up to a constant.

        Parameters
        ----------
        latents : mapping of arrays
            ``offsets`` (site, free parameter), and ``soc_scale`` (site,) where the likelihood learns one, on the
            unconstrained scale: the log of the scale.
        profiles : Profiles
            The sites with their observations.

        Returns
        -------
        array (site,)
        """
        densities, _ = log_densities(self, latents, profiles)
        return sum(densities.values(), start=jnp.zeros(profiles.depth.shape[0]))

    def marginal_log_density(self, offsets: Array, profiles: Profiles) -> Array:
        """Return the log posterior density of each site with its error scale integrated out, up to the same constant.

        One pass of the solver serves all nodes of the integral, see :meth:`StudentTLogSOC.marginal`.

        Parameters
        ----------
        offsets : array (site, free parameter)
        profiles : Profiles
            The sites with their observations.

        Returns
        -------
        array (site,)
        """
        assert profiles.soc is not None
        prior, soc = self._prior_and_carbon(offsets, profiles)
        return prior + self.likelihood.marginal(soc, profiles.soc, profiles.mask, profiles.weights)

    def draw_scale(self, key: Array, offsets: Array, profiles: Profiles) -> Array | None:
        """Draw each site's error scale, (site,), given its offsets and observations; None if there is none to learn.

        Parameters as in :meth:`marginal_log_density`.  Together with offsets drawn from that density it is a draw from
        the posterior.
        """
        assert profiles.soc is not None
        _, soc = self._prior_and_carbon(offsets, profiles)
        return self.likelihood.draw_scale(key, soc, profiles.soc, profiles.mask, profiles.weights)

    def _prior_and_carbon(self, offsets: Array, profiles: Profiles) -> tuple[Array, Array]:
        """Return the log prior density of the offsets (site,) and the modelled carbon (site, observation)."""
        any_scale = jnp.zeros(offsets.shape[0])
        densities, trace = log_densities(self, {"offsets": offsets, "soc_scale": any_scale}, profiles)
        return densities["offsets"], trace["soc_at_depth"]["value"]
