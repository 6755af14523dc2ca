"""Observation models for soil organic carbon.

Profiles span four orders of magnitude and hold outliers (peat, typing errors), so the error is one of log SOC, with
tails heavier than a Gaussian's.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions.transforms import ExpTransform

from binn_prob.checks import positive

__all__ = ["StudentTLogSOC"]

_SMALLEST_SOC = 1e-3
"""Modelled carbon below this counts as this [g C m-3]; far less than can be measured, it keeps the logarithm finite."""


@dataclass(frozen=True)
class StudentTLogSOC:
    """Log SOC has a Student-t error whose scale is learnt.

    ``log soc ~ StudentT(degrees_of_freedom, log soc_at_depth, soc_scale)``, ``soc_scale ~ LogNormal(log scale_median,
    scale_spread)``.  The prior keeps the scale away from 0, which a site with few observations could otherwise reach.
    """

    degrees_of_freedom: float = 4.0
    """Tail weight; infinity would be a log-normal error."""
    scale_median: float = 0.4
    """Prior median of the scale: a typical observation is 40 % off [1]."""
    scale_spread: float = 0.5
    """Prior standard deviation of the log of the scale [1]."""

    def __post_init__(self) -> None:
        positive(self, "degrees_of_freedom", "scale_median", "scale_spread")

    def scale_prior(self) -> dist.Distribution:
        """Return the prior of the scale."""
        return dist.LogNormal(jnp.log(self.scale_median), self.scale_spread)

    def __call__(self, soc: Array, scale: Array, observed: Array | None, mask: Array) -> None:
        """Sample the site ``soc``.

        Parameters
        ----------
        soc : array (site, observation)
            Modelled carbon [g C m-3].
        scale : array, broadcast against ``soc``
        observed : array (site, observation), optional
            Observed carbon [g C m-3], positive also in the padding; None to draw from the predictive distribution.
        mask : array of bool (site, observation)
            False in the padding.
        """
        location = jnp.log(jnp.maximum(soc, _SMALLEST_SOC))
        error = dist.StudentT(self.degrees_of_freedom, location, scale)
        with numpyro.plate("sites", soc.shape[0], dim=-2), numpyro.plate("observations", soc.shape[1], dim=-1):
            numpyro.sample("soc", dist.TransformedDistribution(error, ExpTransform()).mask(mask), obs=observed)
