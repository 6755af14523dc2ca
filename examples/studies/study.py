"""What the studies share: cases whose rows are kept as soon as they are measured, and a page that says what came out.

A study is a list of :class:`Case`, each a measurement that returns a table.  ``rows/<case>.json`` in the output folder
holds what was measured, with what was asked for, the versions and the commit.  A case whose file is there is not
measured again, even if a default of the library has changed since, and one that was killed goes on from its checkpoint.
From all rows the study makes tables and figures, and :func:`run` writes them between two markers of its page,
``docs/studies/<name>.md``; what stands around them is written by hand.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pages import Page, write
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import binn_prob as bp
from binn_prob.devices import use_device
from binn_prob.files import locked, replacing
from binn_prob.inference import FitError
from binn_prob.provenance import differences, git_commit, versions

__all__ = ["Case", "Page", "Study", "averaged", "main", "of_means", "over_folds", "run", "share", "value"]

DOCUMENTS = Path(__file__).resolve().parent.parent.parent / "docs" / "studies"


@dataclass(frozen=True)
class Case:
    """One measurement of a study."""

    name: str
    measure: Callable[..., pd.DataFrame]
    """Called with the folder for its checkpoints, and with ``asked`` by name"""
    asked: Mapping[str, Any]
    """What its rows depend on: numbers, texts, and mappings and lists of them"""
    after: int = 0
    """Cases of lower numbers are measured before, for it needs what they leave"""
    devices: int = 1
    """As how many devices JAX sees its core: one for each Markov chain of a network"""
    one_core: bool = False
    """Whether it keeps to one core, where it would have more, because it is timed on one"""


@dataclass(frozen=True)
class Study:
    """A question, what is measured to answer it, and how the page is made of it."""

    name: str
    """Of its script, its page and its files"""
    title: str
    cases: Callable[[bool], Sequence[Case]]
    """What to measure, few and small if asked for small"""
    page: Callable[[pd.DataFrame], Page]
    """Makes the page from the rows of all cases, which have the column ``case`` and what each has measured"""
    alone: bool = False
    """Whether every case has all cores to itself, because it is timed; else each has one"""


def run(study: Study, arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, measure what is missing, and write the page; return 1 if a case could not be measured.

    There is then no page, for it would be of a part; the rows of the others stay.
    """
    given = _arguments(study, arguments)
    small = " --small" if given.small else ""
    cases = list(study.cases(given.small))
    with locked(given.out):
        missing = [case for case in cases if _kept(given.out, case) is None]
        begun = sum(any((given.out / "checkpoints" / case.name).glob("*")) for case in missing)
        print(
            f"{len(cases) - len(missing)} of {len(cases)} cases are there already, and {begun} have been begun",
            flush=True,
        )
        for _, together in groupby(sorted(missing, key=lambda case: case.after), lambda case: case.after):
            if _measure_all(given.out, list(together), given.processes):
                return 1
        kept = [one for case in cases if (one := _kept(given.out, case)) is not None]
    document = given.document or (given.out if given.small else DOCUMENTS) / f"{study.name}.md"
    write(study.name, study.title, study.page, kept, document, f"python examples/studies/{study.name}.py{small}")
    print(f"{document} written")
    return 0


def _measure_all(folder: Path, cases: Sequence[Case], processes: int) -> int:
    """Measure some cases, so many at a time, and return how many could not be measured.

    Each has a process of its own, so that none finds compiled what another has compiled.  One that is killed ends the
    run; what was measured before stays.  Side by side, each has a core of its own.  With 0, all are measured in this
    process.
    """
    if processes == 0:
        return sum(_complaint(case, partial(_measured, folder, case)) for case in tqdm(cases))
    failed, context = 0, get_context("spawn")
    cores = context.Queue()
    for core in sorted(os.sched_getaffinity(0))[:processes] if processes > 1 else (None,):
        cores.put(core)
    pool = ProcessPoolExecutor(
        processes, mp_context=context, initializer=_set_cores, initargs=(cores,), max_tasks_per_child=1
    )
    with pool, tqdm(total=len(cases)) as bar:
        running = {pool.submit(_measure, folder, case): case for case in cases}
        for done in as_completed(running):
            failed += _complaint(running[done], done.result)
            bar.update()
    return failed


def _complaint(case: Case, result: Callable[[], float]) -> bool:
    """Say how long a case took, or why it could not be measured; return whether it could not."""
    try:
        tqdm.write(f"{case.name}: {result():.0f} s")
    except (FitError, bp.InputError, BrokenProcessPool) as error:
        tqdm.write(f"{case.name}: {error}", file=sys.stderr)
        return True
    except Exception:  # whatever it is, the cases beside it go on
        tqdm.write(f"{case.name}: {traceback.format_exc()}", file=sys.stderr)
        return True
    return False


def _set_cores(cores: Any) -> None:
    global _cores
    _cores = cores


_cores: Any = None
"""Cores that no case has: a queue that the processes share"""


def _measure(folder: Path, case: Case) -> float:
    """Measure a case on a core of its own, if they are handed out."""
    core = _cores.get()
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
        return _measured(folder, case)
    finally:
        _cores.put(core)


