"""What the posteriors of a run say about other sites."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from binn_prob.devices import use_device
from binn_prob.errors import InputError
from binn_prob.files import replacing
from binn_prob.saved import run_file
from binn_prob.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from binn_prob.results.convergence import Verdict

__all__ = ["Predicted", "predict"]


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
    settings = Settings.from_yaml(run_file(run, "settings.yaml"), device=device, precision=precision)
    use_device(settings.device, settings.precision, shared=settings.devices)

    from binn_prob import data as sources
    from binn_prob.results import plots, storage, summary
    from binn_prob.saved import load_fit

    folder = Path(out) if out is not None else Path(run) / f"prediction-{Path(data['name']).stem}"
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder}, where there is something", "an empty or a new folder", "give another --out")
    sites = sources.validate(sources.load(**data))
    words = methods or [settings.reference or next(iter(settings.build_methods()))]
    fits = {word: load_fit(run, word) for word in words}
    found = {}
    for number, (word, fit) in enumerate(fits.items(), start=1):
        say(f"{word} ({number} of {len(fits)}): {sites.sizes['site']} sites")
        tree = fit.predict(sites)
        folder.mkdir(parents=True, exist_ok=True)
        storage.save(tree, folder / f"prediction_{word}.nc")
        with replacing(folder / f"prediction_{word}.csv") as temporary:
            summary.by_site(tree).to_csv(temporary, index=False)
        figure = plots.maps(tree, word)
        for ending, written in (("png", plots.png(figure)), ("pdf", plots.pdf(figure))):
            with replacing(folder / f"maps_{word}.{ending}") as temporary:
                temporary.write_bytes(written)
        found[word] = summary.processes(tree)
    return Predicted(folder, found, {word: fit.verdict for word, fit in fits.items()})
