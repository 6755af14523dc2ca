"""Monte Carlo dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from binn_prob.checks import positive, whole
from binn_prob.errors import InputError
from binn_prob.inference.base import Fit, Method, Model, Stopwatch, prepared
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.guides import point
from binn_prob.inference.training import refuse_batches, train

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MCDropout"]


@dataclass(frozen=True)
class MCDropout(Method):
    """Draws that differ by the hidden units that are switched off (Gal and Ghahramani 2016, ICML).

    **Posterior**: weights and error scale are the point that maximises the posterior density under dropout; each draw
    is that network with another random set of hidden units off, the same for all sites.  The spread depends on the
    dropout rate.  A given rate is not informed by the data.  With ``rate="learned"`` it is fitted together with the
    weights (concrete dropout; Gal, Hron and Kendall 2017, NeurIPS): the more the sites say, the smaller it becomes;
    the attribute ``dropout_rate`` of the results is what it became.

    **Use it** for large networks and many sites, as BINN does, and check its coverage.  **Do not** read its intervals
    as those of the model's posterior without that check.

    **Cost**: one optimisation; draws are forward passes.
    """

    name: ClassVar[str] = "mc_dropout"
    needs_hidden_units: ClassVar[bool] = True
    needs_independent_sites: ClassVar[bool] = False

    rate: float | Literal["learned"] = 0.2
    """Share of the hidden units that are off, in training and in prediction; ``learned`` fits it.  In the training of a
    learned rate units are off by degrees, so that there is a gradient."""
    draws: int = 1000
    """Stochastic passes."""
    steps: int = 3000
    """Most optimisation steps."""
    learning_rate: float = 0.01
    """Of Adam, at the start."""
    patience: int | None = 5
    """Stop when the mean loss of 100 steps has not improved this many times in a row; None takes all steps."""
    batch_sites: int | None = None
    """Sites that each step sees, drawn at random; None, or as many as there are, for all.  Only for models whose sites
    share all that is learnt.  The loss is noisier: be more patient."""

    def __post_init__(self) -> None:
        whole(self, "draws", "steps")
        positive(self, "learning_rate")
        whole(self, *(name for name in ("patience", "batch_sites") if getattr(self, name) is not None))
        given = isinstance(self.rate, float) and 0.0 < self.rate < 1.0
        if not given and self.rate != "learned":
            expected = "a number between 0 and 1, or 'learned'"
            raise InputError(f"mc_dropout rate {self.rate!r}", expected, "choose for example 0.1")

    def check(self, model: Model, dataset: xr.Dataset) -> None:
        """Refuse models without hidden units, and batches of sites where the model learns something for each."""
        if not model.has_hidden_units:
            raise InputError(
                f"method 'mc_dropout' for the model {model.name!r} without hidden units",
                "a network with hidden units to drop, such as that of 'binn' by default",
                "use 'vi' or 'nuts' for this model",
            )
        refuse_batches(self, model, self.batch_sites)

    def fit(
        self,
        key: Array,
        model: Model,
        dataset: xr.Dataset,
        *,
        progress: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> Fit:
        """Fit the weights with dropout on.

        Raises
        ------
        InputError
            If the model has no hidden units, or sites are to be seen in batches and it learns something for each.
        FitError
            If the optimisation diverges.
        """
        self.check(model, dataset)
        stopwatch = Stopwatch()
        train_key, predict_key = jax.random.split(key)
        encoding, profiles, silent = prepared(model, dataset)
        trained = train(
            train_key, silent, point(model.prior), profiles, steps=self.steps, learning_rate=self.learning_rate,
            patience=self.patience, batch_sites=self.batch_sites, label="mc_dropout", progress=progress,
            checkpoint=checkpoint, dropout_rate=self.rate,
        )  # fmt: skip
        best = dict(trained.guide.median(trained.parameters))
        rate = float(best.pop("dropout_rate")) if self.rate == "learned" else self.rate
        return Fit(
            method=self,
            model=model,
            dataset=dataset,
            encoding=encoding,
            draws={site: jnp.broadcast_to(value, (1, self.draws, *value.shape)) for site, value in best.items()},
            key=predict_key,
            wall_seconds=stopwatch.seconds(),
            gradients=trained.gradients,
            sample_stats={"loss": trained.losses},
            options={"dropout_rate": rate, "shared_mask": True},
            attributes={"dropout_rate": rate},
        )
