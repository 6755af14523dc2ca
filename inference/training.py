"""The one loop that fits a guide: point estimates, variational posteriors and the starts of NUTS share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
from jax import Array
from numpyro.handlers import scale, seed
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoGuide
from tqdm import tqdm

from binn_prob.errors import InputError
from binn_prob.inference.base import FitError, Method, Model
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.sharding import everywhere

__all__ = ["OrderedELBO", "Trained", "of_batches", "refuse_batches", "train"]

_STRIDE = 100
"""Steps between two looks at the loss."""

_SAVED_EVERY = 10
"""Strides between two checkpoints."""

_LARGEST_GRADIENT = 10.0
"""Root mean square to which larger gradients are scaled down: a step far out in the tails would undo many others."""


@dataclass(frozen=True)
class Trained:
    """A fitted guide."""

    guide: AutoGuide
    parameters: dict[str, Array]
    losses: Array
    """Negative evidence lower bound at every step taken, (step,)"""
    gradients: float
    """Gradients of the density of each site that were taken, mean over the sites"""

    def draw(self, key: Array, draws: int) -> dict[str, Array]:
        """Draw the latent sites from the guide, each (draw, …), on their own support."""
        drawn: dict[str, Array] = self.guide.sample_posterior(key, self.parameters, sample_shape=(draws,))
        return drawn


class _Progress(NamedTuple):
    """Where a training stands: all that its next step depends on."""

    state: Any
    """Of NumPyro's SVI"""
    losses: np.ndarray
    """(most steps,); NaN where no step has been taken yet"""
    taken: int = 0
    """Steps"""
    mean: float = np.nan
    """Mean loss of the last stride"""
    best: float = np.inf
    """Lowest mean loss of a stride"""
    waited: int = 0
    """Strides since then"""


