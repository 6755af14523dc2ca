"""Hamiltonian Monte Carlo on many small posteriors at once: one compiled program, every chain of every site a lane.

Three things make it fast.  All lanes take the same number of leapfrog steps in an iteration, drawn at random, so none
waits for another as it would for the slowest tree of the No-U-Turn sampler.  Every site has its own affine map, learnt
from all its chains together, under which its posterior is near a standard normal.  And the density of all lanes is one
call of the model, with the site as the axis that the solver is laid out for, not a call for each lane.

The kernels and the adaptation of the step size are blackjax's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache, partial
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_batching import custom_vmap
from jax.scipy.linalg import solve_triangular

from binn_prob.sharding import devices_of_sites

__all__ = ["BatchedModel", "Course", "Lanes", "Record", "Trajectory", "advance", "sharing_devices", "whitened"]

Trajectory = Literal["jittered", "nuts"]

_SHRINKAGE = 30.0
"""Draws that the diagonal covariance counts for, beside the draws themselves."""

_OUT_OF_REACH = 1e6
"""Log density that a chain may lack, at its start, to the best chain of its site."""

_MOST_HALVINGS = 60

_SMALLEST_VARIANCE = 1e-6
"""Of a latent number of a site, whose prior has variance 1; keeps the map of a chain that never moved invertible."""


class BatchedModel(Hashable, Protocol):
    """A model that gives the posterior density of every site of a batch; hashable."""

    def marginal_log_density(self, offsets: Array, profiles: Any) -> Array:
        """Return the log density (lane,) at latent numbers (lane, latent)."""


class Lanes(NamedTuple):
    """Where the chains of a batch of sites stand, and what they have learnt; the site is the first axis throughout."""

    position: Array
    """(site, chain, latent)"""
    centre: Array
    """(site, latent) posterior mean"""
    factor: Array
    """(site, latent, latent) Cholesky factor of the posterior covariance"""
    step_size: Array
    """(site,) of the leapfrog steps, on the scale of the standardised posterior"""
    gradients: Array
    """(site,) taken so far, by all chains"""

    @classmethod
    def at(cls, position: Array, step_size: float = 0.1) -> Lanes:
        """Start at ``position`` (site, chain, latent), with nothing learnt."""
        sites, _, latents = position.shape
        identity = jnp.broadcast_to(jnp.eye(latents), (sites, latents, latents))
        none = jnp.zeros(sites, int)
        return cls(position, jnp.zeros((sites, latents)), identity, jnp.full(sites, step_size), none)


class Record(NamedTuple):
    """What happened, by kept draw."""

    position: Array
    """(draw, site, chain, latent)"""
    energy: Array
    """(draw, site, chain) Hamiltonian at the start of the iteration that has led to the draw, where momentum is new"""
    squared_energy_change: Array
    """(draw, site, chain) mean square of its change from one iteration to the next, since the draw before"""
    acceptance: Array
    """(draw, site, chain) mean acceptance of the iterations since the draw before"""
    diverging: Array
    """(draw, site, chain) whether any of those iterations diverged"""
    steps: Array
    """(draw, site, chain) leapfrog steps of those iterations"""


class Course(NamedTuple):
    """How far to go, and how; hashable, a part of the program."""

    draws: int
    """Draws to keep"""
    adapt: bool
    """Whether the step size is adapted: then the draws are not from the posterior"""
    trajectory: Trajectory = "jittered"
    length: float = 1.6
    """Mean length of a jittered trajectory [standard deviations of the posterior]"""
    jitter: float = 0.4
    """Relative half-width of the uniform distribution of the length"""
    most_steps: int = 64
    """Bound on the leapfrog steps of a trajectory"""


def advance(
    model: BatchedModel, course: Course, keys: Array, lanes: Lanes, profiles: Any, thinning: int, target: float = 0.9
) -> tuple[Lanes, Record]:
    """Advance all chains.  The first axis of every array is the share: sites that go the same number of steps.

    Parameters
    ----------
    model : BatchedModel
    course : Course
    keys : random keys (share,)
    lanes : Lanes
        With a leading axis (share,).
    profiles : pytree of arrays
        What the model reads for the lanes, site by site and chain by chain within a site; with the leading axis.
    thinning : int
        Iterations per kept draw.
    target : float
        Mean acceptance that the step size is adapted to, if it is.

    Returns
    -------
    lanes : Lanes
        Where the chains stand, with the new step size if it was adapted.
    record : Record
        With the leading axis.

    Notes
    -----
    Each device has a share, or equally many: of the devices as many are used as divide the shares.
    """
    devices = devices_of_sites()
    mesh = jax.sharding.Mesh(np.array(devices[: sharing_devices(len(keys), len(devices))]), ("device",))
    # Arrays that come from elsewhere lie where those of the last call do: else there would be a program for each.
    apart = jax.device_put(
        (keys, lanes, profiles), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("device"))
    )
    with jax.set_mesh(mesh):  # whatever mesh is in use: here the sites have been shared out already
        return _compiled(model, course, mesh)(*apart, jnp.asarray(thinning), jnp.asarray(target))


def sharing_devices(shares: int, devices: int) -> int:
    """Return how many of the devices can have equally many shares each."""
    return max(number for number in range(1, devices + 1) if shares % number == 0)


def whitened(lanes: Lanes, position: Array) -> Lanes:
    """Learn centre and covariance of every site from draws (draw, site, chain, latent) of all its chains.

    The covariance is shrunk towards its diagonal, whose weight falls as the draws become more.
    """
    draws, sites, chains, latents = position.shape
    pooled = jnp.moveaxis(position, 1, 0).reshape(sites, draws * chains, latents)
    centre = pooled.mean(axis=1)
    deviation = pooled - centre[:, None]
    count = draws * chains
    covariance = jnp.einsum("sni,snj->sij", deviation, deviation) / count
    diagonal = jnp.maximum(jnp.diagonal(covariance, axis1=1, axis2=2), _SMALLEST_VARIANCE)
    share = count / (count + _SHRINKAGE)
    shrunk = share * covariance + (1.0 - share) * diagonal[:, :, None] * jnp.eye(latents)
    return lanes._replace(centre=centre, factor=jnp.linalg.cholesky(shrunk))


@cache
def _compiled(model: BatchedModel, course: Course, mesh: jax.sharding.Mesh) -> Callable[..., tuple[Lanes, Record]]:
    """Return the program for every device of a mesh."""
    everywhere = jax.sharding.PartitionSpec()
    apart = jax.sharding.PartitionSpec("device")

    def of_one_device(keys: Array, lanes: Lanes, profiles: Any, thinning: Array, target: Array) -> tuple[Lanes, Record]:
        def one(held: tuple[Array, Lanes, Any]) -> tuple[Lanes, Record]:
            return _advance(model, course, *held, thinning, target)

        return jax.lax.map(one, (keys, lanes, profiles))

    return jax.jit(
        jax.shard_map(
            of_one_device,
            mesh=mesh,
            in_specs=(apart, apart, apart, everywhere, everywhere),
            out_specs=apart,
            check_vma=False,
        )
    )


def _advance(
    model: BatchedModel, course: Course, key: Array, lanes: Lanes, profiles: Any, thinning: Array, target: Array
) -> tuple[Lanes, Record]:
    """Advance the chains of one share."""
    from blackjax.adaptation.step_size import dual_averaging_adaptation
    from blackjax.mcmc import hmc

    sites, chains, latents = lanes.position.shape
    frame = _Frame(jnp.repeat(lanes.centre, chains, axis=0), jnp.repeat(lanes.factor, chains, axis=0))
    density = partial(_density(model), data=(frame, profiles))
    kernel = _kernel(course)
    start, update, final = dual_averaging_adaptation(target)

    def iterate(_: int, carried: tuple[Any, ...]) -> tuple[Any, ...]:
        key, state, adaptation, seen = carried
        key, length_key, lane_key = jax.random.split(key, 3)
        step_size = jnp.exp(adaptation.log_step_size) if course.adapt else lanes.step_size
        steps = _number_of_steps(length_key, step_size, course)
        lane_keys = jax.random.split(lane_key, sites * chains)
        move = jax.vmap(lambda key, state, step: kernel(key, state, density, step, steps))
        before = state.logdensity
        state, information = move(lane_keys, state, jnp.repeat(step_size, chains))  # type: ignore[no-untyped-call]
        # Not blackjax's own energy, which is that of the proposal, also where it is rejected.
        energy = 0.5 * jnp.sum(information.momentum**2, axis=-1) - before
        acceptance = jnp.nan_to_num(information.acceptance_rate)
        adaptation = jax.vmap(update)(adaptation, acceptance.reshape(sites, chains).mean(axis=1))
        taken = jnp.broadcast_to(information.num_integration_steps, acceptance.shape)
        change = jnp.where(jnp.isnan(seen.energy), 0.0, energy - seen.energy)  # none before the first
        seen = _Seen(
            energy, seen.squared_energy_change + change**2, seen.acceptance + acceptance,
            seen.diverging | information.is_divergent, seen.steps + taken,
        )  # fmt: skip
        return key, state, adaptation, seen

    def keep(carried: tuple[Any, ...], _: None) -> tuple[tuple[Any, ...], tuple[Array, _Seen]]:
        *moving, energy = carried
        *moving, seen = jax.lax.fori_loop(0, thinning, iterate, (*moving, _Seen.nothing(energy)))
        return (*moving, seen.energy), (moving[1].position, seen)

    standard = jax.vmap(partial(solve_triangular, lower=True))(
        frame.factor, lanes.position.reshape(-1, latents) - frame.centre
    )
    initial: Callable[[Array], Any] = jax.vmap(lambda position: hmc.init(position, density))
    state = _within_reach(initial, standard, chains) if course.adapt else initial(standard)
    carried = (key, state, jax.vmap(start)(lanes.step_size), jnp.full(sites * chains, jnp.nan))
    (_, state, adaptation, _), (positions, seen) = jax.lax.scan(keep, carried, length=course.draws)

    def by_site(values: Array) -> Array:
        return values.reshape(-1, sites, chains, *values.shape[2:])

    position = by_site(jax.vmap(frame.place)(positions))
    step_size = jax.vmap(final)(adaptation) if course.adapt else lanes.step_size
    gradients = lanes.gradients + seen.steps.sum(axis=0).reshape(sites, chains).sum(axis=1)
    means = {name: getattr(seen, name) / thinning for name in ("squared_energy_change", "acceptance")}
    record = Record(position, *map(by_site, seen._replace(**means)))
    return lanes._replace(position=position[-1], step_size=step_size, gradients=gradients), record


def _within_reach(initial: Callable[[Array], Any], position: Array, chains: int) -> Any:
    """Return the state of chains that start at ``position`` (lane, latent), or as near as the density allows.

    Where a parameter near the end of its range makes carbon without limit, no step is short enough for a chain, and its
    site has one step size for all.  Such a chain starts nearer to the best one of its site, by halves of the way.
    """

    def lost(state: Any) -> tuple[Array, Array]:
        value = jnp.nan_to_num(state.logdensity, nan=-jnp.inf).reshape(-1, chains)
        best = jnp.argmax(value, axis=1)
        reached = value >= jnp.take_along_axis(value, best[:, None], axis=1) - _OUT_OF_REACH
        return ~reached.ravel(), jnp.repeat(best + chains * jnp.arange(len(best)), chains)

    def nearer(carried: tuple[Array, Any]) -> tuple[Array, Any]:
        turn, state = carried
        far, best = lost(state)
        middle = 0.5 * (state.position + state.position[best])
        return turn + 1, initial(jnp.where(far[:, None], middle, state.position))

    def unfinished(carried: tuple[Array, Any]) -> Array:
        turn, state = carried
        return (turn == 0) | (jnp.any(lost(state)[0]) & (turn < _MOST_HALVINGS))

    # The first turn finds out where the chains are: nothing is lost before it.
    unknown = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(initial, position))
    return jax.lax.while_loop(unfinished, nearer, (jnp.asarray(0), unknown._replace(position=position)))[1]


class _Frame(NamedTuple):
    """The affine map of every lane."""

    centre: Array
    factor: Array

    def place(self, standard: Array) -> Array:
        """Map (lane, latent) from the standardised scale to that of the model."""
        return self.centre + jnp.einsum("lij,lj->li", self.factor, standard)


class _Seen(NamedTuple):
    """What the iterations since the last kept draw add up to, each (lane,)."""

    energy: Array
    squared_energy_change: Array
    acceptance: Array
    diverging: Array
    steps: Array

    @classmethod
    def nothing(cls, energy: Array) -> _Seen:
        """Begin with the energy (lane,) of the iteration before."""
        none = jnp.zeros_like(energy)
        return cls(energy, none, none, none.astype(bool), none.astype(int))


def _kernel(course: Course) -> Callable[..., Any]:
    """Return blackjax's kernel: key, state, density, step size and number of steps → state and information."""
    from blackjax.mcmc import hmc, nuts

    if course.trajectory == "nuts":
        tree, depth = nuts.build_kernel(), course.most_steps.bit_length() - 1
        return lambda key, state, density, step, _: tree(
            key, state, density, step, jnp.ones_like(state.position), max_num_doublings=depth
        )
    path = hmc.build_kernel()
    return lambda key, state, density, step, steps: path(
        key, state, density, step, jnp.ones_like(state.position), steps
    )


