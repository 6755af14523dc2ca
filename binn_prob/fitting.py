"""One fit by the name of its method, and a second stage that learns from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from binn_prob.errors import InputError
from binn_prob.memory import watched
from binn_prob.options import build, written_out
from binn_prob.provenance import git_commit, versions

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.inference import Fit
    from binn_prob.inference.checkpoint import Checkpoint

__all__ = ["as_method", "as_model", "as_seed", "fit", "identity", "upscale"]


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
        A word of ``binn_prob.inference.METHODS``, such as ``"vi"`` or ``"nuts"``, or a method as it is made.
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
    from binn_prob.inference import METHODS
    from binn_prob.sites import with_observations

    model, method = as_model(model), as_method(METHODS, method, options)
    sites = with_observations(validate(dataset))
    origin: dict[str, str | int | float] = {"seed": as_seed(seed), "data_fingerprint": fingerprint(dataset)}
    with _opened(checkpoint, resume, identity(model, method, origin)) as held, watched() as peak:
        fitted: Fit = method.fit(jax.random.key(seed), model, sites, progress=progress, checkpoint=held)
    seconds = fitted.wall_seconds + (0.0 if held is None else held.spent_before)
    origin |= {} if math.isnan(peak.gibibytes) else {"peak_memory": peak.gibibytes}
    return replace(fitted, attributes={**origin, **fitted.attributes}, check=validate, wall_seconds=seconds)


def upscale(
    first: Fit | str | Path,
    model: Any = "binn",
    dataset: xr.Dataset | None = None,
    method: Any = "upscaling",
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    **options: Any,
) -> Fit:
    """Carry the posteriors of independent sites to any site: the second stage of PRODA (Tao et al. 2020, 2023).

    A network learns what the parameters of the sites are from their covariates, and then predicts parameters, processes
    and carbon where nothing was measured::

        first = bp.fit("site", sites, "site_nuts")  # or the folder of a run of the command line
        train, test = bp.data.split(sites, test_fraction=0.2)
        second = bp.upscale(first, "binn", train)
        second.predict(test)  # and so any sites with covariates, such as bp.data.new_york.read_grid()

    Parameters
    ----------
    first : Fit or path
        Of a model of independent sites, by any method; or the folder of a run that has left its posterior.
    model
        With a network, of :mod:`binn_prob.models`; or its word, which then has the options of the first stage's model.
    dataset : xarray.Dataset, optional
        The sites to learn from, all of them fitted in the first stage.  Default: all that were.
    method : Upscaling, optional
        As it is made.  Default: made from ``options``.
    seed, progress, checkpoint, resume
        As in :func:`fit`.
    **options
        Fields of :class:`binn_prob.inference.Upscaling`.

    Returns
    -------
    Fit
        A posterior of the network.  Its wall time includes that of the first stage, and its verdict that on it.

    Raises
    ------
    InputError
        As in :func:`fit`; if the first stage is not of independent sites, its folder does not hold what it must, or a
        site was not fitted there.
    """
    import jax

    from binn_prob.data import fingerprint, validate
    from binn_prob.inference import Upscaling
    from binn_prob.stages import first_stage, restricted

    method = as_method({Upscaling.name: Upscaling}, method, options)
    first = first_stage(first) if isinstance(first, str | Path) else first
    first = first if dataset is None else restricted(first, validate(dataset))
    model = as_model(model, written_out(first.model))
    origin: dict[str, str | int | float] = {"seed": as_seed(seed), "data_fingerprint": fingerprint(first.dataset)}
    known = identity(model, method, origin)
    of_first = {name: value for name, value in first.attributes.items() if name in origin}
    known["first"] = identity(first.model, first.method, of_first)
    if checkpoint is not None:
        known["first"]["draws"] = _fingerprint_of_draws(first.draws)
    with _opened(checkpoint, resume, known) as held:
        fitted: Fit = method.fit(jax.random.key(seed), model, first, progress=progress, checkpoint=held)
    seconds = fitted.wall_seconds + (0.0 if held is None else held.spent_before)
    return replace(fitted, attributes={**fitted.attributes, **origin}, check=validate, wall_seconds=seconds)


def as_seed(seed: int) -> int:
    """Return a seed if it is one.

    Raises
    ------
    InputError
        If it is not a whole number of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed {seed!r}", "a whole number of at least 0", "correct seed")
    return seed


def _opened(
    folder: str | Path | None, resume: bool, known: Mapping[str, Any]
) -> AbstractContextManager[Checkpoint | None]:
    """Open the checkpoint of a fit, if it is to have one."""
    from binn_prob.inference.checkpoint import opened

    if resume and folder is None:
        raise InputError("resume without a checkpoint", "the folder of a checkpoint", "name it as checkpoint")
    return nullcontext() if folder is None else opened(folder, known, resume=resume)


def as_model(model: Any, options: Mapping[str, Any] | None = None) -> Any:
    """Return a model, made with its options if it is a word.

    Raises
    ------
    InputError
        If there is no such model or option, or it is no model.
    """
    from binn_prob.models import MODELS

    if isinstance(model, str):
        model = build("model", MODELS, model, options or {})
    if not callable(model):
        raise InputError(f"model {model!r}", "a model of binn_prob.models, or its word", "give for example BINN()")
    return model


def as_method(known: Mapping[str, type], method: Any, options: Mapping[str, Any]) -> Any:
    """Return a method, made with its options if it is one of the known words.

    Raises
    ------
    InputError
        If there is no such method or option, or it is no method.
    """
    if isinstance(method, str):
        method = build("method", known, method, options)
    elif options:
        got = f"options {', '.join(options)} beside a method that is already made"
        raise InputError(got, "options where the method is a word", "put them into the method")
    if not hasattr(method, "fit"):
        raise InputError(f"method {method!r}", f"one of {', '.join(known)}, or a method", "correct method")
    return method


def identity(model: Any, method: Any, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return what determines the draws of a fit, on one machine to the last bit, and elsewhere within rounding.

    Where it computes is no part of it, so that a fit may go on on other devices.
    """
    import jax.numpy as jnp

    return {
        "method": _described(method),
        "model": _described(model),
        **origin,
        "precision": str(jnp.result_type(float)),
        "versions": versions(),
        "git_commit": git_commit(),
    }


def _fingerprint_of_draws(draws: Mapping[str, Any]) -> str:
    """Return the fingerprint of draws, as :func:`binn_prob.data.fingerprint` gives it of sites."""
    import xarray as xr

    from binn_prob.data import fingerprint

    named = {name: ([f"{name}_{axis}" for axis in range(values.ndim)], values) for name, values in draws.items()}
    return fingerprint(xr.Dataset(named))


def _described(made: Any) -> dict[str, Any]:
    """Return the name and the options of a model or method."""
    options = asdict(made) if is_dataclass(made) and not isinstance(made, type) else {"options": repr(made)}
    return {"name": getattr(made, "name", type(made).__name__), **options}
