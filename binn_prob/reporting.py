"""Posteriors that runs have left, side by side: compared anew, or diagnosed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from binn_prob.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.results.compare import Comparison

__all__ = ["posteriors", "report"]


def posteriors(runs: Sequence[str | Path]) -> dict[str, xr.DataTree]:
    """Return the posteriors that runs have left.

    Parameters
    ----------
    runs : sequence of paths
        Folders of runs, or single files ``posterior_<method>.nc``.

    Returns
    -------
    dict
        By the word of the method; where several runs have one of the same word, with the name of the folder behind it.

    Raises
    ------
    InputError
        If there is no posterior in a folder, a file is missing or damaged, or two of them have the same name.
    """
    from binn_prob.results import storage

    paths = [path for run in runs for path in _files(Path(run))]
    words = [path.stem.removeprefix("posterior_") for path in paths]
    names = [
        word if words.count(word) == 1 else f"{word}-{path.resolve().parent.name}"
        for word, path in zip(words, paths, strict=True)
    ]
    for name in names:
        if names.count(name) > 1:
            cure = "name each run once, and give folders of other names to the rest"
            raise InputError(f"two posteriors called {name!r}", "posteriors of different names", cure)
    return {name: storage.load(path) for name, path in zip(names, paths, strict=True)}


def report(
    runs: Sequence[str | Path], reference: str | None = None, out: str | Path | None = None
) -> tuple[Comparison, Path]:
    """Compare the posteriors that runs have left, and write scores, figures and report.

    Parameters
    ----------
    runs : sequence of paths
        As for :func:`posteriors`; all fitted to the same sites.
    reference : str, optional
        The method that the others are held against.  Default: that of the first run's settings, where it is there.
    out : path, optional
        Folder to write to, over what a report has left there before.  Default: the folder of the only run.

    Returns
    -------
    tuple
        The comparison, and the folder.

    Raises
    ------
    InputError
        As :func:`posteriors` and :func:`binn_prob.compare`; if there are several runs and no ``out``.
    """
    from binn_prob.results.compare import compare

    trees = posteriors(runs)
    if out is None and (len(runs) != 1 or not Path(runs[0]).is_dir()):
        got = f"{', '.join(map(str, runs))} without a folder for their report"
        raise InputError(got, "the folder of one run, or --out", "add --out")
    folder = Path(runs[0] if out is None else out)
    if folder.is_file():
        raise InputError(f"{folder}, which is a file", "a folder for the report", "give another --out")
    chosen = _reference(Path(runs[0]), trees) if reference is None else reference
    comparison = compare(trees, reference=chosen)
    named = [] if chosen is None else ["--reference", chosen]
    command = shlex.join(["binn-prob", "report", *map(str, runs), *named, "--out", str(folder)])
    comparison.save(folder, command=command, posteriors=False)
    return comparison, folder


def _files(run: Path) -> list[Path]:
    """Return the posteriors in the folder of a run, or the file itself."""
    if run.is_file():
        return [run]
    found = sorted(run.glob("posterior_*.nc"))
    if not found:
        raise InputError(f"{run}, where there is no posterior", "the folder of a run", "correct it, or run a fit first")
    return found


def _reference(run: Path, trees: dict[str, xr.DataTree]) -> str | None:
    """Return the name of the reference of a run's settings, if it is among the posteriors."""
    from binn_prob.settings import Settings

    path = run / "settings.yaml"
    word = Settings.from_yaml(path).reference if path.is_file() else None
    return next((name for name in (word, f"{word}-{run.resolve().name}") if name in trees), None)
