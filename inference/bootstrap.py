"""An ensemble of regressions, each trained on its own bootstrap sample of the sites, all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from tqdm import tqdm

from binn_prob.inference.base import FitError
from binn_prob.inference.checkpoint import Checkpoint

__all__ = ["Losses", "held_out", "resampled", "train"]

Losses = Callable[[Array, Array, Any], Array]
"""(weight,) weights, the (site, …) targets of a member and what all members share → (site,) losses"""

_STRIDE = 100
"""Steps between two looks at the sites that are held out."""

_NEGLIGIBLE = 1e-4
"""Improvement of a loss that counts as none: such a factor of a density says nothing."""


class _Training(NamedTuple):
    """Where a training stands, members in front: all that its next step depends on."""

    weights: Array
    """(member, weight)"""
    optimiser: Any
    best: Array
    """(member, weight) with the lowest loss at the held-out sites so far"""
    lowest: Array
    """(member,) that loss"""
    waited: Array
    """(member,) strides since then"""
    taken: Array
    """() steps"""
    losses: Array
    """(most steps,) mean over the members of the loss at the held-out sites; NaN where no step has been taken yet"""


def resampled(key: Array, members: int, sites: int) -> Array:
    """Return how often each site is in each member's sample (member, site): sites are drawn with replacement."""
    drawn = jax.random.randint(key, (members, sites), 0, sites)
    return jax.vmap(lambda sample: jnp.bincount(sample, length=sites))(drawn)


def held_out(counts: Array) -> Array:
    """Say which sites are not in the sample (member, site); all of them where a sample holds every site."""
    absent = counts == 0
    return absent | ~absent.any(axis=-1, keepdims=True)


def train(
    losses: Losses,
    starts: Array,
    targets: Array,
    counts: Array,
    shared: Any,
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    patience: int | None,
    label: str,
    progress: bool,
    checkpoint: Checkpoint | None = None,
) -> tuple[Array, Array]:
    """Train all members by AdamW with a cosine-decayed learning rate.

    Parameters
    ----------
    losses : callable
        See :data:`Losses`.
    starts : array (member, weight)
        Where the weights start.
    targets : array (member, site, …)
        What each member is to learn.
    counts : array (member, site)
        How often each site counts.
    shared : pytree of arrays
        What all members read.
    steps : int
        Most steps, rounded up to a multiple of 100.
    learning_rate, weight_decay : float
        Of AdamW, the rate at the start.
    patience : int, optional
        A member is done when its loss at the held-out sites has not improved this many times in a row, with a look
        every 100 steps; the training ends when all are.  Default: take all steps.
    label, progress
        What the progress bar says, and whether there is one.
    checkpoint : Checkpoint, optional
        Where the state is saved every 100 steps, and from where it goes on.

    Returns
    -------
    weights : array (member, weight)
        Those of the lowest loss at the sites that are not in the member's sample.
    losses : array (step,)
        Mean over the members of the loss at those sites: in the samples it would fall for ever.

    Raises
    ------
    FitError
        If a loss stops being finite.
    """
    schedule = optax.cosine_decay_schedule(learning_rate, steps, alpha=0.01)
    optimiser = optax.adamw(schedule, weight_decay=weight_decay)
    most = -(-steps // _STRIDE) * _STRIDE
    limit = most if patience is None else patience
    stride = _stride(losses, optimiser, limit)
    at = _begin(starts, optimiser, most)
    if checkpoint is not None:
        at = checkpoint.load("training", at) or at
    with tqdm(total=steps, initial=int(at.taken), desc=label, disable=not progress) as bar:
        while int(at.taken) < most and int(at.waited.min()) < limit:
            at = stride(at, targets, counts, shared)
            if not bool(jnp.isfinite(at.losses[: int(at.taken)]).all()):
                raise FitError(f"{label}: the loss is not finite; use a smaller learning_rate")
            if checkpoint is not None:
                checkpoint.save("training", at)
            bar.update(_STRIDE)
            bar.set_postfix_str(f"loss {float(at.lowest.mean()):.3f} held out")
        bar.total = bar.n  # the bar ends here, also when training has stopped early
        bar.refresh()
    return at.best, at.losses[: int(at.taken)]


def _begin(starts: Array, optimiser: optax.GradientTransformation, most: int) -> _Training:
    """Return where a training of at most so many steps begins."""
    return _Training(
        weights=starts,
        optimiser=jax.vmap(optimiser.init)(starts),
        best=starts,
        lowest=jnp.full(len(starts), jnp.inf),
        waited=jnp.zeros(len(starts), dtype=int),
        taken=jnp.array(0),
        losses=jnp.full(most, jnp.nan),
    )


def _stride(losses: Losses, optimiser: optax.GradientTransformation, limit: int) -> Callable[..., _Training]:
    """Return the program that takes 100 steps and then looks at the loss of each member at the sites left out."""

    def means(weights: Array, target: Array, count: Array, shared: Any) -> tuple[Array, Array]:
        of_sites, absent = losses(weights, target, shared), held_out(count)
        return jnp.sum(count * of_sites) / jnp.sum(count), jnp.sum(absent * of_sites) / jnp.sum(absent)

    slopes = jax.vmap(jax.grad(means, has_aux=True), in_axes=(0, 0, 0, None))

    def step(state: tuple[Array, Any], data: Any) -> tuple[tuple[Array, Any], Array]:
        slope, outside = slopes(state[0], *data)
        updates, inner = jax.vmap(optimiser.update)(slope, state[1], state[0])
        return (optax.apply_updates(state[0], updates), inner), outside.mean()

    @jax.jit
    def stride(at: _Training, targets: Array, counts: Array, shared: Any) -> _Training:
        data = (targets, counts, shared)
        (weights, inner), loss = jax.lax.scan(
            lambda state, _: step(state, data), (at.weights, at.optimiser), length=_STRIDE
        )
        _, outside = jax.vmap(means, in_axes=(0, 0, 0, None))(weights, *data)
        better = (outside < at.lowest - _NEGLIGIBLE) & (at.waited < limit)  # a member that has waited so long is done
        return _Training(
            weights=weights,
            optimiser=inner,
            best=jnp.where(better[:, None], weights, at.best),
            lowest=jnp.where(better, outside, at.lowest),
            waited=jnp.where(better, 0, at.waited + 1),
            taken=at.taken + _STRIDE,
            losses=jax.lax.dynamic_update_slice(at.losses, loss, (at.taken,)),
        )

    return stride
