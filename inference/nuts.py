"""The No-U-Turn sampler."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import infer
from numpyro.infer.reparam import NeuTraReparam
from numpyro.infer.util import unconstrain_fn

from binn_prob.checks import one_of, positive, whole
from binn_prob.errors import InputError
from binn_prob.inference.base import Fit, FitError, Method, Model, Stopwatch, prepared
from binn_prob.inference.chains import ChainMethod, Chains, refuse_fixed_parameters, refuse_missing_devices
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.guides import TRANSPORTS, family
from binn_prob.inference.training import Trained, train

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["NUTS"]

_STATISTICS = {
    "diverging": "diverging",
    "accept_prob": "acceptance_rate",
    "num_steps": "n_steps",
    "energy": "energy",
    "adapt_state.step_size": "step_size",
}
"""NumPyro's fields and the names ArviZ gives them."""


@dataclass(frozen=True)
class NUTS(Method):
    """Hamiltonian Monte Carlo with trajectories of adaptive length (Hoffman and Gelman 2014, JMLR 15).

    **Posterior**: that of the model itself, as far as the chains converge: read R-hat and the effective sample sizes,
    and mind divergences.

    **Use it** as the reference of every other method.  **Do not** expect networks of more than a few thousand weights
    to converge.

    **Cost**: up to ``2 ** max_tree_depth`` gradients a draw in each chain.
    """

    name: ClassVar[str] = "nuts"
    needs_hidden_units: ClassVar[bool] = False
    needs_independent_sites: ClassVar[bool] = False

    chains: int = 4
    """Markov chains."""
    warmup: int = 500
    """Draws that adapt step size and metric, and are thrown away."""
    draws: int = 750
    """Draws kept per chain."""
    max_tree_depth: int = 9
    """Longest trajectory: ``2 ** max_tree_depth - 1`` steps.  Chains wander if it is cut before it turns: with BINN, a
    draw at depth 7 costs 0.3 of one at depth 9, and counts for an eighth."""
    target_accept: float = 0.8
    """Mean acceptance that the step size is adapted to."""
    dense_metric: bool = False
    """Whether the metric is a full matrix; for up to about a thousand latent numbers."""
    chain_method: ChainMethod = "auto"
    """How the chains run: ``parallel``, one to a device; ``vectorized``, in step on one device; ``sequential``.
    ``auto`` is ``parallel`` where there is a device for each chain, else ``vectorized``;
    ``numpyro.set_host_device_count``, called before JAX starts, makes several devices of one CPU."""
    start_steps: int = 2000
    """Steps of the variational fit from which the chains start."""
    start_learning_rate: float = 0.02
    """Learning rate of that fit."""
    neutra: str | None = None
    """One of :data:`binn_prob.inference.guides.TRANSPORTS`: the chains then move on the scale on which that guide,
    fitted first, is a standard normal (Hoffman et al. 2019, arXiv:1903.03704), and as fast as it is good.  It needs
    more ``start_steps``, and a flow a lower ``start_learning_rate``.  Default: only the starts come from a guide,
    a mean-field one."""

    def __post_init__(self) -> None:
        whole(self, "chains", "warmup", "draws", "max_tree_depth", "start_steps")
        positive(self, "target_accept", "start_learning_rate")
        if self.target_accept >= 1.0:
            raise InputError(
                f"nuts target_accept {self.target_accept}", "a number between 0 and 1", "choose for example 0.8"
            )
        if self.neutra is not None:
            one_of(self, "neutra", TRANSPORTS)
        one_of(self, "chain_method", get_args(ChainMethod))

    def check(self, model: Model, dataset: xr.Dataset) -> None:
        """Refuse parallel chains without a device for each."""
        refuse_missing_devices(self.chains, self.chain_method)

    def fit(
        self,
        key: Array,
        model: Model,
        dataset: xr.Dataset,
        *,
        progress: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> Fit:
        """Run the chains.

        Raises
        ------
        InputError
            If the model has weights without a prior, which would stay where they start.
        FitError
            If the start diverges or a chain leaves the finite numbers.
        """
        self.check(model, dataset)
        stopwatch = Stopwatch()
        start_key, run_key, predict_key = jax.random.split(key, 3)
        encoding, profiles, silent = prepared(model, dataset)
        refuse_fixed_parameters(silent, profiles)
        train_key, draw_key = jax.random.split(start_key)
        trained = self._trained(train_key, silent, model.prior, profiles, progress, checkpoint)
        moved, starts = self._transported(draw_key, silent, model.prior, profiles, trained)
        chains = Chains(
            kernel=partial(
                infer.NUTS,
                moved,
                target_accept_prob=self.target_accept,
                max_tree_depth=self.max_tree_depth,
                dense_mass=self.dense_metric,
            ),
            chains=self.chains,
            warmup=self.warmup,
            draws=self.draws,
            method=self.chain_method,
            fields=tuple(_STATISTICS),
            counted="num_steps",
        )
        draws, fields, steps = chains.run(
            run_key, starts, profiles, label="nuts", progress=progress, checkpoint=checkpoint
        )
        if not all(bool(jnp.isfinite(values).all()) for values in draws.values()):
            raise FitError("nuts: a chain left the finite numbers; take smaller steps with a higher target_accept")
        return Fit(
            method=self,
            model=model,
            dataset=dataset,
            encoding=encoding,
            draws={site: values for site, values in draws.items() if site != _shared(trained)},
            key=predict_key,
            wall_seconds=stopwatch.seconds(),
            gradients=trained.gradients + steps,
            markov_chain=True,
            sample_stats={
                **{name: fields[field] for field, name in _STATISTICS.items()},
                "reached_max_treedepth": fields["num_steps"] >= 2**self.max_tree_depth - 1,
            },
        )

    def _trained(
        self, key: Array, model: Any, prior: Any, profiles: Any, progress: bool, checkpoint: Checkpoint | None
    ) -> Trained:
        """Fit the guide from which the chains start."""
        return train(
            key, model, family(self.neutra or "mean_field", prior), profiles, steps=self.start_steps,
            learning_rate=self.start_learning_rate,
            label="nuts (start)", progress=progress,
            checkpoint=None if checkpoint is None else checkpoint.part("start"),
        )  # fmt: skip

    def _transported(
        self, key: Array, model: Any, prior: Any, profiles: Any, trained: Trained
    ) -> tuple[Any, dict[str, Array]]:
        """Return the model on the scale that the chains move on, and a draw of the guide there for each of them."""
        if self.neutra is None:
            drawn = trained.draw(key, self.chains)
            return model, jax.vmap(lambda sites: unconstrain_fn(prior, (profiles,), {}, sites))(drawn)
        transport = NeuTraReparam(trained.guide, trained.parameters)
        standard = trained.guide.get_base_dist().sample(key, (self.chains,))
        return transport.reparam(model), {_shared(trained): standard}


def _shared(trained: Trained) -> str:
    """Return the name of the one latent site that NeuTra makes of all."""
    return f"{trained.guide.prefix}_shared_latent"