def train(
    key: Array,
    model: Callable[..., None],
    family: Callable[[], AutoGuide],
    profiles: Any,
    *,
    steps: int,
    learning_rate: float,
    patience: int | None = None,
    particles: int = 1,
    batch_sites: int | None = None,
    members: int | None = None,
    label: str = "training",
    progress: bool = True,
    checkpoint: Checkpoint | None = None,
    **options: Any,
) -> Trained:
    """Maximise the evidence lower bound by Adam with a cosine-decayed learning rate.

    Parameters
    ----------
    key : random key
    model : callable
        NumPyro model.
    family : callable
        Makes a new NumPyro guide of that model's latent sites.
    profiles : pytree of arrays
        What the model is called with; ``options`` are its keyword arguments.
    steps : int
        Most steps, rounded up to a multiple of 100.
    learning_rate : float
        At the start.
    patience : int, optional
        Stop when the mean loss of 100 steps has not improved this many times in a row.  Default: take all steps.
    particles : int
        Draws per step that estimate the bound.
    batch_sites : int, optional
        Sites that each step sees, drawn at random without replacement; their likelihood is scaled up, so that the bound
        is estimated without bias.  ``profiles`` must then have ``sites`` and ``take``.  Default: all.
    members : int, optional
        Guides that are fitted side by side, each from its own start and with its own random keys; ``parameters`` and
        what the guide makes of them then have a first axis of members, and a loss is the mean over them.
    label : str
        What the progress bar says.
    progress : bool
        Whether there is a progress bar.
    checkpoint : Checkpoint, optional
        Where the state is saved every 1000 steps and at the end, and from where it goes on.

    Raises
    ------
    FitError
        If the start has no finite density, or most of 100 steps no finite loss.
    """
    schedule = optax.cosine_decay_schedule(learning_rate, steps, alpha=0.01)
    optimiser = optax.chain(optax.clip_by_block_rms(_LARGEST_GRADIENT), optax.adam(schedule))
    loss = OrderedELBO(num_particles=particles, sum_sites=False)
    objective = partial(SVI, of_batches(model, profiles, batch_sites), optim=optimiser, loss=loss, **options)

    def begin(key: Array, profiles: Any) -> Any:
        """Start a guide that is forgotten with this function, for what it keeps is traced."""
        return everywhere(objective(family()).init(key, profiles))

    guide = family()
    seed(guide, rng_seed=0)(profiles, **options)  # it now knows the latent sites
    svi = objective(guide)
    jax.eval_shape(svi.init, key, profiles)  # and NumPyro the bounds of what is to be fitted
    update, get_params = svi.stable_update, svi.get_params
    if members is not None:
        key = jax.random.split(key, members)
        begin, update, get_params = jax.vmap(begin, (0, None)), jax.vmap(update, (0, None)), jax.vmap(get_params)
    state = jax.jit(begin)(key, profiles)

    @jax.jit
    def stride(state: Any, profiles: Any) -> tuple[Any, Array]:
        found: tuple[Any, Array] = jax.lax.scan(lambda state, _: update(state, profiles), state, length=_STRIDE)
        return everywhere(found)

    at = _resumed(checkpoint, _Progress(state, np.full(-(-steps // _STRIDE) * _STRIDE, np.nan)))
    with tqdm(total=steps, initial=at.taken, desc=label, disable=not progress) as bar:
        while at.taken < len(at.losses) and (patience is None or at.waited < patience):
            state, loss = stride(at.state, profiles)
            at = _advanced(at, state, np.asarray(loss).reshape(_STRIDE, -1).mean(axis=1), label)
            bar.update(_STRIDE)
            bar.set_postfix_str(f"loss {at.mean:.1f}")
            if checkpoint is not None and at.taken % (_SAVED_EVERY * _STRIDE) == 0:
                checkpoint.save("training", at)
        if at.taken < len(at.losses):
            bar.set_postfix_str(f"loss {at.mean:.1f}, which no longer falls", refresh=False)
        bar.total = bar.n  # the bar ends here, also when training has stopped early
        bar.refresh()
    if checkpoint is not None:
        checkpoint.save("training", at)
    seen = 1.0 if batch_sites is None else min(batch_sites / profiles.sites, 1.0)
    gradients = at.taken * particles * (1 if members is None else members) * seen
    return Trained(guide, get_params(at.state), jnp.asarray(at.losses[: at.taken]), gradients)


class OrderedELBO(Trace_ELBO):  # type: ignore[misc]  # NumPyro has no types
    """Adds up the terms of the sites by name, and so to the same last bit in every process.

    NumPyro itself goes through a set of names, whose order Python draws anew for every process.
    """

    def loss_with_mutable_state(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Return the loss as NumPyro does, from the same arguments."""
        found: dict[str, Any] = super().loss_with_mutable_state(*arguments, **options)
        return found | {"loss": sum(term for _, term in sorted(found["loss"].items()))}


class _ScaledLikelihood(scale):  # type: ignore[misc]  # NumPyro has no types
    """Scales the density of what is observed, and not that of the latent sites."""

    def process_message(self, msg: Any) -> None:
        if msg.get("is_observed"):
            super().process_message(msg)


def of_batches(model: Callable[..., None], profiles: Any, batch_sites: int | None) -> Callable[..., None]:
    """Return a model that sees other sites at each call, so that its density is right in the mean over the calls.

    It needs a random key (``numpyro.handlers.seed``).  With None, or as many sites as there are, it is ``model``.
    """
    if batch_sites is None or batch_sites >= profiles.sites:
        return model

    def of_a_batch(profiles: Any, **options: Any) -> None:
        chosen = jax.random.choice(numpyro.prng_key(), profiles.sites, (batch_sites,), replace=False)
        with _ScaledLikelihood(scale=profiles.sites / batch_sites):
            model(profiles.take(chosen), **options)

    return of_a_batch


def refuse_batches(method: Method, model: Model, batch_sites: int | None) -> None:
    """Refuse batches of sites for a model that learns something for each site.

    Raises
    ------
    InputError
        Naming the method, its option and the model.
    """
    if batch_sites is not None and model.site_latents:
        raise InputError(
            f"{method.name} batch_sites {batch_sites} for the model {model.name!r}, which learns something for each"
            " site",
            "a model whose sites share all that is learnt, such as 'binn'",
            "leave batch_sites out, or use another model",
        )


def _resumed(checkpoint: Checkpoint | None, start: _Progress) -> _Progress:
    """Return where an earlier process stood; the start if there was none."""
    saved = None if checkpoint is None else checkpoint.load("training", start)
    if saved is None:
        return start
    numbers = (np.asarray(one).item() for one in saved[2:])  # arrays without dimensions
    return _Progress(jax.tree.map(jnp.asarray, saved.state), saved.losses, *numbers)


def _advanced(at: _Progress, state: Any, loss: np.ndarray, label: str) -> _Progress:
    """Return where a training stands after one more stride."""
    losses, taken = at.losses.copy(), at.taken + _STRIDE
    losses[at.taken : taken] = loss
    finite = loss[np.isfinite(loss)]
    if 2 * len(finite) < _STRIDE:
        if at.taken == 0 and not np.isfinite(loss[0]):
            raise FitError(f"{label}: the start has no finite density; look for impossible values in the data")
        raise FitError(f"{label}: the loss is not finite after {at.taken} steps; use a smaller learning_rate")
    mean = float(finite.mean())
    best, waited = (mean, 0) if mean < at.best else (at.best, at.waited + 1)
    return _Progress(state, losses, taken, mean, best, waited)
