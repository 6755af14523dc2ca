"""PRODA's Metropolis sampler."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm import tqdm

from binn_prob.checks import positive, whole
from binn_prob.inference import cube, random_walk
from binn_prob.inference import proda_phases as phases
from binn_prob.inference.base import Fit, Method, Model, Stopwatch
from binn_prob.inference.checkpoint import Checkpoint

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ProdaMetropolis"]

_LOWEST_RATE, _HIGHEST_RATE = 0.1, 0.5
"""Acceptance rates between which a chain is kept."""

_SHORTER, _LONGER = 0.7, 2.0
"""By what the covariance of proposals is multiplied when a chain is run again, below and above these rates."""

_FEWEST_MOVES, _NARROWER = 50, 1.1
"""Accepted proposals of the exploration below which a chain is run again, with a box narrower by this factor."""


class _Chains(NamedTuple):
    """Chains that have ended."""

    states: np.ndarray
    """(lane, draw, coordinate) on the unit cube"""
    rate: np.ndarray
    """(lane,) share of proposals that were accepted"""
    explored: np.ndarray
    """(lane,) accepted proposals of the exploration"""

    def bounded(self) -> np.ndarray:
        """Say which chains are kept (lane,)."""
        return (self.rate >= _LOWEST_RATE) & (self.rate <= _HIGHEST_RATE) & (self.explored >= _FEWEST_MOVES)


@dataclass(frozen=True)
class ProdaMetropolis(Method):
    """PRODA's published sampler of independent sites (Tao et al. 2020, Frontiers in Big Data 3:17), and its correction.

    Each chain explores the unit cube by uniform steps in a box, then samples it by Gaussian steps with the covariance
    of its own past (Haario et al. 2001, Bernoulli 7:223).  A chain whose acceptance rate is not between 0.1 and 0.5 is
    run again with shorter or longer steps.  Draws are evenly spaced states of the second half of the chain.  All
    latent numbers of a site, its error scale too if the likelihood has one, are walked in as quantiles of their priors,
    so that the prior on the cube is uniform.

    **Posterior**: as published, none: ``annealing``, ``truncated_proposals``, ``accepted_only`` and ``best_chain_only``
    each make the draws depart from the posterior; together they are too narrow.  With all four off, an adaptive
    Metropolis sampler that converges to the posterior.  PRODA's own posterior of a site is the published one of
    ``SiteModel(likelihood=ProdaLikelihood(), ranges="proda", column="published")``.

    **Use it** to see what PRODA's intervals owe to its sampler.  **Do not** use it to sample: it mixes slowly.

    **Cost**: ``exploration + iterations`` solutions of the soil for each chain, no gradients, many sites in step.

    Details differ from the published program.  The covariance is factored every ``adapt_every`` iterations, not at
    every one, after 1e-10 is added to its variances.  A Gaussian proposal is drawn again at most ``redraws`` times, and
    rejected if it still lies outside.  The first phase, too, is run again up to ``reruns`` times (published: 3), and a
    chain whose acceptance rate is then still out of bounds is kept and counted in ``chains_out_of_bounds``.  The second
    phase starts with the density of where the first has ended, not of where that has begun.  A soil that cannot be
    solved does not occur here, so neither does the fault that its step repeats the last difference.  Sites are not
    screened by their R² and Gelman–Rubin ratios, whose published formulas are wrong: see ``fit.verdict``.
    """

    name: ClassVar[str] = "proda_metropolis"
    needs_hidden_units: ClassVar[bool] = False
    needs_independent_sites: ClassVar[bool] = True

    chains: int = 3
    """Chains of each site."""
    exploration: int = 20_000
    """Iterations of the first phase, which yields the first covariance."""
    iterations: int = 50_000
    """Iterations of the second phase."""
    draws: int = 500
    """Draws kept per chain, evenly spaced over the second half of what the chain has kept."""
    box_width: float = 0.2
    """Width of the box of the first phase [1]."""
    step_scale: float = 2.4
    """Covariance of proposals, times the number of coordinates, over that of the chain; 2.4² suits a Gaussian best."""
    adapt_after: int = 4_000
    """Iterations of the second phase that use the covariance of the first."""
    adapt_every: int = 50
    """Iterations between two updates of the covariance of proposals thereafter."""
    redraws: int = 16
    """Most times that a Gaussian proposal outside the cube is drawn again; 16 leave less than 1 % there."""
    reruns: int = 5
    """Most times that a chain is run again."""
    sites_at_once: int = 64
    """Sites that are sampled in step; fewer need less memory."""
    annealing: bool = True
    """As published, log ratios of densities are multiplied by ``log(iteration + 2)``, which reaches 10.8: the chain
    samples ever higher powers of the posterior.  Correct: never multiplied."""
    truncated_proposals: bool = True
    """As published, proposals outside the cube are drawn again, without the Hastings ratio of the shares of the
    proposals that lie inside: states near the faces are too rare.  Correct: such proposals are rejected."""
    accepted_only: bool = True
    """As published, a state is kept once, however many proposals it outlives: states of high density are too rare.
    Correct: the state after every iteration is kept."""
    best_chain_only: bool = True
    """As published, only the chain whose mean carbon is closest to the observations is kept: what the chains have not
    in common is lost.  Correct: all chains are kept."""

    def __post_init__(self) -> None:
        whole(self, "chains", "exploration", "iterations", "draws", "adapt_every", "sites_at_once")
        whole(self, "adapt_after", "redraws", "reruns", least=0)
        positive(self, "box_width", "step_scale")

    def fit(
        self, key: Array, model: Model, dataset: xr.Dataset, *, progress: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> Fit:  # fmt: skip
        """Run the chains of all sites.

        A chain whose acceptance rate stays out of bounds is kept as it is: ``sample_stats`` has the acceptance rate of
        each site, and how many of its chains are such.

        Raises
        ------
        InputError
            If the sites of the model depend on each other.
        """
        stopwatch = Stopwatch()
        run_key, predict_key = jax.random.split(key)
        encoding, count = model.encode(dataset), dataset.sizes["site"]
        coordinates = cube.coordinates(model, model.prepare(dataset, encoding), count)
        parts = []
        with tqdm(total=count, unit="site", desc=self.name, disable=not progress) as bar:
            for first in range(0, count, self.sites_at_once):
                sites = np.arange(first, min(first + self.sites_at_once, count))
                held = None if checkpoint is None else checkpoint.part(f"sites_{first}")
                chains = _Sites(self, model, dataset, encoding, coordinates, sites, run_key, held)
                parts.append(chains.posterior())
                bar.update(len(sites))
        draws, statistics = (
            {name: np.concatenate([part[name] for part in half]) for name in half[0]}
            for half in zip(*parts, strict=True)
        )
        return Fit(
            method=self,
            model=model,
            dataset=dataset,
            encoding=encoding,
            draws={name: jnp.moveaxis(jnp.asarray(values), 0, 2) for name, values in draws.items()},
            key=predict_key,
            wall_seconds=stopwatch.seconds(),
            markov_chain=not (self.annealing or self.accepted_only or self.best_chain_only),
            sample_stats={name: jnp.asarray(values) for name, values in statistics.items()},
        )


@dataclass(frozen=True)
class _Sites:
    """Some sites that are sampled in step, a lane for every chain of every site."""

    sampler: ProdaMetropolis
    model: Model
    dataset: xr.Dataset
    encoding: Any
    coordinates: int
    sites: np.ndarray
    """Positions in the dataset"""
    key: Array
    checkpoint: Checkpoint | None

    def posterior(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the latents, each (site, chain, draw, …), and statistics, each (site,)."""
        lanes = np.arange(len(self.sites) * self.sampler.chains)
        chains = self._repeated(lanes)
        profiles = self._profiles(lanes)
        drawn = phases.latents(self.model, profiles, chains.states)
        shape = (len(self.sites), self.sampler.chains)
        kept = np.ones(shape, dtype=bool)
        if self.sampler.best_chain_only:
            error = np.asarray(phases.misfit(self.model, profiles, drawn)).reshape(shape)
            kept = np.arange(shape[1]) == error.argmin(axis=1)[:, None]

        def of_kept(values: Array | np.ndarray) -> np.ndarray:
            """Return the kept chains (site, chain, …) of (lane, …)."""
            array = np.asarray(values)
            return array.reshape(*shape, *array.shape[1:])[kept].reshape(shape[0], -1, *array.shape[1:])

        unfit = of_kept(~chains.bounded()).sum(axis=1)
        rate = of_kept(chains.rate).mean(axis=1)
        return jax.tree.map(of_kept, drawn), {"acceptance_rate": rate, "chains_out_of_bounds": unfit}

    def _repeated(self, lanes: np.ndarray) -> _Chains:
        """Run all chains, and those out of bounds again with other steps."""
        sampler = self.sampler
        width, scale = np.full(len(lanes), sampler.box_width), np.full(len(lanes), sampler.step_scale)
        chains = self._chains(lanes, 0, width, scale)
        for attempt in range(1, sampler.reruns + 1):
            wrong = np.flatnonzero(~chains.bounded())
            if not len(wrong):
                break
            width[wrong] /= np.where(chains.explored[wrong] < _FEWEST_MOVES, _NARROWER, 1.0)
            scale[wrong] *= np.where(chains.rate[wrong] < _LOWEST_RATE, _SHORTER, 1.0)
            scale[wrong] *= np.where(chains.rate[wrong] > _HIGHEST_RATE, _LONGER, 1.0)
            # as many lanes as a power of two, some of them twice, so that few programs are compiled
            rows = np.resize(wrong, 2 ** (len(wrong) - 1).bit_length())
            again = self._chains(rows, attempt, width[rows], scale[rows])
            for values, new in zip(chains, again, strict=True):
                values[rows] = new
        return chains

    def _chains(self, lanes: np.ndarray, attempt: int, width: np.ndarray, scale: np.ndarray) -> _Chains:
        """Run both phases in some lanes."""
        sampler, profiles = self.sampler, self._profiles(lanes)
        numbers = jnp.asarray(self.sites[lanes // sampler.chains] * sampler.chains + lanes % sampler.chains)
        keys = [phases.lane_keys(self.key, numbers, 2 * attempt + phase) for phase in range(2)]
        explore = partial(
            phases.explored, self.model, profiles, keys[0], width=jnp.asarray(width),
            redrawn=sampler.truncated_proposals, annealing=sampler.annealing,
        )  # fmt: skip
        sample = partial(
            phases.sampled, self.model, profiles, keys[1], scale=jnp.asarray(scale),
            redraws=sampler.redraws if sampler.truncated_proposals else 0, annealing=sampler.annealing,
            accepted_only=sampler.accepted_only, adapt_after=sampler.adapt_after, adapt_every=sampler.adapt_every,
        )  # fmt: skip
        held = None if self.checkpoint is None else self.checkpoint.part(f"attempt_{attempt}")
        first = phases.begun(self.model, profiles, jnp.full((len(lanes), self.coordinates), 0.5))
        first, _ = phases.advanced(explore, (first, None), sampler.exploration, held, "exploration")
        second = random_walk.adapted(random_walk.start(first.position, first.log_likelihood), first, jnp.asarray(scale))
        blank = random_walk.blank(first.position, slots=max(phases.STRIDE, 4 * sampler.draws))
        second, record = phases.advanced(sample, (second, blank), sampler.iterations, held, "sampling")
        assert record is not None
        states = random_walk.chosen(record, sampler.draws)
        rate = np.asarray(second.moves) / sampler.iterations  # by NumPy, wherever the moves come from: to the same bit
        return _Chains(*(np.array(one) for one in (states, rate, first.moves)))

    def _profiles(self, lanes: np.ndarray) -> Any:
        """Return the sites of some lanes, as the model is called with them."""
        return self.model.prepare(self.dataset.isel(site=self.sites[lanes // self.sampler.chains]), self.encoding)
