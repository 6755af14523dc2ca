"""Every site by Hamiltonian Monte Carlo: thousands of independent posteriors, each run until it has converged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast, get_args

import jax
import numpy as np
from jax import Array
from tqdm import tqdm

from binn_prob.checks import one_of, positive, whole
from binn_prob.errors import InputError
from binn_prob.inference.base import Fit, Method, Model, Stopwatch
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.lanes import Course, Lanes, Trajectory, sharing_devices
from binn_prob.inference.site_groups import Arrays, IndependentSites, SiteGroups, groups, padding
from binn_prob.results import convergence
from binn_prob.sharding import devices_of_sites

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SiteNUTS"]

T = TypeVar("T")


@dataclass(frozen=True)
class SiteNUTS(Method):
    """Hamiltonian Monte Carlo for each site by itself, where PRODA runs Metropolis (Tao et al. 2020, 2023).

    **Posterior**: that of the model, for every site that is reported as converged; the others are named.  The error
    scale is integrated out of the density and drawn back afterwards, which is exact; sampled with the rest it mixes
    worst of all.

    **Use it** for models of independent sites, from one to thousands, as the reference of every approximation.
    **Do not** use it where sites share a network: that is one posterior of all sites, for ``nuts``.

    **Cost**: about 150,000 gradients of one column for a site, all sites at once.  Sites that have not converged run
    again with more iterations to as many draws, until they do or the rounds are over.

    The lengths of the trajectories are random and the same for all sites (``jittered``), so that no site waits for
    another.  A batch of No-U-Turn samplers takes as long as its deepest tree, and pays about three times as many
    gradients for the same effective sample size; it is there as ``nuts``.
    """

    name: ClassVar[str] = "site_nuts"
    needs_hidden_units: ClassVar[bool] = False
    needs_independent_sites: ClassVar[bool] = True

    chains: int = 4
    """Markov chains of each site."""
    warmup: int = 300
    """Iterations that adapt step size, centre and covariance, and are thrown away."""
    draws: int = 500
    """Draws kept per chain."""
    thinning: int = 2
    """Iterations per kept draw, in the first round."""
    rounds: int = 4
    """Times that a site is run at most."""
    growth: int = 4
    """Factor by which ``thinning`` grows from one round to the next."""
    target_accept: float = 0.9
    """Mean acceptance that the step size is adapted to; every further round halves what it lacks to 1."""
    trajectory: Trajectory = "jittered"
    """``jittered``: a random number of steps, the same for all sites; ``nuts``: No-U-Turn."""
    length: float = 1.6
    """Mean length of a jittered trajectory [standard deviations of the posterior]."""
    most_steps: int = 64
    """Bound on the leapfrog steps of a trajectory."""
    sites_at_once: int = 8
    """Sites that each device runs together: few enough to stay in the cache of a CPU; hundreds suit a GPU."""

    def __post_init__(self) -> None:
        whole(self, "draws", "thinning", "rounds", "most_steps", "sites_at_once")
        whole(self, "chains", "growth", least=2)
        whole(self, "warmup", least=20)
        positive(self, "target_accept", "length")
        if self.target_accept >= 1.0:
            got = f"site_nuts target_accept {self.target_accept}"
            raise InputError(got, "a number between 0 and 1", "choose for example 0.9")
        one_of(self, "trajectory", get_args(Trajectory))

    def check(self, model: Model, dataset: xr.Dataset) -> None:
        """Refuse models whose sites share a network."""
        if not hasattr(model, "marginal_log_density"):
            got = f"method 'site_nuts' for the model {model.name!r}, whose sites share a network"
            raise InputError(got, "a model of independent sites, such as 'site'", "choose that model, or method 'nuts'")

    def fit(
        self,
        key: Array,
        model: Model,
        dataset: xr.Dataset,
        *,
        progress: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> Fit:
        """Run every site, and those that have not converged again.

        Raises
        ------
        InputError
            If the sites of the model are not independent.
        """
        self.check(model, dataset)
        stopwatch = Stopwatch()
        start_key, run_key, predict_key = jax.random.split(key, 3)
        sites = SiteGroups(cast(IndependentSites, model), dataset, self.chains)
        number = dataset.sizes["site"]
        start = jax.random.normal(start_key, (number, self.chains, len(sites.model.free)))
        lanes = jax.tree.map(np.array, Lanes.at(start))._asdict()
        shares = _shares(checkpoint)
        kept: Arrays = {}
        unfinished = np.arange(number)
        for turn in range(self.rounds):
            this = _Round(self, sites, shares, turn, jax.random.fold_in(run_key, turn), checkpoint, progress)
            for some, adapted in this.warm_up(lanes, unfinished):
                _put(lanes, some, adapted)
            by_cost = unfinished[np.argsort(lanes["step_size"][unfinished], kind="stable")]
            for some, (adapted, drawn) in this.draw(lanes, by_cost):
                _put(lanes, some, adapted)
                _put(kept, some, drawn | this.verdict(some, drawn, predict_key), number)
            unfinished = np.flatnonzero(~kept["converged"])
            if not len(unfinished):
                break
        fitted = _fit(self, model, dataset, kept, predict_key, stopwatch.seconds())
        used = {"shares": shares, "devices": sharing_devices(shares, len(devices_of_sites()))}
        return replace(fitted, gradients=float(lanes["gradients"].mean()), attributes=used)


class _Round:
    """One round: every group of sites is warmed up, then drawn from; each result is saved as soon as it is there."""

    def __init__(
        self,
        method: SiteNUTS,
        sites: SiteGroups,
        shares: int,
        turn: int,
        key: Array,
        checkpoint: Checkpoint | None,
        progress: bool,
    ) -> None:
        self.method = method
        self.sites = sites
        self.shares = shares
        self.turn = turn
        self.warm_key, self.draw_key = jax.random.split(key)
        self.checkpoint = None if checkpoint is None else checkpoint.part(f"round_{turn}")
        self.progress = progress

    def warm_up(self, lanes: Arrays, sites: np.ndarray) -> Iterator[tuple[np.ndarray, Arrays]]:
        """Yield the lanes of one group after the other, adapted to their posteriors."""
        course = self._course(self.method.warmup, adapt=True)
        target = 1.0 - (1.0 - self.method.target_accept) / 2**self.turn
        for place, some, group in self._groups(sites, "warm-up"):
            key = jax.random.fold_in(self.warm_key, place)
            compute = partial(self.sites.warm_up, key, Lanes(**lanes), group, course, target, learn=self.turn == 0)
            form = jax.tree.map(lambda leaf, group=group: leaf[group.ravel()], lanes)
            yield some, self._once(f"warm_up_{place}", compute, form)

    def draw(self, lanes: Arrays, sites: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[Arrays, Arrays]]]:
        """Yield the lanes and the draws of one group after the other."""
        course = self._course(self.method.draws, adapt=False)
        thinning = self.method.thinning * self.method.growth**self.turn
        for place, some, group in self._groups(sites, "draws"):
            key = jax.random.fold_in(self.draw_key, place)
            compute = partial(self.sites.draw, key, Lanes(**lanes), group, course, thinning)
            form = jax.tree.map(lambda leaf, group=group: leaf[group.ravel()], lanes)
            yield some, self._once(f"draws_{place}", compute, (form, self.sites.form(group, course.draws)))

    def verdict(self, sites: np.ndarray, drawn: Arrays, key: Array) -> Arrays:
        """Return for each of some sites the round and whether it has converged."""
        own = {name: values[: len(sites)] for name, values in drawn.items()}
        fit = _fit(self.method, self.sites.model, self.sites.dataset.isel(site=sites), own, key, 0.0)
        converged = convergence.by_site(fit.posterior())["converged"].to_numpy()
        return {"converged": converged, "round": np.full(len(sites), self.turn + 1)}

    def _course(self, draws: int, *, adapt: bool) -> Course:
        method = self.method
        return Course(draws, adapt, method.trajectory, method.length, most_steps=method.most_steps)

    def _groups(self, sites: np.ndarray, part: str) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield the number of each group, its sites, and the same as :func:`groups` arranges them.

        Sites with many observations go together: the others need not carry their padding.
        """
        label = f"{self.method.name}, round {self.turn + 1} of at most {self.method.rounds}, {part}"
        with tqdm(total=len(sites), desc=label, unit="site", disable=not self.progress) as bar:
            width = padding(self.sites.observations[sites])
            alike = [sites[width == one] for one in np.unique(width)]
            most = self.method.sites_at_once
            divided = chain.from_iterable(groups(these, self.shares, most) for these in alike)
            for place, (some, group) in enumerate(divided):
                yield place, some, group
                bar.update(len(some))

    def _once(self, name: str, compute: Callable[[], T], form: T) -> T:
        """Return what an earlier process has saved under this name, or compute and save it."""
        if self.checkpoint is None:
            return compute()
        saved: T | None = self.checkpoint.load(name, form)
        if saved is None:
            saved = compute()
            self.checkpoint.save(name, saved)
        return saved


