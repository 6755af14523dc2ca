"""A whole run with its folder: load, split, fit each method, compare.

A run writes every piece into its folder as soon as it is there, each under a temporary name first: whatever happens
later, what has been computed is kept, and no file is ever half-written.  A run that was killed can be resumed: methods
whose posterior is there are taken as they are, and the one that was under way goes on from its checkpoint in
``checkpoints/<method>``.  When the run has ended the checkpoints are removed.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from binn_prob.devices import failing_together, sharing, use_device, useful_devices
from binn_prob.errors import InputError
from binn_prob.farm.running import fit_on_cluster, refuse_unsuited
from binn_prob.files import locked, remove_leftovers, replacing
from binn_prob.fitting import fit, upscale
from binn_prob.record import FILE, Record
from binn_prob.run_folder import folder_of_process, refuse_another, run_folder

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.results.compare import Comparison
    from binn_prob.results.convergence import Convergence, Verdict
    from binn_prob.settings import Settings

__all__ = ["Run", "fit", "run", "silent", "use_device"]

Say = Callable[[str], object]
"""Called with one line of text at each step."""


@dataclass(frozen=True)
class Run:
    """What a run leaves behind."""

    folder: Path
    comparison: Comparison | None = None
    """None if none was asked for, or no method could fit"""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """Method → whether it has converged, and why not"""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Method → why it could not fit"""

    def unconverged(self) -> dict[str, Verdict]:
        """Return the verdicts on the methods that have not converged though the run rests on them.

        Without a comparison that is every method; with one see :meth:`Comparison.unconverged`.
        """
        if self.comparison is not None:
            return self.comparison.unconverged()
        return {word: verdict for word, verdict in self.verdicts.items() if not verdict.converged}


def run(
    settings: Settings,
    out: str | Path | None = None,
    *,
    compared: bool = True,
    resume: bool = False,
    progress: bool = True,
    say: Say = lambda message: None,
) -> Run:
    """Do everything that the settings ask for: load, split, fit each method, compare, and keep it all in a folder.

    Parameters
    ----------
    settings : Settings
        What to do.
    out : path, optional
        The run folder, which must be empty or new.  Default: ``runs/<time>-<name>``.
    compared : bool
        Whether to compare the methods once they are fitted.
    resume : bool
        Whether ``out`` may hold an earlier run with the same settings, to be finished.
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
        If the settings, the data or the folder are not what they must be, and nothing has been computed then; if
        another process writes to the folder, or the disk is full; if any of that is so in another process of the
        same program.
    """
    folder = run_folder(settings.name, out, resume=resume)
    model, methods, settings = settings.build_model(), settings.build_methods(), settings.written_out()
    if settings.distributed:
        _refuse_distributed(methods)
    refuse_unsuited(settings, methods, compared=compared)
    use_device(
        settings.device, settings.precision, 1 if settings.distributed else useful_devices(methods.values()),
        shared=settings.devices, distributed=settings.distributed,
    )  # fmt: skip
    with folder_of_process(folder) as own:
        if own != folder:
            progress, say = False, silent
        return _run(settings, model, methods, own, compared=compared, resume=resume, progress=progress, say=say)


def _run(
    settings: Settings,
    model: Any,
    methods: Mapping[str, Any],
    folder: Path,
    *,
    compared: bool,
    resume: bool,
    progress: bool,
    say: Say,
) -> Run:
    """Do what :func:`run` does, once JAX has started."""
    from binn_prob import data
    from binn_prob.settings import UPSCALING
    from binn_prob.sites import chosen
    from binn_prob.stages import first_stage, restricted

    checkpoints = folder / "checkpoints"
    with ExitStack() as held:
        with failing_together():
            refuse_another(folder, settings)
            sites = chosen(settings)
            train, test = sites.train, sites.test
            first = None if settings.first_stage is None else restricted(first_stage(settings.first_stage), train)
            for method in methods.values():
                method.check(model, first if method.name == UPSCALING else train)
            held.enter_context(locked(checkpoints))
            remove_leftovers(folder)
            kept = _kept(methods, folder, data.fingerprint(train), say) if resume and settings.cluster is None else {}
            settings.to_yaml(folder / "settings.yaml")
            record = Record(folder / FILE, settings, data.fingerprint(sites.all))
        held_out = "none" if test is None else test.sizes["site"]
        say(f"{settings.data.name}: {train.sizes['site']} sites to learn from, {held_out} held out")
        say(f"results: {folder}")

        def posterior(method: Any, checkpoint: Path) -> xr.DataTree:
            options: dict[str, Any] = {"seed": settings.seed, "progress": progress, "checkpoint": checkpoint}
            options |= {"method": method, "resume": resume}
            with sharing(settings.devices, distributed=settings.distributed):
                if first is not None and method.name == UPSCALING:
                    fitted = upscale(first, model, **options)
                else:
                    fitted = fit(model, train, **options)
                say(f"{method.name} is fitted; its draws are turned into parameters, processes and carbon")
                return fitted.tree(held_out=test)

        with record:
            if settings.cluster is None:
                trees = _fit_each(methods, kept, posterior, record, say)
                done = _finished(trees, settings.reference, record, say, compared=compared)
            else:
                done = _judged(fit_on_cluster(settings, model, methods, train, record, progress, say), record)
        shutil.rmtree(checkpoints)
    return done


