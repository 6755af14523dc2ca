"""The No-U-Turn sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import infer
from numpyro.handlers import seed, trace
from numpyro.infer.autoguide import AutoNormal
from numpyro.infer.util import unconstrain_fn

from binn_prob.checks import positive, whole
from binn_prob.errors import InputError
from binn_prob.inference.base import Fit, FitError, Model, Stopwatch, prepared
from binn_prob.inference.training import train

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["NUTS"]

ChainMethod = Literal["auto", "vectorized", "parallel", "sequential"]

_STATISTICS = {
    "diverging": "diverging",
    "accept_prob": "acceptance_rate",
    "num_steps": "n_steps",
    "energy": "energy",
    "adapt_state.step_size": "step_size",
}
"""NumPyro's fields and the names ArviZ gives them."""


@dataclass(frozen=True)
class NUTS:
    """Hamiltonian Monte Carlo with trajectories of adaptive length (Hoffman and Gelman 2014, JMLR 15).

    **Posterior**: that of the model itself, as far as the chains converge: read R-hat and the effective sample sizes,
    and mind divergences.

    **Use it** as the reference of every other method.  **Do not** expect networks of more than a few thousand weights
    to converge.

    **Cost**: up to ``2 ** max_tree_depth`` gradients a draw in each chain.
    """

    name: ClassVar[str] = "nuts"
    needs_hidden_units: ClassVar[bool] = False

    chains: int = 4
    """Markov chains."""
    warmup: int = 400
    """Draws that adapt step size and metric, and are thrown away."""
    draws: int = 500
    """Draws kept per chain."""
    max_tree_depth: int = 7
    """Longest trajectory: ``2 ** max_tree_depth - 1`` steps."""
    target_accept: float = 0.8
    """Mean acceptance that the step size is adapted to."""
    dense_metric: bool = False
    """Whether the metric is a full matrix; for up to about a thousand latent numbers."""
    chain_method: ChainMethod = "auto"
    """How the chains run: ``parallel``, one to a device; ``vectorized``, in step on one device; ``sequential``.
    ``auto`` is ``parallel`` where there is a device for each chain, else ``vectorized``;
    ``numpyro.set_host_device_count``, called before JAX starts, makes several devices of one CPU."""
    start_steps: int = 2000
    """Steps of the mean-field fit from which the chains start."""
    start_learning_rate: float = 0.02
    """Learning rate of that fit."""

    def __post_init__(self) -> None:
        whole(self, "chains", "warmup", "draws", "max_tree_depth", "start_steps")
        positive(self, "target_accept", "start_learning_rate")
        if self.target_accept >= 1.0:
            raise InputError(
                f"nuts target_accept {self.target_accept}", "a number between 0 and 1", "choose for example 0.8"
            )
        if self.chain_method not in get_args(ChainMethod):
            expected = f"one of {', '.join(get_args(ChainMethod))}"
            raise InputError(f"nuts chain_method {self.chain_method!r}", expected, "choose one of them")

    def fit(self, key: Array, model: Model, dataset: xr.Dataset, *, progress: bool = True) -> Fit:
        """Run the chains.

        Raises
        ------
        InputError
            If the model has weights without a prior, which would stay where they start.
        FitError
            If the start diverges or a chain leaves the finite numbers.
        """
        stopwatch = Stopwatch()
        start_key, run_key, predict_key = jax.random.split(key, 3)
        encoding, profiles, silent = prepared(model, dataset)
        _refuse_fixed_parameters(silent, profiles)
        starts = self._starts(start_key, silent, profiles, progress)
        kernel = infer.NUTS(
            silent,
            target_accept_prob=self.target_accept,
            max_tree_depth=self.max_tree_depth,
            dense_mass=self.dense_metric,
        )
        chains = infer.MCMC(
            kernel,
            num_warmup=self.warmup,
            num_samples=self.draws,
            num_chains=self.chains,
            chain_method=self._chain_method(),
            progress_bar=progress,
        )
        chains.run(run_key, profiles, extra_fields=tuple(_STATISTICS), init_params=starts)
        draws = chains.get_samples(group_by_chain=True)
        if not all(bool(jnp.isfinite(values).all()) for values in draws.values()):
            raise FitError("nuts: a chain left the finite numbers; take smaller steps with a higher target_accept")
        fields = chains.get_extra_fields(group_by_chain=True)
        return Fit(
            method=self,
            model=model,
            dataset=dataset,
            encoding=encoding,
            draws=draws,
            key=predict_key,
            wall_seconds=stopwatch.seconds(),
            markov_chain=True,
            sample_stats={
                **{name: fields[field] for field, name in _STATISTICS.items()},
                "reached_max_treedepth": fields["num_steps"] >= 2**self.max_tree_depth - 1,
            },
        )

    def _chain_method(self) -> str:
        """Return how the chains run on the devices at hand."""
        if self.chain_method != "auto":
            return self.chain_method
        return "parallel" if jax.local_device_count() >= self.chains else "vectorized"

    def _starts(self, key: Array, model: Any, profiles: Any, progress: bool) -> dict[str, Array]:
        """Draw a start for every chain, on the unconstrained scale, from a short mean-field fit."""
        train_key, draw_key = jax.random.split(key)
        trained = train(
            train_key, model, AutoNormal(model, init_loc_fn=infer.init_to_sample), profiles, steps=self.start_steps,
            learning_rate=self.start_learning_rate, label="nuts (start)", progress=progress,
        )  # fmt: skip
        drawn = trained.draw(draw_key, self.chains)
        starts: dict[str, Array] = jax.vmap(lambda sites: unconstrain_fn(model, (profiles,), {}, sites))(drawn)
        return starts if self.chains > 1 else {site: value[0] for site, value in starts.items()}


def _refuse_fixed_parameters(model: Any, profiles: Any) -> None:
    """Refuse a model with ``param`` sites, which a Markov chain never moves."""
    sites = trace(seed(model, rng_seed=0)).get_trace(profiles)
    fixed = [name for name, site in sites.items() if site["type"] == "param"]
    if fixed:
        got = f"a model with parameters that have no prior: {', '.join(fixed)}"
        raise InputError(got, "priors for all of them", "sample them, e.g. with numpyro's random_flax_module")
