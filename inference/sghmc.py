"""Stochastic-gradient Hamiltonian Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from numpyro.handlers import seed
from numpyro.infer.mcmc import MCMCKernel
from numpyro.infer.util import constrain_fn, potential_energy

from binn_prob.checks import one_of, positive, whole
from binn_prob.errors import InputError
from binn_prob.inference.base import Fit, FitError, Method, Model, Stopwatch, prepared
from binn_prob.inference.chains import ChainMethod, Chains, refuse_fixed_parameters, refuse_missing_devices
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.inference.guides import family
from binn_prob.inference.training import Trained, of_batches, refuse_batches, train

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SGHMC"]

_STATISTICS = ("kinetic_temperature", "step_size")

Latent = dict[str, Array]
"""Latent sites on a scale without bounds."""


@dataclass(frozen=True)
class SGHMC(Method):
    """Langevin dynamics with momentum, without a Metropolis test (Chen, Fox and Guestrin 2014, ICML; Ma et al. 2015).

    A mean-field fit comes first: its means and standard deviations standardise the latent numbers, whose curvatures
    differ by orders of magnitude, and the chains start from its draws.  In standardised numbers of unit mass, a step
    of length ε with friction α is Algorithm 2 of Chen et al. in the notation of Ma, Chen and Fox (2015, NeurIPS):
    ``position += ε momentum``, then ``momentum += ε gradient(position) - α ε momentum + sqrt(2 α ε) noise``.

    **Posterior**: that of the model, but for two biases that no number of draws removes.  Finite steps widen it: for a
    Gaussian, a direction of curvature k has ``(1 - α ε / 2) / (1 - α ε / 2 - k ε² / 4)`` times its variance, and from
    ``k ε² = 4 - 2 α ε`` on the chain runs away.  Batches of sites heat it: gradient noise of variance V multiplies
    that by ``1 + ε V / (2 α)``.  R-hat sees neither.  The statistic ``kinetic_temperature``, ``1 - α ε / 2`` times the
    mean squared momentum, does: for a Gaussian it is the factor by which variances are too large, averaged over all
    directions.  The default step makes it about 1.05 with BINN; batches of a fifth of 51 sites, about 1.4.

    **Use it** with ``batch_sites`` where one gradient over all sites is too slow for NUTS, and with a friction of 5 or
    more.  **Do not** use it where NUTS converges, nor where ``kinetic_temperature`` is far from 1.

    **Cost**: one mean-field optimisation, and ``thinning`` gradients a draw in each chain.
    """

    name: ClassVar[str] = "sghmc"
    needs_hidden_units: ClassVar[bool] = False
    needs_independent_sites: ClassVar[bool] = False

    chains: int = 4
    """Markov chains."""
    warmup: int = 200
    """Draws thrown away at the start."""
    draws: int = 500
    """Draws kept per chain."""
    thinning: int = 50
    """Steps from one draw to the next."""
    step_size: float = 0.1
    """Length of a step, in standard deviations of the mean-field fit."""
    decay: float = 0.0
    """Power with which the step size falls, by ``(1 + draw / warmup) ** -decay``; with 0 it is constant."""
    friction: float = 1.0
    """Rate at which momentum is lost and made good by noise; batches ask for more."""
    batch_sites: int | None = None
    """Sites that each step sees, drawn at random; None, or as many as there are, for all.  Only for models whose sites
    share all that is learnt."""
    chain_method: ChainMethod = "auto"
    """How the chains run: ``parallel``, one to a device; ``vectorized``, in step on one device; ``sequential``.
    ``auto`` is ``parallel`` where there is a device for each chain, else ``vectorized``."""
    start_steps: int = 2000
    """Steps of the mean-field fit."""
    start_learning_rate: float = 0.02
    """Learning rate of that fit."""

    def __post_init__(self) -> None:
        whole(self, "chains", "warmup", "draws", "thinning", "start_steps")
        positive(self, "step_size", "friction", "start_learning_rate")
        if self.decay != 0.0:
            positive(self, "decay")
        if self.batch_sites is not None:
            whole(self, "batch_sites")
        if self.friction * self.step_size >= 1.0:
            got = f"sghmc friction {self.friction} with step_size {self.step_size}"
            raise InputError(got, "a product below 1", "take smaller steps")
        one_of(self, "chain_method", get_args(ChainMethod))

    def check(self, model: Model, dataset: xr.Dataset) -> None:
        """Refuse batches where the model learns something for each site, and parallel chains without devices."""
        refuse_batches(self, model, self.batch_sites)
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
            If the model has weights without a prior, which would stay where they start, or sites are to be seen in
            batches and the model learns something for each of them.
        FitError
            If the start diverges or a chain leaves the finite numbers.
        """
        self.check(model, dataset)
        stopwatch = Stopwatch()
        start_key, position_key, run_key, predict_key = jax.random.split(key, 4)
        encoding, profiles, silent = prepared(model, dataset)
        refuse_fixed_parameters(silent, profiles)
        trained = self._trained(start_key, silent, model.prior, profiles, progress, checkpoint)
        centre, scale = _standard(trained)
        chains = Chains(
            kernel=partial(_Kernel, self, silent, of_batches(silent, profiles, self.batch_sites)),
            chains=self.chains,
            warmup=self.warmup,
            draws=self.draws,
            method=self.chain_method,
            fields=_STATISTICS,
        )
        starts = jax.vmap(lambda key: _noise(key, centre))(jax.random.split(position_key, self.chains))
        draws, fields, _ = chains.run(
            run_key, starts, _Target(profiles, centre, scale), label="sghmc", progress=progress, checkpoint=checkpoint
        )
        if not all(bool(jnp.isfinite(values).all()) for values in draws.values()):
            raise FitError("sghmc: a chain left the finite numbers; take smaller steps with a lower step_size")
        seen = 1.0 if self.batch_sites is None else min(self.batch_sites / profiles.sites, 1.0)
        return Fit(
            method=self,
            model=model,
            dataset=dataset,
            encoding=encoding,
            draws=draws,
            key=predict_key,
            wall_seconds=stopwatch.seconds(),
            gradients=trained.gradients + self.chains * (self.warmup + self.draws) * self.thinning * seen,
            markov_chain=True,
            sample_stats=fields,
        )

    def _trained(
        self, key: Array, model: Any, prior: Any, profiles: Any, progress: bool, checkpoint: Checkpoint | None
    ) -> Trained:
        """Fit a mean-field guide, from which the chains start."""
        return train(
            key, model, family("mean_field", prior), profiles, steps=self.start_steps,
            learning_rate=self.start_learning_rate, batch_sites=self.batch_sites, label="sghmc (start)",
            progress=progress,
            checkpoint=None if checkpoint is None else checkpoint.part("start"),
        )  # fmt: skip


