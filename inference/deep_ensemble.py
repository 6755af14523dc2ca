"""Deep ensembles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import jax
from jax import Array

from binn_prob.checks import positive, whole
from binn_prob.inference.base import Fit, Method, Model, Stopwatch, prepared
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.guides import point
from binn_prob.inference.training import refuse_batches, train

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DeepEnsemble"]


@dataclass(frozen=True)
class DeepEnsemble(Method):
    """Networks trained from different random starts (Lakshminarayanan et al. 2017, NeurIPS).

    **Posterior**: each member is a point that maximises the posterior density, reached from a start drawn from the
    prior; a draw is a member.  Members differ as far as the density has several modes, or directions so flat that the
    optimiser does not cross them; the width of a mode is not explored.

    **Use it** for networks with many weights, whose modes NUTS and VI do not all visit.  **Do not** use it where the
    density has one mode, as without hidden units: all members are then the same, and intervals of parameters empty.
    With a few members, the quantiles of an interval are coarse.

    **Cost**: ``members`` optimisations, side by side in one compiled program.
    """

    name: ClassVar[str] = "deep_ensemble"
    needs_hidden_units: ClassVar[bool] = False
    needs_independent_sites: ClassVar[bool] = False

    members: int = 20
    """Networks, each a draw."""
    steps: int = 3000
    """Most optimisation steps."""
    learning_rate: float = 0.01
    """Of Adam, at the start."""
    patience: int | None = 5
    """Stop when the members' mean loss over 100 steps has not improved this many times in a row; None takes all
    steps."""
    batch_sites: int | None = None
    """Sites that each step of a member sees, drawn at random; None, or as many as there are, for all.  Only for models
    whose sites share all that is learnt.  The loss is noisier: be more patient."""

    def __post_init__(self) -> None:
        whole(self, "members", "steps")
        positive(self, "learning_rate")
        whole(self, *(name for name in ("patience", "batch_sites") if getattr(self, name) is not None))

    def check(self, model: Model, dataset: xr.Dataset) -> None:
        """Refuse batches of sites where the model learns something for each of them."""
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
        """Train the members.

        Raises
        ------
        InputError
            If sites are to be seen in batches and the model learns something for each of them.
        FitError
            If the optimisation of a member diverges.
        """
        self.check(model, dataset)
        stopwatch = Stopwatch()
        train_key, predict_key = jax.random.split(key)
        encoding, profiles, silent = prepared(model, dataset)
        trained = train(
            train_key, silent, point(model.prior), profiles, steps=self.steps, learning_rate=self.learning_rate,
            patience=self.patience, batch_sites=self.batch_sites, members=self.members, label="deep_ensemble",
            progress=progress, checkpoint=checkpoint,
        )  # fmt: skip
        points = jax.vmap(trained.guide.median)(trained.parameters)
        return Fit(
            method=self,
            model=model,
            dataset=dataset,
            encoding=encoding,
            draws={site: values[None] for site, values in points.items()},
            key=predict_key,
            wall_seconds=stopwatch.seconds(),
            gradients=trained.gradients,
            sample_stats={"loss": trained.losses},
        )
