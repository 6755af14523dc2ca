"""Random walks on the unit cube, many in step: the chains of PRODA's sampler.

A lane is one chain of one site; every array has lanes in front.  Nothing here knows soil or models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["Record", "Walk", "adapted", "blank", "box", "chosen", "gaussian", "record", "start", "step"]

_RIDGE = 1e-10
"""Added to the variances of proposals, so that a chain that has hardly moved can be factored too."""


class Walk(NamedTuple):
    """The chains of a phase between two iterations: all that the next iteration needs."""

    iteration: Array
    """() iterations done"""
    position: Array
    """(lane, coordinate)"""
    log_likelihood: Array
    """(lane,)"""
    moves: Array
    """(lane,) accepted proposals"""
    mean: Array
    """(lane, coordinate) of the positions after every iteration so far"""
    scatter: Array
    """(lane, coordinate, coordinate) sum of products of their deviations from the mean"""
    factor: Array
    """(lane, coordinate, coordinate) lower Cholesky factor of the covariance of proposals"""


class Record(NamedTuple):
    """Evenly spaced states of each lane, in a buffer that is thinned by two whenever it may not hold the next ones."""

    states: Array
    """(lane, slot, coordinate)"""
    seen: Array
    """(lane,) states offered so far"""
    spacing: Array
    """(lane,) every how many of them one is held"""


def start(position: Array, log_likelihood: Array) -> Walk:
    """Return a phase that has not begun."""
    lanes, coordinates = position.shape
    nothing = jnp.zeros((lanes, coordinates, coordinates))
    return Walk(
        iteration=jnp.array(0),
        position=position,
        log_likelihood=jnp.where(jnp.isnan(log_likelihood), -jnp.inf, log_likelihood),
        moves=jnp.zeros(lanes, dtype=int),
        mean=jnp.zeros_like(position),
        scatter=nothing,
        factor=nothing,
    )


def step(
    walk: Walk, keys: Array, log_likelihood: Callable[[Array], Array],
    propose: Callable[[Array, Walk], Array], annealing: bool,
) -> tuple[Walk, Array]:  # fmt: skip
    """Make one Metropolis step in every lane.

    Parameters
    ----------
    walk : Walk
    keys : array of random keys (lane,)
        Of the phase; the iteration is folded in.
    log_likelihood : callable
        (lane, coordinate) → (lane,); the prior on the cube is uniform.
    propose : callable
        (lane,) keys and the walk → (lane, coordinate).
    annealing : bool
        Whether log ratios are multiplied by ``log(iteration + 2)``, the first iteration being 1.

    Returns
    -------
    Walk
    array of bool (lane,)
        Whether the lane has moved.
    """
    iteration = walk.iteration + 1
    propose_key, accept_key = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, iteration)))(keys).T
    proposed = propose(propose_key, walk)
    inside = jnp.all((proposed > 0.0) & (proposed < 1.0), axis=-1)
    value = log_likelihood(jnp.where(inside[:, None], proposed, walk.position))
    coolness = jnp.log(iteration + 2.0) if annealing else 1.0
    threshold = jnp.log(jax.vmap(jax.random.uniform)(accept_key))
    moved = inside & (coolness * (value - walk.log_likelihood) > threshold)  # a NaN never moves
    position = jnp.where(moved[:, None], proposed, walk.position)
    deviation = position - walk.mean
    mean = walk.mean + deviation / iteration
    return Walk(
        iteration=iteration,
        position=position,
        log_likelihood=jnp.where(moved, value, walk.log_likelihood),
        moves=walk.moves + moved,
        mean=mean,
        scatter=walk.scatter + deviation[:, :, None] * (position - mean)[:, None, :],
        factor=walk.factor,
    ), moved


def adapted(walk: Walk, past: Walk, scale: Array) -> Walk:
    """Return the walk with proposals of ``scale`` (lane,) / coordinates times the covariance of the past."""
    share = scale / walk.position.shape[1] / jnp.maximum(past.iteration - 1, 1)
    covariance = share[:, None, None] * past.scatter
    symmetric = 0.5 * (covariance + jnp.swapaxes(covariance, -1, -2))  # rounding, over tens of thousands of updates
    return walk._replace(factor=jnp.linalg.cholesky(symmetric + _RIDGE * jnp.eye(covariance.shape[-1])))


def box(keys: Array, position: Array, width: Array, redrawn: bool) -> Array:
    """Propose uniformly from a box of ``width`` (lane,) around the position.

    With ``redrawn``, uniformly from what of the box lies in the cube: the distribution of a proposal that is drawn
    again until it lies there.
    """
    low, high = position - 0.5 * width[:, None], position + 0.5 * width[:, None]
    if redrawn:
        low, high = jnp.maximum(low, 0.0), jnp.minimum(high, 1.0)
    share = jax.vmap(lambda key: jax.random.uniform(key, position.shape[1:]))(keys)
    return low + share * (high - low)


def gaussian(keys: Array, position: Array, factor: Array, redraws: int) -> Array:
    """Propose from a Gaussian, drawn again up to ``redraws`` times where it lies outside the cube."""

    def draw(count: Array) -> Array:
        drawn = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, count), position.shape[1:]))(keys)
        return position + jnp.einsum("lij,lj->li", factor, drawn)

    def outside(proposed: Array) -> Array:
        return jnp.any((proposed <= 0.0) | (proposed >= 1.0), axis=-1)

    def again(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        count, proposed = carry
        return count + 1, jnp.where(outside(proposed)[:, None], draw(count), proposed)

    def wanting(carry: tuple[Array, Array]) -> Array:
        count, proposed = carry
        return (count <= redraws) & jnp.any(outside(proposed))

    return jax.lax.while_loop(wanting, again, (jnp.array(1), draw(jnp.array(0))))[1]


def blank(position: Array, slots: int) -> Record:
    """Return a record that has seen nothing; a lane that never moves is left at ``position`` (lane, coordinate)."""
    nothing = jnp.zeros(len(position), dtype=int)
    return Record(jnp.repeat(position[:, None], slots, axis=1), nothing, nothing + 1)


def record(held: Record, states: Array, offered: Array) -> Record:
    """Hold every ``spacing``-th of the states (iteration, lane, coordinate) that are ``offered`` (iteration, lane).

    There must be at least as many slots as iterations, and an even number of them.
    """
    slots = held.states.shape[1]
    full = held.seen + len(states) > slots * held.spacing
    halved = held.states.at[:, : slots // 2].set(held.states[:, ::2])
    kept = jnp.where(full[:, None, None], halved, held.states)
    spacing = jnp.where(full, 2 * held.spacing, held.spacing)
    number = held.seen + jnp.cumsum(offered, axis=0) - 1
    slot = jnp.where(offered & (number % spacing == 0), number // spacing, slots)  # beyond the end: not held
    lane = jnp.broadcast_to(jnp.arange(states.shape[1]), slot.shape)
    return Record(kept.at[lane, slot].set(states, mode="drop"), held.seen + offered.sum(axis=0), spacing)


def chosen(held: Record, draws: int) -> Array:
    """Return evenly spaced states of the second half of each lane, (lane, draw, coordinate).

    A lane that holds fewer than ``2 * draws`` states gives some of them more than once.
    """
    count = jnp.maximum((held.seen - 1) // held.spacing + 1, 1)[:, None]
    half = count // 2
    slot = half + jnp.floor((jnp.arange(draws) + 0.5) * (count - half) / draws).astype(int)
    return jnp.take_along_axis(held.states, slot[:, :, None], axis=1)