def _standard(trained: Trained) -> tuple[Latent, Latent]:
    """Return means and standard deviations of a mean-field guide, on the unconstrained scale."""
    found, prefix = trained.parameters, trained.guide.prefix
    names = [name.removesuffix(f"_{prefix}_loc") for name in found if name.endswith("_loc")]
    centre, scale = ({name: found[f"{name}_{prefix}_{what}"] for name in names} for what in ("loc", "scale"))
    return centre, scale


class _Target(NamedTuple):
    """What the dynamics run on."""

    profiles: Any
    """What the model is called with"""
    centre: Latent
    scale: Latent

    def latent(self, standard: Latent) -> Latent:
        """Return the latent sites on the unconstrained scale from their standardised values."""
        return jax.tree.map(lambda centre, scale, value: centre + scale * value, self.centre, self.scale, standard)


class _State(NamedTuple):
    """Where a chain stands."""

    z: Latent
    """Standardised latent sites"""
    momentum: Latent
    rng_key: Array
    draw: Array
    kinetic_temperature: Array
    """That of the steps since the last draw"""
    step_size: Array


class _Kernel(MCMCKernel):  # type: ignore[misc]  # NumPyro has no types
    """NumPyro's interface to blackjax's integrator; one sample is as many steps as lie between two draws.

    blackjax's own kernel is passed over: it takes the gradient at the position before the step, which biases variances
    to first order in the step size, where the order of Chen et al. does to second; and it sees the same batch in all
    steps of a trajectory.
    """

    def __init__(self, method: SGHMC, model: Callable[..., None], seen: Callable[..., None]) -> None:
        from blackjax.sgmcmc.diffusions import sghmc

        self._method, self._model, self._seen = method, model, seen
        self._advance = sghmc(alpha=method.friction, beta=0.0)

    def init(self, rng_key: Array, num_warmup: int, init_params: Latent, model_args: Any, model_kwargs: Any) -> _State:
        """Return the state of a chain that starts at standardised sites."""
        key, momentum_key = jax.random.split(rng_key)
        zero = jnp.zeros(())
        return _State(init_params, _noise(momentum_key, init_params), key, jnp.zeros((), int), zero, zero)

    def sample(self, state: _State, model_args: Any, model_kwargs: Any) -> _State:
        """Take the steps to the next draw."""
        (target,) = model_args
        method = self._method
        step_size = method.step_size * (1.0 + state.draw / method.warmup) ** -method.decay

        def step(at: tuple[Latent, Latent], key: Array) -> tuple[tuple[Latent, Latent], Array]:
            batch_key, noise_key = jax.random.split(key)
            ahead = jax.tree.map(lambda position, momentum: position + step_size * momentum, *at)
            gradient = jax.grad(self._log_density)(ahead, batch_key, target)
            position, momentum = self._advance(noise_key, *at, gradient, step_size)
            return (position, momentum), jnp.mean(ravel_pytree(momentum)[0] ** 2)

        key, run_key = jax.random.split(state.rng_key)
        keys = jax.random.split(run_key, method.thinning)
        (position, momentum), squares = jax.lax.scan(step, (state.z, state.momentum), keys)
        temperature = (1.0 - 0.5 * method.friction * step_size) * jnp.mean(squares)
        return _State(position, momentum, key, state.draw + 1, temperature, step_size)

    def postprocess_fn(self, model_args: Any, model_kwargs: Any) -> Callable[[Latent], Latent]:
        """Return what maps standardised sites to their own support."""
        (target,) = model_args
        return lambda standard: constrain_fn(self._model, (target.profiles,), {}, target.latent(standard))

    def _log_density(self, standard: Latent, key: Array, target: _Target) -> Array:
        """Return the log density, up to a constant, that the sites of one batch suggest."""
        density: Array = -potential_energy(seed(self._seen, key), (target.profiles,), {}, target.latent(standard))
        return density


def _noise(key: Array, like: Latent) -> Latent:
    """Draw standard normal numbers in the shapes of some sites."""
    keys = jax.random.split(key, len(like))
    return {name: jax.random.normal(key, like[name].shape) for key, name in zip(keys, sorted(like), strict=True)}
