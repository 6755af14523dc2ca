"""What models have in common: their options, and how parameters meet observations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array

from binn_prob.checks import positive, whole
from binn_prob.clm5.parameters import NAMES, ranges
from binn_prob.clm5.transport import Column, check_column
from binn_prob.errors import InputError
from binn_prob.models.encoding import Encoding
from binn_prob.models.fixed import Fixed, checked, with_fixed
from binn_prob.models.likelihoods import Likelihood, StudentTLogSOC
from binn_prob.models.networks import (
    ACTIVATIONS,
    DropoutRate,
    ParameterNetwork,
    last_layer,
    learned_rate,
    weight_scales,
)
from binn_prob.models.profiles import Profiles, soil_organic_carbon_profiles
from binn_prob.sharding import apart

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.models.encoding import Covariates

__all__ = ["NetworkModel", "SoilModel"]


@dataclass(frozen=True, kw_only=True)
class SoilModel:
    """Options of every model; they come last in its signature.

    Raises
    ------
    InputError
        If there are no such ranges or column, or a fixed parameter is not what it must be.
    """

    ranges: str = "binn"
    """Parameter ranges, ``binn`` or ``proda``."""
    column: Column = "closed"
    """Lower boundary of the soil, see :func:`binn_prob.clm5.prepare`."""
    fixed: Fixed = ()
    """Parameters held at given values, name → physical value; all others are free, that is, learnt.
    :func:`binn_prob.models.at_defaults` makes such a mapping."""
    likelihood: Likelihood = field(default_factory=StudentTLogSOC)
    """How observations scatter about the modelled carbon, see :mod:`binn_prob.models.likelihoods`."""

    def __post_init__(self) -> None:
        ranges(self.ranges)
        check_column(self.column)
        object.__setattr__(self, "fixed", checked(self.fixed, self.ranges))

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the parameters that are learnt, in the order of the latent arrays."""
        held = dict(self.fixed)
        return tuple(name for name in NAMES if name not in held)

    def _profiles(self, dataset: xr.Dataset, covariates: Covariates | None = None) -> Profiles:
        """Turn a Dataset into arrays, with the weights that the likelihood gives the observations."""
        profiles = Profiles.from_dataset(dataset, self.column, covariates)
        assert profiles.soc is not None
        return replace(profiles, weights=self.likelihood.weights(profiles.soc, profiles.depth, profiles.mask))

    def _observe(self, unit: Array, scale: Array | None, profiles: Profiles) -> None:
        """Solve the columns and sample ``soc``, given what ``prior`` has returned."""
        soc = soil_organic_carbon_profiles(with_fixed(unit, self.fixed, self.ranges), profiles)
        self.likelihood(soc, scale, profiles.soc, profiles.mask, profiles.weights)


@dataclass(frozen=True)
class NetworkModel(SoilModel):
    """Options of a model in which a network reads the covariates.

    Raises
    ------
    InputError
        If a field is out of range.
    """

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

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "gain", "intercept_scale")
        whole(self, "embedding_size")
        if self.activation not in ACTIVATIONS:
            expected = f"one of {', '.join(ACTIVATIONS)}"
            raise InputError(f"activation {self.activation!r}", expected, "choose one of them")
        if any(not isinstance(width, int) or width < 1 for width in self.hidden):
            raise InputError(f"hidden layers {self.hidden}", "at least one unit in each", "correct the widths")

    @property
    def has_hidden_units(self) -> bool:
        """Whether there are units that dropout can switch off."""
        return bool(self.hidden)

    def encode(self, dataset: xr.Dataset) -> Encoding:
        """Learn from the training sites how covariates enter the network."""
        return Encoding.fit(dataset)

    def prepare(self, dataset: xr.Dataset, encoding: Encoding) -> Profiles:
        """Turn a Dataset into the arrays that the model is called with."""
        return self._profiles(dataset, encoding(dataset))

    def _outputs(self, profiles: Profiles, count: int, dropout_rate: DropoutRate, shared_mask: bool) -> Array:
        """Sample the site ``weights`` and return the network's outputs (site, count)."""
        assert profiles.covariates is not None
        learned = dropout_rate == "learned"
        network = ParameterNetwork(
            self.hidden,
            self.embedding_size,
            self.activation,
            0.0 if dropout_rate == "learned" else dropout_rate,
            shared_mask,
            outputs=count,
        )
        scales, unflatten = weight_scales(network, profiles.covariates, self.gain, self.intercept_scale)
        weights = numpyro.sample(
            "weights",
            dist.Normal(0.0, 1.0).expand(scales.shape).to_event(1),
            infer={"last_layer": last_layer(network, profiles.covariates)},  # for methods that treat it apart
        )
        rate = learned_rate(network, profiles.covariates, weights) if learned else None
        keys = {"dropout": numpyro.prng_key()} if learned or network.dropout_rate > 0.0 else {}
        outputs: Array = _apply(network, unflatten(scales * weights), profiles.covariates, rate, keys)
        return outputs


@partial(jax.jit, static_argnames="network")  # where NumPyro runs a model step by step, this is one step
def _apply(
    network: ParameterNetwork, variables: Any, covariates: Covariates, rate: Array | None, keys: dict[str, Array]
) -> Array:
    """Return the outputs of a network (site, count)."""
    return apart(jnp.asarray(network.apply(variables, apart(covariates), rate, rngs=keys)))
