"""BINN: a network gives each site's parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
from jax import Array

from binn_prob.models.base import NetworkModel
from binn_prob.models.networks import DropoutRate
from binn_prob.models.profiles import Profiles

__all__ = ["BINN"]


@dataclass(frozen=True)
class BINN(NetworkModel):
    """One network maps every site's covariates to its 21 parameters (Xu et al. 2025, arXiv 2502.00672).

    ``unit = sigmoid(network(covariates))`` lies in the unit cube of the parameter ranges; sites with the same
    covariates have the same parameters.  The weights have independent Gaussian priors
    (:func:`binn_prob.models.networks.weight_scales`); with the defaults the prior of each parameter is close to uniform
    over its range.  The sites of the model are ``weights`` (weight,), standard normal; ``soc_scale``, if the likelihood
    learns one; those of :mod:`binn_prob.models.profiles`; and the likelihood ``soc``.  Where parameters are fixed, the
    network has an output for each of the others only.

    Called with prepared sites, an instance is a NumPyro model.

    Raises
    ------
    InputError
        If a field is out of range.
    """

    name: ClassVar[str] = "binn"
    has_network: ClassVar[bool] = True
    site_latents: ClassVar[tuple[str, ...]] = ()

    def __call__(self, profiles: Profiles, dropout_rate: DropoutRate = 0.0, shared_mask: bool = False) -> None:
        """Be a NumPyro model.

        Parameters
        ----------
        profiles : Profiles
        dropout_rate : float or "learned"
            Share of the hidden units that are switched off at random; needs a random key (``numpyro.handlers.seed``).
            ``learned``: a latent site ``dropout_rate``, see :func:`binn_prob.models.networks.learned_rate`.
            In training each site has its own mask, which makes the gradients less noisy; in prediction all sites share
            one, so that a draw is one network.
        shared_mask : bool
            Whether the same units are off at every site.
        """
        self._observe(*self.prior(profiles, dropout_rate, shared_mask), profiles)

    def prior(
        self, profiles: Profiles, dropout_rate: DropoutRate = 0.0, shared_mask: bool = False
    ) -> tuple[Array, Array | None]:
        """Sample the latent sites alone; parameters as those of :meth:`__call__`.

        Returns
        -------
        unit : array (site, free parameter)
            Free parameters in the unit cube of their ranges.
        scale : array, or None
            Error scale, if the likelihood learns one.
        """
        logits = self._outputs(profiles, len(self.free), dropout_rate, shared_mask)
        return jax.nn.sigmoid(logits), self.likelihood.scale()
