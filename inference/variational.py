"""Variational inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import jax
from jax import Array
from numpyro.infer import autoguide, init_to_sample

from binn_prob.checks import positive, whole
from binn_prob.errors import InputError
from binn_prob.inference.base import Fit, Model, Stopwatch, prepared
from binn_prob.inference.training import train

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["GUIDES", "VI"]

GUIDES: dict[str, type[autoguide.AutoContinuous]] = {
    "mean_field": autoguide.AutoNormal,
    "low_rank": autoguide.AutoLowRankMultivariateNormal,
    "full_rank": autoguide.AutoMultivariateNormal,
    "flow": autoguide.AutoIAFNormal,
}
"""NumPyro's guides by name: independent Gaussians, a Gaussian with low-rank or full covariance, an inverse
autoregressive flow; all on the unconstrained scale of the latent sites."""


@dataclass(frozen=True)
class VI:
    """The member of a family of distributions that is closest to the posterior (Kucukelbir et al. 2017, JMLR 18).

    **Posterior**: the guide that maximises the evidence lower bound; draws are independent.  The
    mean-field family cannot express correlation and its intervals are then too narrow.

    **Use it** when NUTS is too slow, and to start NUTS.  **Do not** trust tails or correlations without a comparison.

    **Cost**: one optimisation.  ``full_rank`` and ``flow`` grow with the square of the number of latent numbers.
    """

    name: ClassVar[str] = "vi"
    needs_hidden_units: ClassVar[bool] = False

    guide: str = "mean_field"
    """One of :data:`GUIDES`."""
    draws: int = 1000
    """Draws from the fitted guide."""
    steps: int = 6000
    """Most optimisation steps."""
    learning_rate: float = 0.01
    """Of Adam, at the start."""
    particles: int = 1
    """Draws per step that estimate the evidence lower bound."""
    patience: int | None = 10
    """Stop when the mean loss of 100 steps has not improved this many times in a row; None takes all steps."""

    def __post_init__(self) -> None:
        whole(self, "draws", "steps", "particles")
        positive(self, "learning_rate")
        if self.patience is not None:
            whole(self, "patience")
        if not isinstance(self.guide, str) or self.guide not in GUIDES:
            raise InputError(f"vi guide {self.guide!r}", f"one of {', '.join(GUIDES)}", "choose one of them")

    def fit(self, key: Array, model: Model, dataset: xr.Dataset, *, progress: bool = True) -> Fit:
        """Fit the guide.

        Raises
        ------
        FitError
            If the optimisation diverges.
        """
        stopwatch = Stopwatch()
        train_key, draw_key, predict_key = jax.random.split(key, 3)
        encoding, profiles, silent = prepared(model, dataset)
        guide = GUIDES[self.guide](silent, init_loc_fn=init_to_sample)
        trained = train(
            train_key, silent, guide, profiles, steps=self.steps, learning_rate=self.learning_rate,
            patience=self.patience, particles=self.particles, label=f"vi ({self.guide})", progress=progress,
        )  # fmt: skip
        drawn = trained.draw(draw_key, self.draws)
        return Fit(
            method=self,
            model=model,
            dataset=dataset,
            encoding=encoding,
            draws={site: values[None] for site, values in drawn.items()},
            key=predict_key,
            wall_seconds=stopwatch.seconds(),
            sample_stats={"loss": trained.losses},
        )