def _number_of_steps(key: Array, step_size: Array, course: Course) -> Array:
    """Draw how many leapfrog steps all lanes take; it depends on no position, so the chains keep their target.

    The sites are of like cost: the length is that of the quarter of the sites with the smallest steps, so that one
    site at which nothing is accepted, whose step shrinks to nothing, does not slow the others down.
    """
    factor = jax.random.uniform(key, minval=1.0 - course.jitter, maxval=1.0 + course.jitter)
    steps = jnp.ceil(factor * course.length / jnp.quantile(step_size, 0.25))
    return jnp.clip(steps, 1, course.most_steps).astype(int)


@cache
def _density(model: BatchedModel) -> Callable[..., Array]:
    """Return the density of one lane, of which a batch is one call of the model.

    A kernel is written for one chain and mapped over lanes.  Under the map the value and gradient of all lanes are
    computed at once, from data that are not mapped.
    """

    @custom_vmap
    def value_and_gradient(position: Array, data: Any) -> tuple[Array, Array]:
        return jnp.full((), jnp.nan), jnp.full_like(position, jnp.nan)  # of no lane in particular: only under a map

    @value_and_gradient.def_vmap
    def _of_all_lanes(
        _size: int, _mapped: Any, position: Array, data: tuple[_Frame, Any]
    ) -> tuple[tuple[Array, Array], tuple[bool, bool]]:
        frame, profiles = data
        value, pull_back = jax.vjp(lambda where: model.marginal_log_density(frame.place(where), profiles), position)
        return (value, pull_back(jnp.ones_like(value))[0]), (True, True)

    @jax.custom_vjp
    def density(position: Array, data: Any) -> Array:
        return value_and_gradient(position, data)[0]

    def forward(position: Array, data: Any) -> tuple[Array, Array]:
        return value_and_gradient(position, data)

    def backward(gradient: Array, cotangent: Array) -> tuple[Array, None]:
        return cotangent * gradient, None

    density.defvjp(forward, backward)
    return density
