"""NeuralPrior: a network gives the prior of each site's parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from binn_prob.checks import positive
from binn_prob.models.base import NetworkModel
from binn_prob.models.networks import DropoutRate
from binn_prob.models.profiles import Profiles

__all__ = ["NeuralPrior"]


@dataclass(frozen=True)
class NeuralPrior(NetworkModel):
    """Covariates say where a site's parameters may lie, and its own profile says where in there they do.

    ``unit = sigmoid(location(covariates) + scale(covariates) * offset)`` with ``offset ~ Normal(0, 1)``, one for each
    site and free parameter; the network gives location and scale on the logit scale.  It is a hierarchical model:
    sites of the same covariates share a prior, not their parameters as in :class:`~binn_prob.models.BINN`, and borrow
    strength from each other, as those of :class:`~binn_prob.models.SiteModel` do not.  Where there is no profile, the
    offsets have their prior, so that a prediction carries what covariates cannot explain.  The offsets rather than the
    parameters are the latent sites (the non-centred form; Papaspiliopoulos, Roberts and Sköld 2007, *Statistical
    Science* 22:59), because a profile says little about most parameters.

    ``scale = softplus(softplus⁻¹(site_scale_median) + site_scale_spread * output)``: the outputs have a symmetric
    prior, so its prior median is ``site_scale_median``; with the defaults 95 % of its prior lies between 0.27 and 1.75.
    The location has a prior standard deviation of 1.4, so a logit has 1.7 in all, and each parameter is close to
    uniform over its range (no quantile is off by more than 0.02); a wider prior would pile parameters at both ends.

    The sites of the model are ``weights`` (weight,) and ``offsets`` (site, free parameter), standard normal; the rest
    is as in :class:`~binn_prob.models.BINN`.

    Called with prepared sites, an instance is a NumPyro model.

    Raises
    ------
    InputError
        If a field is out of range.
    """

    name: ClassVar[str] = "neural_prior"
    has_network: ClassVar[bool] = True
    site_latents: ClassVar[tuple[str, ...]] = ("offsets",)

    intercept_scale: float = 1.2
    """Prior scale of the output biases: how far a parameter may lie from the middle of its range everywhere [logit].
    Less than BINN's, because the sites have a spread of their own."""
    site_scale_median: float = 0.8
    """Prior median of the spread of sites about what the network gives [logit]."""
    site_scale_spread: float = 0.5
    """How much that spread may differ from its median, relative to how much locations differ [1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "site_scale_median", "site_scale_spread")

    def __call__(self, profiles: Profiles, dropout_rate: DropoutRate = 0.0, shared_mask: bool = False) -> None:
        """Be a NumPyro model; the parameters are those of :meth:`binn_prob.models.BINN.__call__`."""
        self._observe(*self.prior(profiles, dropout_rate, shared_mask), profiles)

    def prior(
        self, profiles: Profiles, dropout_rate: DropoutRate = 0.0, shared_mask: bool = False
    ) -> tuple[Array, Array | None]:
        """Sample the latent sites alone, see :meth:`binn_prob.models.BINN.prior`."""
        free = len(self.free)
        outputs = self._outputs(profiles, 2 * free, dropout_rate, shared_mask)
        location, widening = outputs[:, :free], outputs[:, free:]
        scale = jax.nn.softplus(jnp.log(jnp.expm1(self.site_scale_median)) + self.site_scale_spread * widening)
        with numpyro.plate("sites", len(outputs), dim=-1):
            offsets = numpyro.sample("offsets", dist.Normal(0.0, 1.0).expand((free,)).to_event(1))
        return jax.nn.sigmoid(location + scale * offsets), self.likelihood.scale()

    def prior_of_sites(self, keys: Array, shape: tuple[int, ...]) -> dict[str, Array]:
        """Draw the offsets of sites that were not fitted, each with a key (site,) of its own: (*shape, site, free)."""
        size = (*shape, len(self.free))
        return {"offsets": jax.vmap(lambda key: jax.random.normal(key, size), out_axes=len(shape))(keys)}
