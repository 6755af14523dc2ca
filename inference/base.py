"""The contracts between models, methods and results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.handlers import block
from numpyro.infer import Predictive

from binn_prob.errors import InputError
from binn_prob.provenance import git_commit, versions
from binn_prob.results import posterior

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Fit", "FitError", "Method", "Model", "Stopwatch", "without_deterministics"]


class FitError(RuntimeError):
    """A method could not fit the model: numbers stopped being finite.  The message says what to change."""


class Model(Protocol):
    """A NumPyro model of sites, see :mod:`binn_prob.models`; ``model(profiles)`` runs it."""

    name: ClassVar[str]
    has_network: ClassVar[bool]
    """Whether a network gives the parameters, so that any site can be predicted and hidden units can be dropped"""

    def encode(self, dataset: xr.Dataset) -> Any:
        """Learn from the training sites what :meth:`prepare` needs."""

    def prepare(self, dataset: xr.Dataset, encoding: Any) -> Any:
        """Turn a Dataset into the arrays that the model is called with."""

    def __call__(self, profiles: Any) -> None:
        """Run the model."""


class Method(Protocol):
    """A way to a posterior: a frozen dataclass whose fields are its options."""

    name: ClassVar[str]
    needs_network: ClassVar[bool]
    """Whether it serves only models with a network"""

    def fit(self, key: Array, model: Model, dataset: xr.Dataset, *, progress: bool = True) -> Fit:
        """Fit ``model`` to the sites of ``dataset``, with all randomness from ``key``."""


@dataclass(frozen=True)
class Fit:
    """A posterior, ready to say what it knows about any site."""

    method: Method
    model: Model
    dataset: xr.Dataset
    """The training sites"""
    encoding: Any
    draws: Mapping[str, Array]
    """Draws of the model's latent sites, each (chain, draw, …)"""
    key: Array
    """Random key of the posterior predictive"""
    wall_seconds: float
    markov_chain: bool = False
    """Whether the draws form Markov chains, so that R-hat and effective sample size mean something"""
    sample_stats: Mapping[str, Array] = field(default_factory=dict)
    """Diagnostics, each (chain, draw) or (step,)"""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options with which the model is run to predict, such as dropout"""
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)
    """More to write into the results"""

    def posterior(self) -> xr.DataTree:
        """Return the posterior at the training sites, see :mod:`binn_prob.results.posterior`."""
        return self.predict(self.dataset)

    def predict(self, dataset: xr.Dataset, key: Array | None = None) -> xr.DataTree:
        """Return the posterior and the posterior predictive at any sites.

        Parameters
        ----------
        dataset : xarray.Dataset
            Sites with forcing, covariates and depths; their observations are not read but copied into the result.
        key : random key, optional
            Default: that of the fit, so that the same call gives the same numbers.

        Raises
        ------
        InputError
            If the model knows nothing about sites it was not fitted to.
        """
        if not self.model.has_network and not dataset.indexes["site"].equals(self.dataset.indexes["site"]):
            raise InputError(
                f"sites that the model {self.model.name!r} was not fitted to",
                "the fitted sites: its sites are independent",
                "use a model with a network, such as 'binn', to predict other sites",
            )
        profiles = self.model.prepare(dataset, self.encoding)

        @jax.jit
        def predict(key: Array, draws: dict[str, Array], profiles: Any) -> dict[str, Array]:
            drawn: dict[str, Array] = Predictive(self.model, draws, batch_ndims=2)(key, profiles, **self.options)
            return drawn

        drawn = predict(self.key if key is None else key, dict(self.draws), profiles.without_observations())
        named = {name: np.asarray(drawn[name]) for name in ("parameters", "soc_layer", "processes", "soc_at_depth")}
        return posterior.build(
            **named,
            soc_predictive=np.asarray(drawn["soc"]),
            scalars={"soc_scale": np.asarray(self.draws["soc_scale"])},
            sample_stats={name: np.asarray(values) for name, values in self.sample_stats.items()},
            dataset=dataset,
            attrs=self._attributes(),
        )

    def tree(self, held_out: xr.Dataset | None = None) -> xr.DataTree:
        """Return the posterior at the training sites, with that at ``held_out`` sites as its child if given."""
        tree = self.posterior()
        return tree if held_out is None else posterior.with_held_out(tree, self.predict(held_out))

    def _attributes(self) -> dict[str, str | int | float]:
        installed = versions()
        settings = {"method": asdict(self.method), "model": asdict(self.model)}  # type: ignore[call-overload]
        return {
            "method": self.method.name,
            "model": self.model.name,
            "settings": json.dumps(settings),
            "versions": json.dumps(installed),
            "binn_prob_version": installed["binn-prob"],
            "git_commit": git_commit(),
            "device": jax.devices()[0].device_kind,
            "precision": str(jnp.result_type(float)),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_seconds": self.wall_seconds,
            "markov_chain": int(self.markov_chain),
            **self.attributes,
        }


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds since the stopwatch was made [s]."""
        return time.perf_counter() - self._start


def without_deterministics(model: Model) -> Callable[..., None]:
    """Return the model without its deterministic sites, for algorithms that would store them at every step."""
    return block(model, hide_fn=lambda site: site["type"] == "deterministic")
