"""Groups of independent sites, run on all devices by :mod:`binn_prob.inference.lanes`.

A group is an array of positions of sites in the data set, (share, site), of which each device has a share, or several.
Its widths are powers of two, so that few programs are compiled; what is left over is filled up with sites that are
there already, whose results are not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from binn_prob.inference.base import Model
from binn_prob.inference.lanes import BatchedModel, Course, Lanes, Record, advance, whitened

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Arrays", "IndependentSites", "SiteGroups", "groups", "observations", "padding"]

Arrays = dict[str, Any]
"""Arrays by name, each with the site first."""

_FEWEST = 8
"""Observations up to which sites count as alike"""

_WINDOWS = 4
"""Parts of a warm-up: after each but the last the chains learn centre and covariance anew."""

_UNSETTLED = 3
"""The first one of this many parts of a window is left out of what is learnt."""


class IndependentSites(Model, BatchedModel, Protocol):
    """A model whose sites share nothing."""

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the latent numbers of a site."""

    def draw_scale(self, key: Array, offsets: Array, profiles: Any) -> Array | None:
        """Draw the error scale (site,) given the latent numbers (site, latent); None if the model has none."""


def observations(dataset: xr.Dataset) -> np.ndarray:
    """Return the number of observations up to the last one of each site, (site,), at least 1."""
    observed = dataset["soc"].notnull().transpose("site", "observation").to_numpy()
    last = observed.shape[1] - np.argmax(observed[:, ::-1], axis=1)
    return np.where(observed.any(axis=1), last, 1)


def padding(observations: np.ndarray) -> np.ndarray:
    """Return to how many observations sites are padded that run together, (site,): a power of two."""
    return np.maximum(1 << np.ceil(np.log2(observations)).astype(int), _FEWEST)


