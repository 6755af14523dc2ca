"""From data to a comparison: one fit by the name of its method, and a whole run with its folder.

A run writes every piece into its folder as soon as it is there, each under a temporary name first: whatever happens
later, what has been computed is kept, and no file is ever half-written.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from binn_prob.errors import InputError
from binn_prob.options import build
from binn_prob.precision import ENVIRONMENT_VARIABLE, Precision, chosen_precision, use_precision
from binn_prob.record import Record

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.inference import Fit
    from binn_prob.results.compare import Comparison
    from binn_prob.settings import Device, Settings

__all__ = ["Run", "fit", "run", "use_device"]

_OTHER_DEVICE = {
    "cpu": "start a new process, for JAX keeps the device it has started on",
    "gpu": "install a JAX that supports the GPU of this machine, or choose --device cpu",
}


def fit(
    model: Any, dataset: xr.Dataset, method: Any = "nuts", seed: int = 0, progress: bool = True, **options: Any
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
    **options
        Fields of the method's dataclass, when ``method`` is a word.

    Returns
    -------
    Fit
        Gives the posterior of these sites and predicts others.

    Raises
    ------
    InputError
        If the dataset is not what it must be, there is no such method or option, or the method cannot serve the model.
    """
    import jax

    from binn_prob.data import fingerprint, validate
    from binn_prob.inference import METHODS
    from binn_prob.models import MODELS

    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed {seed!r}", "a whole number of at least 0", "correct seed")
    if isinstance(model, str):
        model = build("model", MODELS, model, {})
    if not callable(model):
        raise InputError(f"model {model!r}", "a model of binn_prob.models, or its word", "give for example BINN()")
    if isinstance(method, str):
        method = build("method", METHODS, method, options)
    elif options:
        got = f"options {', '.join(options)} beside a method that is already made"
        raise InputError(got, "options where the method is a word", "put them into the method")
    if not hasattr(method, "fit"):
        raise InputError(f"method {method!r}", f"one of {', '.join(METHODS)}, or a method", "correct method")
    fitted: Fit = method.fit(jax.random.key(seed), model, validate(dataset), progress=progress)
    origin: dict[str, str | int | float] = {"seed": seed, "data_fingerprint": fingerprint(dataset)}
    return replace(fitted, attributes={**origin, **fitted.attributes}, check=validate)


@dataclass(frozen=True)
class Run:
    """What a run leaves behind."""

    folder: Path
    comparison: Comparison | None
    """None if no method could fit"""
    failures: Mapping[str, str]
    """Method → why it could not fit"""


def run(
    settings: Settings,
    out: str | Path | None = None,
    *,
    progress: bool = True,
    say: Callable[[str], object] = lambda message: None,
) -> Run:
    """Do everything that the settings ask for: load, split, fit each method, compare, and keep it all in a folder.

    Sites that a model treats as independent cannot be predicted from others; then none is held out.

    Parameters
    ----------
    settings : Settings
        What to do.
    out : path, optional
        The run folder, which must be empty or new.  Default: ``runs/<time>-<name>``.
    progress : bool
        Whether the methods show their progress bars.
    say : callable
        Called with one line of text at each step.

    Returns
    -------
    Run
        The comparison, and the folder: ``comparison.csv``, ``posterior_<method>.nc``, ``figures/``, ``report.html``,
        ``settings.yaml`` and ``run.json``.  A method whose numbers stop being finite is named there, and the others are
        compared.

    Raises
    ------
    InputError
        If the settings, the data or the folder are not what they must be; nothing has been computed then.
    """
    folder = run_folder(settings.name, out)
    model, methods, settings = settings.build_model(), settings.build_methods(), settings.written_out()
    use_device(settings.device, settings.precision, chains=max(getattr(one, "chains", 1) for one in methods.values()))

    from binn_prob import data

    sites = data.validate(data.load(**settings.data.model_dump()))
    train, test = data.split(sites, **settings.split.model_dump()) if model.has_network else (sites, None)
    held_out = "none" if test is None else test.sizes["site"]
    say(f"{settings.data.name}: {train.sizes['site']} sites to learn from, {held_out} held out")
    say(f"results: {folder}")
    _make(folder)
    settings.to_yaml(folder / "settings.yaml")

    def posterior(method: Any) -> xr.DataTree:
        return fit(model, train, method, seed=settings.seed, progress=progress).tree(held_out=test)

    with Record(folder / "run.json", settings, data.fingerprint(sites)) as record:
        trees = _fit_each(methods, posterior, record, say)
        comparison = _compare(trees, settings.reference, record) if trees else None
    return Run(folder, comparison, record.failures)


def _fit_each(
    methods: Mapping[str, Any],
    posterior: Callable[[Any], xr.DataTree],
    record: Record,
    say: Callable[[str], object],
) -> dict[str, xr.DataTree]:
    """Fit every method and write its tree at once; a method that fails is recorded and left out."""
    from binn_prob.inference import FitError
    from binn_prob.results import storage

    trees = {}
    for number, (word, method) in enumerate(methods.items(), start=1):
        say(f"{word} ({number} of {len(methods)})")
        try:
            with record.timing(word):
                trees[word] = posterior(method)
        except FitError as error:
            record.fail(word, error)
            continue
        storage.save(trees[word], record.folder / f"posterior_{word}.nc")
    return trees


def _compare(trees: Mapping[str, xr.DataTree], reference: str | None, record: Record) -> Comparison:
    """Compare what was fitted, and write table, figures and report."""
    from binn_prob.results.compare import compare

    with record.timing("comparison"):
        comparison = compare(trees, reference=reference if reference in trees else None)
        command = f"binn-prob compare --config {shlex.quote(str(record.folder / 'settings.yaml'))}"
        comparison.save(record.folder, command=command, posteriors=False)  # each is there since its fit
    return comparison


def run_folder(name: str, out: str | Path | None = None) -> Path:
    """Return the folder for a run, which is empty or does not exist yet.

    Raises
    ------
    InputError
        If ``out`` is a file or holds something.
    """
    folder = Path(out) if out is not None else Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{name}"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}, which is a file", "a folder for the results", "give another --out")
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise InputError(f"{folder}, which cannot be written to", "a writable folder", "give another --out")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}, which is not empty", "an empty or a new folder", "give another --out or empty it")
    return folder


def _make(folder: Path) -> None:
    """Make a folder and those above it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cure = "give another --out"
        raise InputError(f"{folder}, which cannot be made ({error.strerror})", "a writable folder", cure) from None


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
