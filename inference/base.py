"""The contracts between models, methods and results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.handlers import block

from binn_prob.errors import InputError
from binn_prob.inference import predictive
from binn_prob.inference.checkpoint import Checkpoint, Stopwatch
from binn_prob.provenance import git_commit, versions
from binn_prob.results import convergence, html, posterior
from binn_prob.sharding import devices_in_use

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Fit", "FitError", "Method", "Model", "Stopwatch", "prepared"]

_JUDGED_AT_ONCE = 2**20
"""Draws times sites that are judged at a time, which takes some gigabytes"""


class FitError(RuntimeError):
    """A method could not fit the model: numbers stopped being finite.  The message says what to change."""


class Likelihood(Protocol):
    """How observations scatter about the modelled carbon, see :mod:`binn_prob.models.likelihoods`."""

    def log_density(self, soc: Array, scale: Array | None, observed: Array) -> Array:
        """Return the log predictive density of observations (site, observation)."""


class Model(Protocol):
    """A NumPyro model of sites, see :mod:`binn_prob.models`: a frozen dataclass; ``model(profiles)`` runs it."""

    name: ClassVar[str]
    has_network: ClassVar[bool]
    """Whether a network gives the parameters, so that any site can be predicted"""
    site_latents: ClassVar[tuple[str, ...]]
    """Latent sites with one row per fitted site, after the axes of the draws; ``()`` if all sites share theirs"""

    @property
    def likelihood(self) -> Likelihood:
        """How observations scatter about the modelled carbon."""

    @property
    def has_hidden_units(self) -> bool:
        """Whether the network has units that dropout can switch off; ``__call__`` then takes the rate and the mask."""

    def encode(self, dataset: xr.Dataset) -> Any:
        """Learn from the training sites what :meth:`prepare` needs."""

    def prepare(self, dataset: xr.Dataset, encoding: Any) -> Any:
        """Turn a Dataset into the arrays that the model is called with."""

    def __call__(self, profiles: Any) -> None:
        """Run the model."""

    def prior(self, profiles: Any) -> Any:
        """Sample the latent sites alone, as :meth:`__call__` does, which costs nothing: what guides are made from."""

    def prior_of_sites(self, keys: Array, shape: tuple[int, ...]) -> dict[str, Array]:
        """Draw :attr:`site_latents` of sites that were not fitted, each with a key (site,) of its own.

        Only of a model with a network; returns arrays (*shape, site, …).
        """


class Method(Protocol):
    """A way to a posterior: a frozen dataclass whose fields are its options."""

    name: ClassVar[str]
    needs_hidden_units: ClassVar[bool]
    """Whether it serves only models with hidden units"""
    needs_independent_sites: ClassVar[bool]
    """Whether it serves only models whose sites share nothing"""

    def check(self, model: Model, dataset: xr.Dataset) -> None:
        """Refuse what the method, with these options, cannot fit, at next to no cost.

        A run asks this of all its methods before it fits the first.

        Raises
        ------
        InputError
            Saying what is wrong.
        """
        return  # nothing, unless a method has something to refuse

    def fit(
        self,
        key: Array,
        model: Model,
        dataset: xr.Dataset,
        *,
        progress: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> Fit:
        """Fit ``model`` to the sites of ``dataset``, with all randomness from ``key``.

        What is saved in ``checkpoint`` lets the same fit, killed and started again, go on to the same draws.
        """


@dataclass(frozen=True, repr=False)
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
    gradients: float = math.nan
    """Gradients of the density of each site that the fit took, mean over the sites; NaN if it takes none"""
    markov_chain: bool = False
    """Whether the draws form Markov chains, so that R-hat and effective sample size mean something"""
    sample_stats: Mapping[str, Array] = field(default_factory=dict)
    """Diagnostics, each (chain, draw) or (step,)"""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options with which the model is run to predict, such as dropout"""
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)
    """More to write into the results"""
    check: Callable[[xr.Dataset], xr.Dataset] = lambda dataset: dataset
    """Refuses sites that are not what they must be, before they are predicted"""
    judged: convergence.Verdict | None = None
    """The verdict, where it is known from a fit with the diagnostics that this one lacks"""

    def __repr__(self) -> str:
        chains, draws = next(iter(self.draws.values())).shape[:2]
        sites = self.dataset.sizes["site"]
        return f"Fit(method={self.method}, model={self.model}, {sites} sites, {chains} x {draws} draws)"

    def _repr_html_(self) -> str:
        """Return what was fitted and how, for notebooks; whether it has converged is known from its posterior."""
        chains, draws = next(iter(self.draws.values())).shape[:2]
        kind = "Markov chains" if self.markov_chain else "independent draws"
        rows = [
            ("method", str(self.method)),
            ("model", str(self.model)),
            ("sites", str(self.dataset.sizes["site"])),
            ("draws", f"{chains} x {draws} ({kind})"),
            ("wall time", f"{self.wall_seconds:.1f} s"),
            ("gradients of each site", "" if math.isnan(self.gradients) else f"{self.gradients:,.0f}"),
        ]
        return html.table(["", "Fit"], rows)

    def posterior(self) -> xr.DataTree:
        """Return the posterior at the training sites, see :mod:`binn_prob.results.posterior`."""
        return self.predict(self.dataset)

    @cached_property
    def verdict(self) -> convergence.Verdict:
        """Whether the fit has converged and, if not, why: see :mod:`binn_prob.results.convergence`."""
        if self.judged is not None:
            return self.judged
        # What is judged are chains of parameters and processes, or else what was recorded of the fit as a whole.
        number = self.dataset.sizes["site"] if self.markov_chain else 1
        chains, draws = next(iter(self.draws.values())).shape[:2]
        at_once = max(1, _JUDGED_AT_ONCE // (chains * draws))
        parts = (slice(first, min(first + at_once, number)) for first in range(0, number, at_once))
        sites = self.dataset.isel(observation=slice(1))
        return convergence.verdict_of_parts(self.predict(sites.isel(site=part)) for part in parts)

    def predict(self, dataset: xr.Dataset, key: Array | None = None) -> xr.DataTree:
        """Return the posterior and the posterior predictive at any sites.

        Parameters
        ----------
        dataset : xarray.Dataset
            Sites with forcing, covariates and depths; their observations are not read but copied into the result.
            Fitted sites are known by their ids and covariates: in any order, and as few of them as you like.
        key : random key, optional
            Default: that of the fit, so that the same call gives the same numbers.

        Returns
        -------
        xarray.DataTree
            See :mod:`binn_prob.results.posterior`.  Observations that the model's column does not reach are left out
            and counted among the exclusions.

        Raises
        ------
        InputError
            If the sites are not what they must be, the model knows nothing about sites it was not fitted to, or they
            are a mixture of fitted sites and others, of which each has its own kind of draws.
        """
        dataset = self.check(dataset)
        draws = self._draws_at(dataset)
        profiles = self.model.prepare(dataset, self.encoding)
        options = tuple(sorted(self.options.items()))
        unobserved = profiles.without_observations()
        key = self.key if key is None else key
        complete = draws | predictive.of_new_sites(self.model, key, draws, profiles.sites)
        drawn = predictive.draw(self.model, options, key, complete, unobserved)
        named = {name: np.asarray(drawn[name]) for name in (*predictive.BY_LAYER, "soc_at_depth")}
        scale = drawn.get("soc_scale", draws.get("soc_scale"))
        return posterior.build(
            **named,
            soc_predictive=np.asarray(drawn["soc"]),
            log_likelihood=np.asarray(
                predictive.log_density(self.model.likelihood, drawn["soc_at_depth"], scale, profiles.soc)
            ),
            scalars={name: np.asarray(draws[name]) for name in ("soc_scale",) if name in draws},
            sample_stats=self._statistics_at(dataset),
            dataset=predictive.within(dataset, np.asarray(profiles.mask)),
            attrs=self.provenance(),
            latents={name: predictive.labelled(self.model, name, values) for name, values in draws.items()},
        )

    def draws_by_layer(self, dataset: xr.Dataset, first: int = 0) -> dict[str, np.ndarray]:
        """Return draws of some of many sites, those of :meth:`predict` if it were given all, and nothing else.

        Parameters
        ----------
        dataset : xarray.Dataset
            Sites as in :meth:`predict`, which are not checked.
        first : int
            Position of the first of them among all sites.

        Returns
        -------
        dict of arrays
            ``parameters``, ``soc_layer`` and ``processes``, each (chain, draw, site, …).
        """
        draws = self._draws_at(dataset)
        profiles = self.model.prepare(dataset, self.encoding).without_observations()
        draws |= predictive.of_new_sites(self.model, self.key, draws, profiles.sites, first)
        options = tuple(sorted(self.options.items()))
        drawn = predictive.draw(self.model, options, self.key, draws, profiles, only=predictive.BY_LAYER)
        return {name: np.asarray(values) for name, values in drawn.items()}

    def tree(self, held_out: xr.Dataset | None = None) -> xr.DataTree:
        """Return the posterior at the training sites, with that at ``held_out`` sites as its child if given.

        Raises
        ------
        InputError
            As :meth:`predict`, or if a held-out site is one of the training sites.
        """
        tree = self.posterior()
        return tree if held_out is None else posterior.with_held_out(tree, self.predict(held_out))

    def _draws_at(self, dataset: xr.Dataset) -> dict[str, Array]:
        """Return the draws for some sites: the rows of fitted sites; for others only what all sites share.

        What is left out of the draws is drawn from its prior, see :func:`predictive.of_new_sites`.
        """
        own = [name for name in self.model.site_latents if name in self.draws]
        rows = predictive.rows(self.dataset, dataset)
        if (rows >= 0).all():
            return {name: values[:, :, rows] if name in own else values for name, values in self.draws.items()}
        self.refuse_unknown(int((rows >= 0).sum()), len(rows))
        return {name: values for name, values in self.draws.items() if name not in own}

    def refuse_unknown(self, fitted: int, asked: int) -> None:
        """Refuse sites, ``fitted`` of ``asked``, about which the model says nothing, or not in one way.

        Raises
        ------
        InputError
            As :meth:`predict`.
        """
        if fitted < asked and not self.model.has_network:
            raise InputError(
                f"sites that the model {self.model.name!r} was not fitted to",
                "the fitted sites: its sites are independent",
                "use a model with a network, such as 'binn', to predict other sites",
            )
        if 0 < fitted < asked and any(name in self.draws for name in self.model.site_latents):
            got = f"{fitted} sites that were fitted among {asked}"
            raise InputError(got, "fitted sites or other sites", "predict them apart")

    def _statistics_at(self, dataset: xr.Dataset) -> dict[str, np.ndarray]:
        """Return the diagnostics; those by site of fitted sites, for others there are none."""
        rows = predictive.rows(self.dataset, dataset)
        held = {name: np.asarray(values) for name, values in self.sample_stats.items()}
        by_site = {name: values for name, values in held.items() if name != "loss" and values.ndim in (1, 3)}
        chosen = {name: values[..., rows] for name, values in by_site.items() if (rows >= 0).all()}
        return {name: values for name, values in held.items() if name not in by_site} | chosen

    def provenance(self) -> dict[str, str | int | float]:
        """Return what the results say about where they come from."""
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
            "devices": devices_in_use(),
            "precision": str(jnp.result_type(float)),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_seconds": self.wall_seconds,
            "markov_chain": int(self.markov_chain),
            "gradients": self.gradients,
            "prediction": json.dumps({"key": jax.random.key_data(self.key).tolist(), "options": dict(self.options)}),
            **self.attributes,
        }


def prepared(model: Model, dataset: xr.Dataset) -> tuple[Any, Any, Callable[..., None]]:
    """Return the encoding learnt from the sites, the sites as the model reads them, and the model to fit.

    The model to fit lacks the deterministic sites, which algorithms would store at every step.
    """
    encoding = model.encode(dataset)
    silent = block(model, hide_fn=lambda site: site["type"] == "deterministic")
    return encoding, model.prepare(dataset, encoding), silent
