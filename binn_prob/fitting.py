"""One fit by the name of its method."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from binn_prob.errors import InputError
from binn_prob.options import build
from binn_prob.provenance import git_commit, versions

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.inference import Fit

__all__ = ["fit"]


def fit(
    model: Any,
    dataset: xr.Dataset,
    method: Any = "nuts",
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    **options: Any,
) -> Fit:
    """Fit a model to sites by a method.

    Parameters
    ----------
    model
        Of :mod:`binn_prob.models`, e.g. ``BINN()``, or its word, e.g. ``"binn"``.
    dataset : xarray.Dataset
        The sites to learn from; see :mod:`binn_prob.data.schema`.
    method : str or method
        A word of ``binn_prob.inference.METHODS`` (``"mc_dropout"``, ``"vi"``, ``"nuts"``), or a method as it is made.
    seed : int
        Determines every random number of the fit.
    progress : bool
        Whether to show a progress bar on the terminal.
    checkpoint : path, optional
        Folder in which the fit saves its state as it goes.  It stays there when the fit is done; remove it when the
        posterior is kept.  Default: nothing is saved.
    resume : bool
        Whether to go on from what a killed fit has left in ``checkpoint``, to the same draws that it would have given
        on the same machine.  Starts from the beginning where there is nothing yet.
    **options
        Fields of the method's dataclass, when ``method`` is a word.

    Returns
    -------
    Fit
        Gives the posterior of these sites and predicts others.

    Raises
    ------
    InputError
        If the dataset is not what it must be, there is no such method or option, or the method cannot serve the model;
        if the checkpoint is in use, is of another fit, is damaged, or is there though ``resume`` is false; if the disk
        is full.
    """
    import jax

    from binn_prob.data import fingerprint, validate
    from binn_prob.inference.checkpoint import opened

    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed {seed!r}", "a whole number of at least 0", "correct seed")
    if resume and checkpoint is None:
        raise InputError("resume without a checkpoint", "the folder of a checkpoint", "name it as checkpoint")
    model, method, sites = _model(model), _method(method, options), validate(dataset)
    origin: dict[str, str | int | float] = {"seed": seed, "data_fingerprint": fingerprint(dataset)}
    identity = _identity(model, method, origin)
    with nullcontext() if checkpoint is None else opened(checkpoint, identity, resume=resume) as held:
        fitted: Fit = method.fit(jax.random.key(seed), model, sites, progress=progress, checkpoint=held)
    seconds = fitted.wall_seconds + (0.0 if held is None else held.spent_before)
    return replace(fitted, attributes={**origin, **fitted.attributes}, check=validate, wall_seconds=seconds)


def _model(model: Any) -> Any:
    """Return a model, made if it is a word."""
    from binn_prob.models import MODELS

    if isinstance(model, str):
        model = build("model", MODELS, model, {})
    if not callable(model):
        raise InputError(f"model {model!r}", "a model of binn_prob.models, or its word", "give for example BINN()")
    return model


def _method(method: Any, options: Mapping[str, Any]) -> Any:
    """Return a method, made with its options if it is a word."""
    from binn_prob.inference import METHODS

    if isinstance(method, str):
        method = build("method", METHODS, method, options)
    elif options:
        got = f"options {', '.join(options)} beside a method that is already made"
        raise InputError(got, "options where the method is a word", "put them into the method")
    if not hasattr(method, "fit"):
        raise InputError(f"method {method!r}", f"one of {', '.join(METHODS)}, or a method", "correct method")
    return method


def _identity(model: Any, method: Any, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that determines the draws of a fit to the last bit."""
    import jax
    import jax.numpy as jnp

    return {
        "method": _described(method),
        "model": _described(model),
        **origin,
        "precision": str(jnp.result_type(float)),
        "device": jax.devices()[0].device_kind,
        "devices": jax.local_device_count(),
        "versions": versions(),
        "git_commit": git_commit(),
    }


def _described(made: Any) -> dict[str, Any]:
    """Return the name and the options of a model or method."""
    options = asdict(made) if is_dataclass(made) and not isinstance(made, type) else {"options": repr(made)}
    return {"name": getattr(made, "name", type(made).__name__), **options}