def _shares(checkpoint: Checkpoint | None) -> int:
    """Return into how many shares groups are divided: as many as the process that began the fit had devices.

    Sites of one share take trajectories of the same length, so that the number has a say in the draws.
    """
    begun = None if checkpoint is None else checkpoint.load("shares", 0)
    shares = len(devices_of_sites()) if begun is None else int(begun)
    if checkpoint is not None and begun is None:
        checkpoint.save("shares", shares)
    return shares


def _put(store: Arrays, sites: np.ndarray, values: Arrays, number: int = 0) -> None:
    """Write arrays of some sites, and of those that fill up their group, into those of all ``number`` sites."""
    for name, found in values.items():
        if name not in store:
            store[name] = np.zeros((number, *found.shape[1:]), found.dtype)
        store[name][sites] = found[: len(sites)]


def _fit(method: SiteNUTS, model: Model, dataset: xr.Dataset, kept: Arrays, key: Array, seconds: float) -> Fit:
    """Return what was kept of the sites of a data set as their fit."""
    chains_first = {name: np.moveaxis(values, 0, 2) for name, values in kept.items() if values.ndim > 2}
    by_site = {name: values for name, values in kept.items() if values.ndim == 1 and name != "converged"}
    return Fit(
        method=method,
        model=model,
        dataset=dataset,
        encoding=model.encode(dataset),
        draws={name: chains_first.pop(name) for name in model.site_latents if name in chains_first},
        key=key,
        wall_seconds=seconds,
        markov_chain=True,
        sample_stats=chains_first | by_site,
    )
