"""Where, and how precisely, JAX computes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import numpy as np

from binn_prob.errors import InputError
from binn_prob.precision import ENVIRONMENT_VARIABLE, Precision, chosen_precision, use_precision

__all__ = [
    "Device",
    "Shared",
    "cores",
    "failing_together",
    "is_first_process",
    "processes",
    "sharing",
    "use_device",
    "useful_devices",
]

Device = Literal["auto", "cpu", "gpu"]

Shared = int | Literal["all"]
"""Among how many devices sites are shared out: a number, or all that there are, on a CPU one to a core, or to a chain
where there are more of those"""

_LAST_WAIT = 60
"""Seconds that a process which has failed waits for the others of its program, before JAX ends them all [s]"""

_OTHER_DEVICE = {
    "cpu": "start a new process, for JAX keeps the device it has started on",
    "gpu": "install a JAX that supports the GPU of this machine, or choose --device cpu",
}


def useful_devices(methods: Collection[Any]) -> int:
    """Return as how many devices one CPU serves some methods best.

    For independent sites one to a core, among which ``site_nuts`` shares them out; otherwise one to a Markov chain.
    """
    shared = [getattr(one, "needs_independent_sites", False) for one in methods]
    chains = [getattr(one, "chains", 1) for one in methods]
    return max(cores() if sites else number for sites, number in zip(shared, chains, strict=True))


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes() -> int:
    """Return how many processes are one program."""
    import jax

    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first_process() -> bool:
    """Say whether this is the process that writes: the only one, or the first of many."""
    import jax

    return processes() == 1 or jax.process_index() == 0


@contextmanager
def failing_together() -> Iterator[None]:
    """Raise in every process of one program if what is enclosed fails in any of them.

    Otherwise those in which it did not would go on, and wait for the others in vain.  All wait here for the last.

    Raises
    ------
    InputError
        Naming the processes in which it failed, if this one is not among them; else the error itself is raised.
    """
    if processes() == 1:
        yield
        return
    from jax.experimental.multihost_utils import process_allgather

    found = None
    try:
        yield
    except Exception as error:
        found = error
    failed = process_allgather(np.array(found is not None)).nonzero()[0]
    if found is not None:
        raise found
    if failed.size:
        numbers = ", ".join(map(str, failed))
        got = f"a failure in process {numbers} of {processes()}, counted from 0"
        raise InputError(got, "none in any", "see what that process says")


def use_device(
    device: Device,
    precision: Precision | None,
    devices: int = 1,
    *,
    shared: Shared | None = None,
    distributed: bool = False,
) -> None:
    """Choose where and how precisely JAX computes, before it starts.

    Parameters
    ----------
    device : {"auto", "cpu", "gpu"}
    precision : {"float64", "float32"}, optional
        Default: the environment variable ``BINN_PROB_PRECISION``, else float64.
    devices : int
        As how many devices JAX is to see a CPU; what runs on several of them runs side by side.
    shared : int or "all", optional
        Among how many devices sites are to be shared out, see :func:`sharing`.  Default: 1.
    distributed : bool
        Whether this process is one of many, on one machine or several, that JAX is to make one program: it finds the
        others by the variables of SLURM, Open MPI or Kubernetes, see :func:`jax.distributed.initialize`.  Sites are
        then shared out among the devices of all of them, so many of each process; by default all.

    Raises
    ------
    InputError
        If there is no such device, JAX already runs on another one, or there are no other processes.
    """
    os.environ[ENVIRONMENT_VARIABLE] = chosen_precision(precision)  # binn_prob.clm5 reads it when it is imported
    import jax

    use_precision(precision)
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    with suppress(RuntimeError):  # JAX has started, and keeps the devices that it has
        shared = "all" if distributed and shared is None else shared
        asked = cores() if shared == "all" else shared or 1
        jax.config.update("jax_num_cpu_devices", max(devices, asked))
    if distributed and not jax.distributed.is_initialized():
        try:
            jax.distributed.initialize(shutdown_timeout_seconds=_LAST_WAIT)
        except (RuntimeError, ValueError) as error:
            got = f"--distributed in a process that finds no others ({' '.join(str(error).split())[:120]})"
            cure = "start it with srun or mpirun, or leave --distributed out"
            raise InputError(got, "one of several processes", cure) from None
    try:
        found = jax.default_backend()
    except (RuntimeError, AssertionError) as error:
        got = f"a JAX that does not start ({' '.join(str(error).split())[:120]})"
        raise InputError(got, "a device that it supports", "unset JAX_PLATFORMS, or choose --device cpu") from None
    if device not in ("auto", found):
        raise InputError(f"JAX on a {found}", f"a {device}", _OTHER_DEVICE[device])


@contextmanager
def sharing(shared: Shared | None, *, distributed: bool = False) -> Iterator[None]:
    """Share sites out among devices in what follows; parameters as those of :func:`use_device`.

    Raises
    ------
    InputError
        If there are not so many devices.
    """
    if not distributed and shared is None:
        yield
        return
    import jax

    from binn_prob.sharding import site_mesh

    with jax.set_mesh(site_mesh(None if distributed or shared == "all" else shared)):
        yield
