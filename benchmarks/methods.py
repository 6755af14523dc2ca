"""Measure every method on the models that it serves, and rewrite the table of ``docs/methods.md``.

    python benchmarks/methods.py                              all cases, at full size: hours on two CPU cores
    python benchmarks/methods.py --only binn-nuts             one of them; the others keep the rows that are there
    python benchmarks/methods.py --small                      all cases in some minutes, and no document

Every case leaves ``rows/<case>.json`` in the output folder as soon as it is measured, and is skipped when that is
there; a case that was killed goes on from ``checkpoints/<case>``, to the same draws.  A new case is a new row of
:data:`method_cases.CASES`.

The sites are synthetic, so that the truth is known.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from method_cases import BY_NAME, CASES, Case
from method_scores import scores
from method_table import rewrite, table

import binn_prob as bp
from binn_prob.devices import use_device, useful_devices
from binn_prob.files import locked, replacing
from binn_prob.options import written_out
from binn_prob.provenance import differences, git_commit, versions

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.inference import Fit

__all__ = ["Bench", "main", "measure_apart", "measure_here"]

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "methods.md"

SEED = 0
"""Of the sites, of their split and of every fit."""


@dataclass(frozen=True)
class Bench:
    """Sites, and the folder of the results."""

    folder: Path
    """For rows and checkpoints"""
    sites: int = 64
    """Synthetic sites, of which a fifth is held out"""
    small: bool = False
    """Whether the methods have their :data:`SMALL` options"""

    def split(self) -> tuple[xr.Dataset, xr.Dataset]:
        """Return the sites to learn from and those held out."""
        sites = bp.data.load("synthetic", sites=self.sites, seed=SEED)
        return bp.data.split(sites, by="location", test_fraction=0.2, seed=SEED)

    def asked(self, case: Case) -> dict[str, Any]:
        """Return all that a row depends on, software and machine apart."""
        model, method = (written_out(made) for made in case.build(self.small))
        first = {"first": self.asked(BY_NAME[case.first])} if case.first else {}
        return {"case": case.name, "sites": self.sites, "seed": SEED, "model": model, "method": method, **first}

    def row(self, case: Case) -> dict[str, Any] | None:
        """Return the row of a case; None if it has not been measured.

        Raises
        ------
        InputError
            If the row that is there was measured with other options or sites.
        """
        path = self._path(case)
        if not path.is_file():
            return None
        row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if changes := differences(row["asked"], json.loads(json.dumps(self.asked(case)))):
            cure = "remove it and its checkpoint to measure it again, or give another --out"
            raise bp.InputError(f"{path}, where {changes}", "a row of the case as it is now", cure)
        return row

    def measure(self, case: Case, train: xr.Dataset, test: xr.Dataset) -> dict[str, Any]:
        """Fit a case, and write and return its row; a fit that fails has a row that says why."""
        import jax

        try:
            found = scores(case.name, self.fit(case, train), test)
        except bp.inference.FitError as error:
            found = {"failure": " ".join(str(error).split())}
        sites = {"train": train.sizes["site"], "held_out": test.sizes["site"]}
        software = {
            "versions": versions(),
            "git_commit": git_commit(),
            "cores": os.cpu_count(),
            "device": jax.devices()[0].device_kind,
        }
        row = {"asked": self.asked(case), **found, **sites, **software}
        self._path(case).parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path(case)) as temporary:
            temporary.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
        return row

    def fit(self, case: Case, train: xr.Dataset) -> Fit:
        """Fit a case, or go on with its fit; a first stage that was fitted before is read from its checkpoint."""
        model, method = case.build(self.small)
        if case.first:
            first = self.fit(BY_NAME[case.first], train)
            if (row := self.row(BY_NAME[case.first])) is not None:  # not the time that it took to read its checkpoint
                first = replace(first, wall_seconds=row["seconds"])
            return bp.upscale(first, model, method=method, seed=SEED, progress=sys.stderr.isatty())
        checkpoint = self.folder / "checkpoints" / case.name
        options = {"seed": SEED, "progress": sys.stderr.isatty(), "checkpoint": checkpoint, "resume": True}
        return bp.fit(model, train, method, **options)

    def _path(self, case: Case) -> Path:
        return self.folder / "rows" / f"{case.name}.json"

    def run(self, chosen: Sequence[Case], measure: Measure, say: Say = print) -> tuple[dict[str, Any], list[str]]:
        """Measure the chosen cases that have no row yet.

        Returns
        -------
        rows : dict
            Case → its row, of all that have one then.
        complaints : list of str
            Why there are none of some that were chosen.
        """
        complaints = []
        with locked(self.folder):
            for case in chosen:
                there = self.row(case) is not None
                say(f"{case.name}: there already" if there else case.name)
                if not there and (complaint := measure(self, case)):
                    complaints.append(f"{case.name}: {complaint}")
                    say(complaints[-1])
            found = {case.name: self.row(case) for case in CASES}
        return {name: row for name, row in found.items() if row is not None}, complaints


Measure = Callable[[Bench, Case], str]
"""Measures one case; returns an empty text, or why it could not."""

Say = Callable[[str], object]
"""Called with one line of text at each step."""


def measure_here(bench: Bench, case: Case) -> str:
    """Measure a case in this process."""
    try:
        bench.measure(case, *bench.split())
    except bp.InputError as error:
        return str(error)
    return ""


def measure_apart(bench: Bench, case: Case) -> str:
    """Measure a case in a process of its own.

    So no case finds compiled what another has compiled, the CPU is divided as the method likes it best, and a process
    that is killed, such as for its memory, does not take the others with it.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_measure_on_device, bench, case).result()
        except BrokenProcessPool:
            return "its process has died; the same command goes on from its checkpoint"


def _measure_on_device(bench: Bench, case: Case) -> str:
    """Measure a case on as many devices as its method, or that of its first stage, serves best."""
    _, method = (BY_NAME[case.first] if case.first else case).build(bench.small)
    use_device("auto", None, devices=useful_devices([method]))
    return measure_here(bench, case)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, measure, and rewrite the document; return 1 if a case could not be measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="few sites and steps, and no document unless one is named")
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=BY_NAME, help=f"of {', '.join(BY_NAME)}")
    parser.add_argument("--out", type=Path, help="folder of rows and checkpoints; runs/methods, or runs/methods-small")
    parser.add_argument("--document", type=Path, help="to rewrite, instead of docs/methods.md")
    given = parser.parse_args(arguments)
    folder = given.out or Path("runs") / ("methods-small" if given.small else "methods")
    bench = Bench(folder, sites=10 if given.small else 64, small=given.small)
    rows, complaints = bench.run([BY_NAME[name] for name in given.only or BY_NAME], measure_apart)
    document = given.document or (None if given.small else DOCUMENT)
    if document is not None:
        rewrite(document, table(CASES, rows, "python benchmarks/methods.py" + (" --small" if given.small else "")))
        print(f"{document} rewritten")
    return 1 if complaints else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except bp.InputError as error:
        sys.exit(f"Error: {error}")
