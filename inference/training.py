"""The one loop that fits a guide: point estimates, variational posteriors and the starts of NUTS share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoGuide
from tqdm import tqdm

from binn_prob.inference.base import FitError

__all__ = ["Trained", "train"]

_STRIDE = 100
"""Steps between two looks at the loss."""

_LARGEST_GRADIENT = 10.0
"""Root mean square to which larger gradients are scaled down: a step far out in the tails would undo many others."""


@dataclass(frozen=True)
class Trained:
    """A fitted guide."""

    guide: AutoGuide
    parameters: dict[str, Array]
    losses: Array
    """Negative evidence lower bound at every step taken, (step,)"""

    def draw(self, key: Array, draws: int) -> dict[str, Array]:
        """Draw the latent sites from the guide, each (draw, …), on their own support."""
        drawn: dict[str, Array] = self.guide.sample_posterior(key, self.parameters, sample_shape=(draws,))
        return drawn


def train(
    key: Array,
    model: Callable[..., None],
    guide: AutoGuide,
    profiles: Any,
    *,
    steps: int,
    learning_rate: float,
    patience: int | None = None,
    particles: int = 1,
    label: str = "training",
    progress: bool = True,
    **options: Any,
) -> Trained:
    """Maximise the evidence lower bound by Adam with a cosine-decayed learning rate.

    Parameters
    ----------
    key : random key
    model : callable
        NumPyro model.
    guide : numpyro AutoGuide
        Of that model.
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
    label : str
        What the progress bar says.
    progress : bool
        Whether there is a progress bar.

    Raises
    ------
    FitError
        If there is no start with a finite density, or most of 100 steps have no finite loss.
    """
    schedule = optax.cosine_decay_schedule(learning_rate, steps, alpha=0.01)
    optimiser = optax.chain(optax.clip_by_block_rms(_LARGEST_GRADIENT), optax.adam(schedule))
    svi = SVI(model, guide, optimiser, Trace_ELBO(num_particles=particles), **options)
    try:
        state = svi.init(key, profiles)
    except RuntimeError as error:  # NumPyro has looked for a start with a finite density and a finite gradient
        raise FitError(f"{label}: no start has a finite density; look for impossible values in the data") from error

    @jax.jit
    def stride(state: Any, profiles: Any) -> tuple[Any, Array]:
        return jax.lax.scan(lambda state, _: svi.stable_update(state, profiles), state, length=_STRIDE)

    losses: list[np.ndarray] = []
    best, waited = np.inf, 0
    with tqdm(total=steps, desc=label, disable=not progress) as bar:
        for taken in range(0, steps, _STRIDE):
            state, loss = stride(state, profiles)
            losses.append(np.asarray(loss))
            finite = losses[-1][np.isfinite(losses[-1])]
            if 2 * len(finite) < _STRIDE:
                raise FitError(f"{label}: the loss is not finite after {taken} steps; use a smaller learning_rate")
            mean = float(finite.mean())
            bar.update(_STRIDE)
            bar.set_postfix_str(f"loss {mean:.1f}")
            best, waited = (mean, 0) if mean < best else (best, waited + 1)
            if patience is not None and waited >= patience:
                bar.total = bar.n  # the bar ends here: training has stopped early
                bar.refresh()
                break
    return Trained(guide, svi.get_params(state), jnp.concatenate(losses))
