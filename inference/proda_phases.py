"""The two phases of PRODA's chains, for all lanes of a model at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.infer import Predictive

from binn_prob.inference import cube, random_walk
from binn_prob.inference.base import Model
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.random_walk import Record, Walk

__all__ = ["STRIDE", "Phase", "advanced", "begun", "explored", "lane_keys", "latents", "misfit", "sampled"]

STRIDE = 1000
"""Iterations between two checkpoints."""

Phase = tuple[Walk, Record | None]
"""A walk and, of the second phase, what is kept of it."""


@partial(jax.jit, static_argnames=("model",))
def begun(model: Model, profiles: Any, position: Array) -> Walk:
    """Return walks that begin at ``position`` (lane, coordinate)."""
    return random_walk.start(position, cube.log_likelihood(model, profiles, position))


@partial(jax.jit, static_argnames=("model", "iterations", "redrawn", "annealing"))
def explored(
    model: Model, profiles: Any, keys: Array, phase: Phase, width: Array, *,
    iterations: int, redrawn: bool, annealing: bool,
) -> Phase:  # fmt: skip
    """Go on with the exploration, whose steps are uniform in a box.

    Parameters
    ----------
    model : Model
    profiles : pytree of arrays
        What the model is called with; its sites are the lanes.
    keys : array of random keys (lane,)
    phase : Phase
        The walk so far.
    width : array (lane,)
        Of the box.
    iterations : int
    redrawn, annealing : bool
        See :func:`binn_prob.inference.random_walk.box` and :func:`~binn_prob.inference.random_walk.step`.
    """

    def propose(keys: Array, walk: Walk) -> Array:
        return random_walk.box(keys, walk.position, width, redrawn)

    def advance(walk: Walk, _: None) -> tuple[Walk, None]:
        return random_walk.step(walk, keys, density, propose, annealing)[0], None

    density = partial(cube.log_likelihood, model, profiles)
    return jax.lax.scan(advance, phase[0], length=iterations)[0], None


@partial(
    jax.jit,
    static_argnames=("model", "iterations", "redraws", "annealing", "accepted_only", "adapt_after", "adapt_every"),
)
def sampled(
    model: Model, profiles: Any, keys: Array, phase: Phase, scale: Array, *,
    iterations: int, redraws: int, annealing: bool, accepted_only: bool, adapt_after: int, adapt_every: int,
) -> Phase:  # fmt: skip
    """Go on with the sampling, whose steps are Gaussian with ``scale`` (lane,) times the covariance of the past.

    Parameters as those of :func:`explored` and of :class:`~binn_prob.inference.proda_metropolis.ProdaMetropolis`.
    """

    def propose(keys: Array, walk: Walk) -> Array:
        return random_walk.gaussian(keys, walk.position, walk.factor, redraws)

    def advance(walk: Walk, _: None) -> tuple[Walk, tuple[Array, Array]]:
        walk, moved = random_walk.step(walk, keys, density, propose, annealing)
        due = (walk.iteration > adapt_after) & (walk.iteration % adapt_every == 0)
        walk = jax.lax.cond(due, lambda walk: random_walk.adapted(walk, walk, scale), lambda walk: walk, walk)
        return walk, (walk.position, moved | (not accepted_only))

    density = partial(cube.log_likelihood, model, profiles)
    assert phase[1] is not None
    walk, (states, offered) = jax.lax.scan(advance, phase[0], length=iterations)
    return walk, random_walk.record(phase[1], states, offered)


@partial(jax.jit, static_argnames=("model",))
def latents(model: Model, profiles: Any, states: Array) -> dict[str, Array]:
    """Return the latents, each (lane, draw, …), of states (lane, draw, coordinate)."""
    return jax.vmap(partial(cube.latents, model, profiles), in_axes=1, out_axes=1)(states)


@partial(jax.jit, static_argnames=("model",))
def misfit(model: Model, profiles: Any, drawn: dict[str, Array]) -> Array:
    """Return the root mean square error (lane,) of the mean carbon over draws of the latents (lane, draw, …)."""
    by_draw = {name: jnp.swapaxes(values, 0, 1) for name, values in drawn.items()}
    predict = Predictive(model, by_draw, return_sites=("soc_at_depth",))
    soc = predict(jax.random.key(0), profiles.without_observations())["soc_at_depth"].mean(axis=0)
    square = jnp.where(profiles.mask, (soc - profiles.soc) ** 2, 0.0)
    return jnp.sqrt(square.sum(axis=1) / jnp.maximum(profiles.mask.sum(axis=1), 1))


def advanced(
    advance: Callable[..., Phase], at: Phase, iterations: int, checkpoint: Checkpoint | None, name: str
) -> Phase:
    """Advance a phase to its end, from where an earlier process stood if there was one."""
    if checkpoint is not None:
        at = checkpoint.load(name, at) or at
    done = int(at[0].iteration)
    while done < iterations:
        length = min(STRIDE, iterations - done)
        at = advance(at, iterations=length)
        done += length
        if checkpoint is not None:
            checkpoint.save(name, at)
    return at


def lane_keys(key: Array, lanes: Array, phase: int) -> Array:
    """Return a random key for each lane, the same whichever lanes run beside it."""
    return jax.vmap(partial(jax.random.fold_in, jax.random.fold_in(key, phase)))(lanes)