def groups(sites: np.ndarray, shares: int, at_once: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Divide sites, in their order, into groups of at most ``at_once`` a share.

    Yields
    ------
    sites : array (site,)
    group : array (share, site)
        The same sites, filled up.
    """
    width = min(1 << (at_once.bit_length() - 1), 1 << (-(-len(sites) // shares) - 1).bit_length())
    for first in range(0, len(sites), shares * width):
        some = sites[first : first + shares * width]
        yield some, np.resize(some, (shares, width))


@dataclass(frozen=True)
class SiteGroups:
    """The sites of a data set with all that is needed to run any group of them."""

    model: IndependentSites
    dataset: xr.Dataset
    chains: int

    @cached_property
    def observations(self) -> np.ndarray:
        """What :func:`observations` gives of them."""
        return observations(self.dataset)

    def warm_up(
        self, key: Array, lanes: Lanes, group: np.ndarray, course: Course, target: float, *, learn: bool
    ) -> Arrays:
        """Adapt to the posteriors of a group.

        Parameters
        ----------
        key : random key
        lanes : Lanes
            Of all sites of the data set.
        group : array (share, site)
        course : Course
            Its draws are the iterations of the whole warm-up.
        target : float
            Mean acceptance that the step size is adapted to.
        learn : bool
            Whether centre and covariance are learnt, or only the step size is adapted.

        Returns
        -------
        dict of arrays
            The fields of the group's lanes.
        """
        profiles, at = self._profiles(group), _taken(lanes, group)
        course = course._replace(draws=course.draws // _WINDOWS)
        for window in range(_WINDOWS):
            at, record = self._advance(jax.random.fold_in(key, window), at, profiles, course, 1, target)
            if learn and window < _WINDOWS - 1:
                at = _learn(at, record.position[:, course.draws // _UNSETTLED :])
        return _joined(at._asdict())

    def draw(self, key: Array, lanes: Lanes, group: np.ndarray, course: Course, thinning: int) -> tuple[Arrays, Arrays]:
        """Draw from the posteriors of a group, which then knows its centre and covariance better.

        Parameters are those of :meth:`warm_up`, with the iterations per draw in the place of the acceptance.

        Returns
        -------
        lanes : dict of arrays
            As from :meth:`warm_up`.
        drawn : dict of arrays
            ``offsets`` (site, chain, draw, latent), ``soc_scale`` if the model has one, and the diagnostics
            ``energy``, ``squared_energy_change``, ``acceptance_rate``, ``diverging`` and ``n_steps``
            (site, chain, draw), ``step_size`` (site,).
        """
        run_key, scale_key = jax.random.split(key)
        at, record = self._advance(run_key, _taken(lanes, group), self._profiles(group), course, thinning)
        offsets, energy, change, acceptance, diverging, steps = (_site_first(values) for values in record)
        drawn = {
            "offsets": offsets, "energy": energy, "squared_energy_change": change, "acceptance_rate": acceptance,
            "diverging": diverging, "n_steps": steps, "step_size": np.asarray(at.step_size).ravel(),
        }  # fmt: skip
        scale = _scales(self.model, scale_key, offsets, self._prepared(group.ravel(), self._width(group)))
        if scale is not None:
            drawn["soc_scale"] = np.asarray(scale)
        return _joined(_learn(at, record.position)._asdict()), drawn

    def form(self, group: np.ndarray, draws: int) -> Arrays:
        """Return the shapes and types of what :meth:`draw` has drawn."""
        shape = (group.size, self.chains, draws)
        number, count = jnp.result_type(float), jnp.result_type(int)
        measured = ("energy", "squared_energy_change", "acceptance_rate")
        form: Arrays = {name: jax.ShapeDtypeStruct(shape, number) for name in measured}
        form |= {"diverging": jax.ShapeDtypeStruct(shape, bool), "n_steps": jax.ShapeDtypeStruct(shape, count)}
        form["offsets"] = jax.ShapeDtypeStruct((*shape, len(self.model.free)), number)
        form["step_size"] = jax.ShapeDtypeStruct(shape[:1], number)
        profiles = self._prepared(group.ravel(), self._width(group))
        scale = jax.eval_shape(partial(_scales, self.model), jax.random.key(0), form["offsets"], profiles)
        return form if scale is None else form | {"soc_scale": scale}

    def _advance(
        self, key: Array, lanes: Lanes, profiles: Any, course: Course, thinning: int, target: float = 0.9
    ) -> tuple[Lanes, Record]:
        keys = jax.random.split(key, len(lanes.position))
        return advance(self.model, course, keys, lanes, profiles, thinning, target)

    def _profiles(self, group: np.ndarray) -> Any:
        """Return what the model reads for every lane, with the share as the first axis."""
        width = self._width(group)
        shares = [self._prepared(np.repeat(share, self.chains), width) for share in group]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *shares)

    def _width(self, group: np.ndarray) -> int:
        """Return how many observations the sites of a group are padded to: other sites may need more."""
        return 1 << int(self.observations[group].max() - 1).bit_length()

    def _prepared(self, sites: np.ndarray, width: int) -> Any:
        """Return what the model reads for some sites."""
        return self.model.prepare(self.dataset.isel(site=sites, observation=slice(width)), None)


_learn = jax.jit(jax.vmap(whitened))


@partial(jax.jit, static_argnames="model")
def _scales(model: IndependentSites, key: Array, offsets: Array, profiles: Any) -> Array | None:
    """Draw the error scales (site, chain, draw) that go with offsets (site, chain, draw, latent)."""
    sites, chains, draws, latents = offsets.shape
    flat = jnp.moveaxis(offsets.reshape(sites, chains * draws, latents), 0, 1)
    keys = jax.random.split(key, chains * draws)
    scales = jax.lax.map(lambda one: model.draw_scale(one[0], one[1], profiles), (keys, flat))
    return None if scales is None else scales.T.reshape(sites, chains, draws)


def _taken(lanes: Lanes, group: np.ndarray) -> Lanes:
    """Return the lanes of a group, with a leading axis (share,)."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[group]), lanes)


def _joined(arrays: dict[str, Array]) -> Arrays:
    """Join the sites of all shares: (share, site, …) → (site, …)."""
    return {name: np.asarray(values).reshape(-1, *values.shape[2:]) for name, values in arrays.items()}


def _site_first(values: Array) -> np.ndarray:
    """Return (share, draw, site, chain, …) as (site, chain, draw, …)."""
    host = np.moveaxis(np.asarray(values), 1, 3)
    return host.reshape(-1, *host.shape[2:])