def _refuse_distributed(methods: Mapping[str, Any]) -> None:
    """Refuse methods whose sites need no word between processes.

    Raises
    ------
    InputError
        Naming the method.
    """
    for word, method in methods.items():
        if method.needs_independent_sites:
            got = f"method {word!r} of independent sites, and one program of many processes"
            raise InputError(got, "a method of a model with a network", "leave --distributed out")


def silent(message: str) -> None:
    """Say nothing."""


def _kept(methods: Mapping[str, Any], folder: Path, fingerprint: str, say: Say) -> dict[str, xr.DataTree]:
    """Return the posteriors that an earlier process has finished.

    Raises
    ------
    InputError
        If one is of other data.
    """
    from binn_prob.results import storage

    kept = {}
    for word in methods:
        path = folder / f"posterior_{word}.nc"
        if not path.exists():
            continue
        try:
            kept[word] = storage.load(path)
        except InputError as error:
            say(f"{word} is fitted again: {error.got}")
            continue
        if kept[word].attrs.get("data_fingerprint") != fingerprint:
            cure = "bring the data back as they were, or start again with another --out"
            raise InputError(f"{path}, fitted to other data", "a posterior of the data that are there now", cure)
    return kept


def _fit_each(
    methods: Mapping[str, Any],
    kept: Mapping[str, xr.DataTree],
    posterior: Callable[[Any, Path], xr.DataTree],
    record: Record,
    say: Say,
) -> dict[str, xr.DataTree]:
    """Fit every method and write its tree at once; a method that fails is recorded and left out."""
    from binn_prob.inference import FitError
    from binn_prob.inference.checkpoint import spent
    from binn_prob.results import storage

    trees = {}
    for number, (word, method) in enumerate(methods.items(), start=1):
        say(f"{word} ({number} of {len(methods)}{', there already' if word in kept else ''})")
        if word in kept:
            trees[word] = kept[word]
            continue
        checkpoint = record.folder / "checkpoints" / word
        try:
            with record.timing(word, before=spent(checkpoint)):
                trees[word] = posterior(method, checkpoint)
        except FitError as error:
            record.fail(word, error)
            continue
        storage.save(trees[word], record.folder / f"posterior_{word}.nc")
        shutil.rmtree(checkpoint, ignore_errors=True)
    return trees


def _finished(
    trees: Mapping[str, xr.DataTree], reference: str | None, record: Record, say: Say, *, compared: bool
) -> Run:
    """Judge what was fitted and, if asked, compare it and write table, figures and report."""
    from binn_prob.results.compare import compare
    from binn_prob.results.convergence import summarise

    comparison = None
    if compared and trees:
        with record.timing("comparison"):
            say("the methods are compared")
            comparison = compare(trees, reference=reference if reference in trees else None)
            say("figures and the report are made")
            command = f"binn-prob compare --config {shlex.quote(str(record.folder / 'settings.yaml'))}"
            comparison.save(record.folder, command=command, posteriors=False)  # each is there since its fit
    diagnosed = comparison.convergence if comparison else {word: summarise(tree) for word, tree in trees.items()}
    return _judged(diagnosed, record, comparison)


def _judged(diagnosed: Mapping[str, Convergence], record: Record, comparison: Comparison | None = None) -> Run:
    """Record which methods have converged, and of every site why not."""
    verdicts = {word: found.verdict for word, found in diagnosed.items()}
    record.judge(verdicts)
    for word, found in diagnosed.items():
        if found.sites is not None:  # the verdict names but a few of them
            with replacing(record.folder / f"convergence_{word}.csv") as temporary:
                found.sites.to_dataframe().to_csv(temporary)
    return Run(record.folder, comparison, verdicts, record.failures)
