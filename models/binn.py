"""BINN: a network gives each site's parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from binn_prob.checks import positive, whole
from binn_prob.clm5.parameters import physical, ranges
from binn_prob.clm5.transport import Column, check_column
from binn_prob.errors import InputError
from binn_prob.models.encoding import Encoding
from binn_prob.models.likelihoods import StudentTLogSOC
from binn_prob.models.networks import ACTIVATIONS, ParameterNetwork, weight_scales
from binn_prob.models.profiles import Profiles, soil_organic_carbon_profiles

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["BINN"]


@dataclass(frozen=True)
class BINN:
    """One network maps every site's covariates to its 21 parameters (Xu et al. 2025, arXiv 2502.00672).

    ``unit = sigmoid(network(covariates))`` lies in the unit cube of the parameter ranges; sites with the same
    covariates have the same parameters.  The weights have independent Gaussian priors
    (:func:`binn_prob.models.networks.weight_scales`); with the defaults the prior of each parameter is close to uniform
    over its range.  The sites of the model are ``weights`` (weight,), standard normal; ``soc_scale``; those of
    :mod:`binn_prob.models.profiles`; and the likelihood ``soc``.

    Called with prepared sites, an instance is a NumPyro model.

    Raises
    ------
    InputError
        If a field is out of range.
    """

    name: ClassVar[str] = "binn"
    has_network: ClassVar[bool] = True

    hidden: tuple[int, ...] = (8,)
    """Units of each hidden layer.  Few by default, so that NUTS can sample all weights."""
    embedding_size: int = 2
    """Numbers that stand for the code of a categorical covariate."""
    activation: str = "tanh"
    """See :data:`binn_prob.models.networks.ACTIVATIONS`."""
    gain: float = 1.0
    """Prior scale of the kernels: how much parameters vary with the covariates [logit]."""
    intercept_scale: float = 1.5
    """Prior scale of the output biases: how far a parameter may lie from the middle of its range everywhere [logit]."""
    ranges: str = "binn"
    """Parameter ranges, ``binn`` or ``proda``."""
    column: Column = "closed"
    """Lower boundary of the soil, see :func:`binn_prob.clm5.prepare`."""
    likelihood: StudentTLogSOC = field(default_factory=StudentTLogSOC)

    def __post_init__(self) -> None:
        positive(self, "gain", "intercept_scale")
        whole(self, "embedding_size")
        if self.activation not in ACTIVATIONS:
            expected = f"one of {', '.join(ACTIVATIONS)}"
            raise InputError(f"activation {self.activation!r}", expected, "choose one of them")
        if any(not isinstance(width, int) or width < 1 for width in self.hidden):
            raise InputError(f"hidden layers {self.hidden}", "at least one unit in each", "correct the widths")
        ranges(self.ranges)
        check_column(self.column)

    @property
    def has_hidden_units(self) -> bool:
        """Whether there are units that dropout can switch off."""
        return bool(self.hidden)

    def encode(self, dataset: xr.Dataset) -> Encoding:
        """Learn from the training sites how covariates enter the network."""
        return Encoding.fit(dataset)

    def prepare(self, dataset: xr.Dataset, encoding: Encoding) -> Profiles:
        """Turn a Dataset into the arrays that the model is called with."""
        return Profiles.from_dataset(dataset, self.column, encoding(dataset))

    def __call__(self, profiles: Profiles, dropout_rate: float = 0.0, shared_mask: bool = False) -> None:
        """Be a NumPyro model.

        Parameters
        ----------
        profiles : Profiles
        dropout_rate : float
            Share of the hidden units that are switched off at random; needs a random key (``numpyro.handlers.seed``).
            In training each site has its own mask, which makes the gradients less noisy; in prediction all sites share
            one, so that a draw is one network.
        shared_mask : bool
            Whether the same units are off at every site.
        """
        assert profiles.covariates is not None
        network = ParameterNetwork(self.hidden, self.embedding_size, self.activation, dropout_rate, shared_mask)
        scales, unflatten = weight_scales(network, profiles.covariates, self.gain, self.intercept_scale)
        weights = numpyro.sample("weights", dist.Normal(0.0, 1.0).expand(scales.shape).to_event(1))
        keys = {"dropout": numpyro.prng_key()} if dropout_rate > 0.0 else {}
        logits = network.apply(unflatten(scales * weights), profiles.covariates, rngs=keys)
        unit = jax.nn.sigmoid(jnp.asarray(logits))
        soc = soil_organic_carbon_profiles(physical(unit, self.ranges), profiles)
        scale = numpyro.sample("soc_scale", self.likelihood.scale_prior())
        self.likelihood(soc, scale, profiles.soc, profiles.mask)
