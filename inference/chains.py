"""Runs Markov chains in blocks of steps, which are saved one by one and shown as they come.

NumPyro's own ``MCMC`` compiles again whenever it is called with another number of draws, and takes another path through
its program with a progress bar than without.  Here one compiled block of steps, made of the same kernel, serves the
warm-up and the draws, with and without a bar, before and after a resumption: none of these changes a single bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpyro.handlers import seed, trace
from numpyro.infer.mcmc import MCMCKernel
from tqdm import tqdm

from binn_prob.errors import InputError
from binn_prob.inference.checkpoint import Checkpoint
from binn_prob.sharding import devices_in_use, everywhere, sharing_out

__all__ = ["ChainMethod", "Chains", "refuse_fixed_parameters", "refuse_missing_devices"]

ChainMethod = Literal["auto", "vectorized", "parallel", "sequential"]

_MOST_BLOCKS = 20
"""So a killed process has computed at most a twentieth of the steps in vain."""

Draws = dict[str, Any]
"""Sites and fields of the kernel's state, each (chain, draw, …)."""


@dataclass(frozen=True)
class Chains:
    """How chains are run."""

    kernel: Callable[[], MCMCKernel]
    """Makes NumPyro's kernel, such as ``lambda: NUTS(model)``"""
    chains: int
    """Markov chains"""
    warmup: int
    """Steps in which the kernel adapts, and which are thrown away"""
    draws: int
    """Draws kept per chain"""
    method: ChainMethod = "auto"
    """``parallel``, one chain to a device; ``vectorized``, in step; ``sequential``; ``auto`` is ``parallel`` where
    there is a device for each chain and the devices do not share the sites, else ``vectorized``"""
    fields: tuple[str, ...] = ("diverging",)
    """Fields of the kernel's state to keep at every draw; a dot leads to a field of a field"""
    counted: str | None = None
    """That of the fields which is added up over all steps, those of the warm-up included"""

    def run(
        self,
        key: Array,
        starts: dict[str, Array],
        profiles: Any,
        *,
        label: str,
        progress: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> tuple[dict[str, Array], dict[str, Array], int]:
        """Run the chains.

        Parameters
        ----------
        key : random key
        starts : mapping of arrays
            Latent sites on the unconstrained scale, each (chain, …).
        profiles : pytree of arrays
            What the model is called with.
        label : str
            What the progress bar says.
        progress : bool
            Whether there is a progress bar.
        checkpoint : Checkpoint, optional
            Where the state and the draws are saved after every block, and from where they go on.

        Returns
        -------
        draws : dict of arrays (chain, draw, …)
            The latent sites on their own support.
        statistics : dict of arrays (chain, draw)
            The fields.
        count : int
            Of the field that is counted, over all steps of all chains; 0 if there is none.

        Raises
        ------
        InputError
            If parallel chains are asked for and there are fewer devices.
        """
        keys = jax.random.split(key, self.chains)
        begin, block = self._programs()
        # Shapes alone: a resumed run does not compile what it no longer needs.
        template = jax.eval_shape(begin, keys, starts, profiles)
        done, state, count, kept = self._resumed(checkpoint, template, jax.eval_shape(block, template, profiles)[1])
        if done == 0:
            state = begin(keys, starts, profiles)
        with tqdm(total=self._total, initial=done * self._length, desc=label, disable=not progress) as bar:
            for number in range(done, self._total // self._length):
                state, collected = block(state, profiles)
                draws, statistics = jax.device_get(collected)
                count += 0 if self.counted is None else int(statistics[self.counted].sum())
                kept.append(self._after_warmup(number, (draws, statistics)))
                if checkpoint is not None:
                    checkpoint.save(_block(number), kept[-1])
                    checkpoint.save("chains", (number + 1, state, count))
                bar.update(self._length)
        draws, statistics = jax.tree.map(lambda *blocks: jnp.asarray(np.concatenate(blocks, axis=1)), *kept)
        return draws, statistics, count

    @property
    def _length(self) -> int:
        """Steps of a block."""
        return -(-(self.warmup + self.draws) // _MOST_BLOCKS)

    @property
    def _total(self) -> int:
        """Steps of all blocks; those beyond the last draw, fewer than one block, are thrown away."""
        return -(-(self.warmup + self.draws) // self._length) * self._length

    def _after_warmup(self, number: int, collected: Any) -> Any:
        """Return what is kept of a block: not the warm-up, nor what lies beyond the last draw."""
        first = number * self._length
        kept = slice(max(self.warmup - first, 0), max(self.warmup + self.draws - first, 0))
        return jax.tree.map(lambda values: values[:, kept], collected)

    def _resumed(self, checkpoint: Checkpoint | None, state: Any, collected: Any) -> tuple[int, Any, int, list[Any]]:
        """Return the blocks that an earlier process has run, the state after them, the count, and what they left."""
        saved = None if checkpoint is None else checkpoint.load("chains", (0, state, 0))
        if checkpoint is None or saved is None:
            return 0, None, 0, []
        done = int(saved[0])
        forms = [
            jax.eval_shape(lambda blocks, number=number: self._after_warmup(number, blocks), collected)
            for number in range(done)
        ]
        kept = [checkpoint.load(_block(number), form) for number, form in enumerate(forms)]
        return (0, None, 0, []) if None in kept else (done, saved[1], int(saved[2]), kept)

    def _programs(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Return the programs that make the first state and run a block, for all chains."""

        def begin(key: Array, start: dict[str, Array], profiles: Any) -> Any:
            return everywhere(self.kernel().init(key, self.warmup, start, (profiles,), {}))

        def block(state: Any, profiles: Any) -> Any:
            kernel = self.kernel()
            kernel.init(state.rng_key, self.warmup, state.z, (profiles,), {})  # only so that it can sample
            constrain, fields = kernel.postprocess_fn((profiles,), {}), attrgetter(*self.fields)

            def step(state: Any, _: None) -> Any:
                state = kernel.sample(state, (profiles,), {})
                return state, (constrain(state.z), dict(zip(self.fields, fields(state), strict=True)))

            return everywhere(jax.lax.scan(step, state, length=self._length))

        return jax.jit(jax.vmap(begin, in_axes=(0, 0, None))), self._for_all(block)

    def _for_all(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """Return the program that does for all chains what ``run`` does for one."""
        method, devices = self.method, jax.local_devices()[: self.chains]
        if method == "auto":
            method = "parallel" if len(devices) == self.chains and not sharing_out() else "vectorized"
        if method == "vectorized":
            return jax.jit(jax.vmap(run, in_axes=(0, None)))
        if method == "sequential":
            return jax.jit(lambda states, profiles: jax.lax.map(lambda state: run(state, profiles), states))
        refuse_missing_devices(self.chains, method)
        mesh = Mesh(np.array(devices), ("chain",))
        chain, everywhere = PartitionSpec("chain"), PartitionSpec()

        def one(states: Any, profiles: Any) -> Any:
            ran = run(jax.tree.map(lambda states: states[0], states), profiles)
            return jax.tree.map(lambda values: values[None], ran)

        program = jax.jit(jax.shard_map(one, mesh=mesh, in_specs=(chain, everywhere), out_specs=chain, check_vma=False))
        return lambda states, profiles: program(
            jax.device_put(states, NamedSharding(mesh, chain)),
            jax.device_put(profiles, NamedSharding(mesh, everywhere)),
        )


def refuse_missing_devices(chains: int, method: ChainMethod) -> None:
    """Refuse parallel chains without a device for each, or while the devices share the sites.

    Raises
    ------
    InputError
        Saying how many devices there are.
    """
    devices = jax.local_device_count()
    if method == "parallel" and sharing_out():
        got = f"parallel chains, and sites shared among {devices_in_use()} device(s)"
        raise InputError(got, "one of them", "choose the chain method 'auto' or 'vectorized'")
    if method == "parallel" and devices < chains:
        cure = "choose the chain method 'auto', or make devices with numpyro.set_host_device_count"
        raise InputError(f"{chains} parallel chains on {devices} devices", "a device for each", cure)


def refuse_fixed_parameters(model: Callable[..., None], profiles: Any) -> None:
    """Refuse a model with ``param`` sites, which a Markov chain never moves.

    Raises
    ------
    InputError
        Naming them.
    """
    with trace() as sites:
        jax.eval_shape(seed(model, rng_seed=0), profiles)  # nothing is computed
    fixed = [name for name, site in sites.items() if site["type"] == "param"]
    if fixed:
        got = f"a model with parameters that have no prior: {', '.join(fixed)}"
        raise InputError(got, "priors for all of them", "sample them, e.g. with numpyro's random_flax_module")


def _block(number: int) -> str:
    return f"draws_{number:02d}"
