"""Variational inference."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import numpy as np
from jax import Array
from numpyro.infer import psis_diagnostic

from binn_prob.checks import one_of, positive, whole
from binn_prob.inference.base import Fit, Method, Model, Stopwatch, prepared
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.guides import GUIDES, family
from binn_prob.inference.training import Trained, refuse_batches, train

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["VI"]

_WEIGHTS = 1000
"""Importance weights from which k-hat is estimated."""

_AT_ONCE = 10_000_000
"""Numbers that the model reads for the draws whose weights are computed together: what fits in memory."""


@dataclass(frozen=True)
class VI(Method):
    """The member of a family of distributions that is closest to the posterior (Kucukelbir et al. 2017, JMLR 18).

    **Posterior**: the guide that maximises the evidence lower bound; draws are independent.  The mean-field family
    cannot express correlation and its intervals are then too narrow: for a Gaussian posterior it has the means and the
    *conditional* variances.  The attribute ``pareto_k`` of the results says how far to trust the guide: the tail index
    k-hat of the importance weights that would turn its draws into draws from the posterior (Yao et al. 2018, ICML;
    Vehtari et al. 2024, JMLR 25).  Below 0.7 they could; above it the guide is far from the posterior somewhere, which
    in hundreds of dimensions a useful guide may be too.

    **Use it** when NUTS is too slow, and to start NUTS; with ``batch_sites`` for many sites.  **Do not** trust tails
    or correlations without a comparison.

    **Cost**: one optimisation, of a gradient per step and particle, and then 1000 densities for k-hat.  What a guide
    adds is said in :data:`binn_prob.inference.guides.GUIDES`.
    """

    name: ClassVar[str] = "vi"
    needs_hidden_units: ClassVar[bool] = False
    needs_independent_sites: ClassVar[bool] = False

    guide: str = "mean_field"
    """One of :data:`binn_prob.inference.guides.GUIDES`."""
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
    batch_sites: int | None = None
    """Sites that each step sees, drawn at random; None, or as many as there are, for all.  Only for models whose sites
    share all that is learnt.  The loss is noisier: be more patient."""

    def __post_init__(self) -> None:
        whole(self, "draws", "steps", "particles")
        positive(self, "learning_rate")
        whole(self, *(name for name in ("patience", "batch_sites") if getattr(self, name) is not None))
        one_of(self, "guide", GUIDES)

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
        """Fit the guide.

        Raises
        ------
        InputError
            If sites are to be seen in batches and the model learns something for each of them.
        FitError
            If the optimisation diverges.
        """
        self.check(model, dataset)
        stopwatch = Stopwatch()
        train_key, draw_key, predict_key, weight_key = jax.random.split(key, 4)
        encoding, profiles, silent = prepared(model, dataset)
        trained = train(
            train_key, silent, family(self.guide, model.prior), profiles, steps=self.steps,
            learning_rate=self.learning_rate, patience=self.patience, particles=self.particles,
            batch_sites=self.batch_sites, label=f"vi ({self.guide})", progress=progress, checkpoint=checkpoint,
        )  # fmt: skip
        drawn = trained.draw(draw_key, self.draws)
        pareto_k = _pareto_k(weight_key, silent, trained, profiles)
        return Fit(
            method=self,
            model=model,
            dataset=dataset,
            encoding=encoding,
            draws={site: values[None] for site, values in drawn.items()},
            key=predict_key,
            wall_seconds=stopwatch.seconds(),
            gradients=trained.gradients,
            sample_stats={"loss": trained.losses},
            attributes={"pareto_k": pareto_k},
        )


def _pareto_k(key: Array, model: Any, trained: Trained, profiles: Any) -> float:
    """Return the tail index of the importance weights of 1000 draws; infinite if but a few of them count at all."""
    read = sum(np.size(leaf) for leaf in jax.tree.leaves(profiles))
    chunk = min(max(_AT_ONCE // max(read, 1), 1), _WEIGHTS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Not enough tail samples")  # the value says so
        return psis_diagnostic(
            key, trained.parameters, model, trained.guide, profiles, num_particles=_WEIGHTS, chunk_size=chunk
        )
