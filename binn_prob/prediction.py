"""What the posteriors of a run say about other sites."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from binn_prob.data.sources import absolute, is_file_name
from binn_prob.devices import sharing, use_device
from binn_prob.errors import InputError
from binn_prob.files import LOCK, locked, replacing
from binn_prob.saved import run_file
from binn_prob.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from binn_prob.inference import Fit
    from binn_prob.results.convergence import Verdict

__all__ = ["Predicted", "predict", "stream"]


class Predicted(NamedTuple):
    """What a prediction leaves behind."""

    folder: Path
    processes: Mapping[str, pd.DataFrame]
    """Method → the six processes, averaged over the sites"""
    verdicts: Mapping[str, Verdict]
    """Method → whether the fit has converged that predicts"""


def predict(
    run: str | Path,
    data: Mapping[str, Any],
    methods: Sequence[str] | None = None,
    out: str | Path | None = None,
    *,
    device: str | None = None,
    devices: int | str | None = None,
    precision: str | None = None,
    say: Callable[[str], object] = lambda message: None,
) -> Predicted:
    """Predict sites from the posteriors of a run, and write what comes out.

    Parameters
    ----------
    run : path
        Folder of a run.
    data : mapping
        Arguments of :func:`binn_prob.data.load`: which sites.
    methods : sequence of str, optional
        Words of the methods.  Default: the reference of the run, else its first method.
    out : path, optional
        Folder to write to: for each method ``prediction_<method>.nc`` with all draws, ``prediction_<method>.csv`` with
        :func:`binn_prob.results.summary.by_site`, and ``maps_<method>.png`` and ``.pdf``; empty or new.  Default:
        ``prediction-<data>`` in the folder of the run.
    device, precision : str, optional
        Default: as the run had them.
    devices : int or "all", optional
        Among how many devices sites are shared out.  Default: as the run had it.
    say : callable
        Called with one line of text at each step.

    Returns
    -------
    Predicted

    Raises
    ------
    InputError
        As :func:`binn_prob.load_fit`, :func:`binn_prob.data.load` and :meth:`binn_prob.inference.Fit.predict`.
    """
    settings = Settings.from_yaml(run_file(run, "settings.yaml"), device=device, devices=devices, precision=precision)
    use_device(settings.device, settings.precision, shared=settings.devices)

    from binn_prob import data as sources
    from binn_prob.results import plots, storage, summary

    folder = Path(out) if out is not None else Path(run) / f"prediction-{Path(data['name']).stem}"
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder}, where there is something", "an empty or a new folder", "give another --out")
    sites = sources.validate(sources.load(**data))
    fits = _fits(run, methods, settings)
    found = {}
    for number, (word, fit) in enumerate(fits.items(), start=1):
        say(f"{word} ({number} of {len(fits)}): {sites.sizes['site']} sites")
        with sharing(settings.devices):
            tree = fit.predict(sites)
        folder.mkdir(parents=True, exist_ok=True)
        storage.save(tree, folder / f"prediction_{word}.nc")
        with replacing(folder / f"prediction_{word}.csv") as temporary:
            summary.by_site(tree).to_csv(temporary, index=False)
        _draw(plots.maps(tree, _titled(word, fit)), folder / f"maps_{word}")
        found[word] = summary.processes(tree)
    return Predicted(folder, found, {word: fit.verdict for word, fit in fits.items()})


def stream(
    run: str | Path,
    data: str,
    methods: Sequence[str] | None = None,
    out: str | Path | None = None,
    *,
    memory: float | None = None,
    resume: bool = False,
    device: str | None = None,
    devices: int | str | None = None,
    precision: str | None = None,
    progress: bool = True,
    say: Callable[[str], object] = lambda message: None,
) -> Predicted:
    """Predict any number of sites from the posteriors of a run, in bounded memory, see :mod:`binn_prob.streaming`.

    Parameters
    ----------
    run, methods, device, devices, precision, say
        As in :func:`predict`.
    data : str
        Path of a netCDF file (``.nc``) or Zarr store (``.zarr``) of sites.
    out : path, optional
        As in :func:`predict`; what is written for each method is ``prediction_<method>.zarr``, with the means,
        deviations and quantiles of :mod:`binn_prob.results.summary_store`, and maps of some of the sites.
    memory : float, optional
        For the sites at hand [GiB].  Default: :data:`binn_prob.streaming.MEMORY`.
    resume : bool
        Go on with what is in the folder: chunks of sites that are there are not computed again.
    progress : bool
        Show bars.

    Raises
    ------
    InputError
        As :func:`binn_prob.load_fit` and :func:`binn_prob.streaming.predict`.
    """
    if not is_file_name(data):
        expected = "a netCDF file (.nc) or Zarr store (.zarr)"
        raise InputError(f"{data!r} to be predicted as a stream", expected, "save the sites to one, or do not stream")
    folder = Path(out) if out is not None else Path(run) / f"prediction-{Path(data).stem}"
    there = folder.is_dir() and any(file.name != LOCK for file in folder.iterdir())
    if folder.is_file() or (there and not resume):
        expected, cure = "an empty or a new folder", "give another --out, or go on there with --resume"
        raise InputError(f"{folder}, where there is something", expected, cure)
    settings = Settings.from_yaml(run_file(run, "settings.yaml"), device=device, devices=devices, precision=precision)
    use_device(settings.device, settings.precision, shared=settings.devices)

    from binn_prob import streaming
    from binn_prob.data.stored import stored
    from binn_prob.results import plots, summary, summary_store

    with stored(absolute(data)):
        pass  # a wrong path leaves no folder behind
    fits = _fits(run, methods, settings)
    found = {}
    with locked(folder):
        for number, (word, fit) in enumerate(fits.items(), start=1):
            say(f"{word} ({number} of {len(fits)}): {data}")
            path = folder / f"prediction_{word}.zarr"
            given = {} if memory is None else {"memory": memory}
            with sharing(settings.devices):
                streaming.predict(fit, absolute(data), path, resume=resume, progress=progress, **given)
            table = summary_store.overview(path)
            _draw(plots.maps_of_summaries(table, _titled(word, fit)), folder / f"maps_{word}")
            found[word] = summary.averaged(table["mean"], table["sd"])
    return Predicted(folder, found, {word: fit.verdict for word, fit in fits.items()})


def _fits(run: str | Path, methods: Sequence[str] | None, settings: Settings) -> dict[str, Fit]:
    """Return the fits of a run by method: of those that are named, or of the reference, or the first."""
    from binn_prob.saved import load_fit

    words = methods or [settings.reference or next(iter(settings.build_methods()))]
    return {word: load_fit(run, word) for word in words}


def _titled(word: str, fit: Fit) -> str:
    """Return what a figure calls a method."""
    return word if fit.verdict.converged else f"{word} (not converged)"


def _draw(figure: Figure, path: Path) -> None:
    """Write a figure to two files."""
    from binn_prob.results import plots

    for ending, written in (("png", plots.png(figure)), ("pdf", plots.pdf(figure))):
        with replacing(path.with_name(f"{path.name}.{ending}")) as temporary:
            temporary.write_bytes(written)
