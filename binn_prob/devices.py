"""Where, and how precisely, JAX computes."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Literal

from binn_prob.errors import InputError
from binn_prob.precision import ENVIRONMENT_VARIABLE, Precision, chosen_precision, use_precision

__all__ = ["Device", "use_device"]

Device = Literal["auto", "cpu", "gpu"]

_OTHER_DEVICE = {
    "cpu": "start a new process, for JAX keeps the device it has started on",
    "gpu": "install a JAX that supports the GPU of this machine, or choose --device cpu",
}


def use_device(device: Device, precision: Precision | None, chains: int = 1) -> None:
    """Choose where and how precisely JAX computes, before it starts.

    On a CPU, Markov chains run side by side if JAX is told that the CPU is several devices: one for each of ``chains``.

    Raises
    ------
    InputError
        If there is no such device, or JAX already runs on another one.
    """
    os.environ[ENVIRONMENT_VARIABLE] = chosen_precision(precision)  # binn_prob.clm5 reads it when it is imported
    import jax

    use_precision(precision)
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    with suppress(RuntimeError):  # JAX has started, and keeps the devices that it has
        jax.config.update("jax_num_cpu_devices", chains)
    try:
        found = jax.default_backend()
    except (RuntimeError, AssertionError) as error:
        got = f"a JAX that does not start ({' '.join(str(error).split())[:120]})"
        raise InputError(got, "a device that it supports", "unset JAX_PLATFORMS, or choose --device cpu") from None
    if device not in ("auto", found):
        raise InputError(f"JAX on a {found}", f"a {device}", _OTHER_DEVICE[device])