def main(study: Study) -> None:
    """Run a study as a command."""
    try:
        sys.exit(run(study))
    except bp.InputError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print("Interrupted: the same command goes on from here.", file=sys.stderr)
        sys.exit(130)


def value(number: float, error: float = math.nan, digits: int = 2) -> str:
    """Return a number with its standard error as text, with the digits that this needs; a dash if there is none."""
    if pd.isna(number):
        return "–"
    digits = _digits(error, digits)
    return f"{number:.{digits}f}" + ("" if pd.isna(error) else f" ± {error:.{digits}f}")


def share(number: float, error: float = math.nan) -> str:
    """Return a share with its standard error as text, in percent; a dash if there is none."""
    text = value(100 * number, 100 * error, digits=0)
    return text if text == "–" else f"{text} %"


def _digits(error: float, least: int) -> int:
    """Return how many digits show the first one of an error."""
    return max(least, math.ceil(-math.log10(error))) if error > 0 else least


def averaged(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return value and error of the mean over repetitions, such as folds or truths: of rows that agree in some columns.

    The error is the larger of two: the standard deviation over the repetitions by the root of their number, and what
    their own errors, over their sites, come to.  The first alone is too small where a few of them happen to agree, and
    of folds if anything, for these share most of what is learnt from (Bengio and Grandvalet 2004, JMLR 5, 1089–1105).
    """
    error = rows["error"].astype(float)  # where no case has one, they are all None
    grouped = rows.assign(square=error**2).groupby(list(by)).agg(
        value=("value", "mean"), sem=("value", "sem"), square=("square", "mean"), number=("value", "size")
    )  # fmt: skip
    own = np.sqrt(grouped["square"] / grouped["number"])
    return pd.DataFrame({"value": grouped["value"], "error": np.fmax(grouped["sem"], own)})


def of_means(means: pd.DataFrame) -> Callable[..., tuple[float, float]]:
    """Return a function that gives a mean and its error, see :func:`averaged`, by its key; NaN where there is none."""

    def of(*key: Any) -> tuple[float, float]:
        if key not in means.index:
            return math.nan, math.nan
        return float(means.loc[key, "value"]), float(means.loc[key, "error"])

    return of


def over_folds(rows: pd.DataFrame, by: str) -> Callable[..., tuple[float, float]]:
    """Return a function that gives the mean of a measure over folds and its error, by what it is of and measure."""
    return of_means(averaged(rows, (by, "measure")))


def _arguments(study: Study, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=study.title)
    parser.add_argument("--small", action="store_true", help="few sites and steps, to see that it runs")
    parser.add_argument("--processes", type=int, help="cases measured at a time; default: one to a core, 0 if small")
    parser.add_argument("--out", type=Path, help="folder of rows and checkpoints; default: in runs/studies")
    parser.add_argument("--document", type=Path, help="page to write; default: in docs/studies, or if small in --out")
    given = parser.parse_args(arguments)
    if given.processes is None:
        given.processes = 0 if given.small else 1 if study.alone else len(os.sched_getaffinity(0))
    given.out = given.out or Path("runs") / "studies" / (study.name + ("-small" if given.small else ""))
    return given


def _path(folder: Path, case: Case) -> Path:
    return folder / "rows" / f"{case.name}.json"


def _measured(folder: Path, case: Case) -> float:
    """Measure a case and keep its rows; return the seconds it took.  Its checkpoints are then removed."""
    began, checkpoints = time.perf_counter(), folder / "checkpoints" / case.name
    resumed = checkpoints.exists()
    checkpoints.mkdir(parents=True, exist_ok=True)
    with _cores_of(case) as cores:
        use_device("auto", None, devices=case.devices)
        import jax

        rows = case.measure(checkpoints, **case.asked)
        device = jax.devices()[0].device_kind
    kept = {
        "case": case.name,
        "asked": case.asked,
        "rows": json.loads(rows.to_json(orient="records", double_precision=15)),
        "seconds": time.perf_counter() - began,
        "resumed": resumed,
        "device": device,
        "cores": cores,
        "versions": versions(),
        "git_commit": git_commit(),
    }
    path = _path(folder, case)
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    shutil.rmtree(checkpoints)
    return float(kept["seconds"])


@contextmanager
def _cores_of(case: Case) -> Iterator[int]:
    """Keep to one core if the case does, from before JAX starts its threads; give the number of cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)} if case.one_core else before)
    try:
        with threadpool_limits(len(os.sched_getaffinity(0))):  # of NumPy, which counted the cores before
            yield len(os.sched_getaffinity(0))
    finally:
        os.sched_setaffinity(0, before)


def _kept(folder: Path, case: Case) -> dict[str, Any] | None:
    """Return what was measured of a case; None if it has not been.

    Raises
    ------
    InputError
        If it was measured with other settings.
    """
    path = _path(folder, case)
    if not path.is_file():
        return None
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if changes := differences(kept["asked"], json.loads(json.dumps(case.asked))):
        cure = "remove it and its checkpoint to measure it again, or give another --out"
        raise bp.InputError(f"{path}, where {changes}", "what was measured of the case as it is now", cure)
    return kept
