"""Stream the predictions of many cells, and print the rows of the table of ``docs/scaling.md``.

    python benchmarks/streaming.py                   1,000,000 cells: some twenty minutes on two CPU cores, 4 GB of disk
    python benchmarks/streaming.py --cells 4000      to see that it runs

A landscape of cells is made, and predicted from a run of MC dropout on some profiles of the same landscape.  Every
command has a process of its own.  All files are in a folder that is removed in the end, unless one is named.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from binn_prob import cli
from binn_prob.memory import watched

__all__ = ["Taken", "main", "measured", "rows", "taken"]

SETTINGS = """
data: {{name: {profiles}}}
model: {{name: binn}}
methods: {{mc_dropout: {{draws: {draws}}}}}
"""
HEAD = ("command", "sites", "wall time", "CPU time", "peak memory of the process", "on disk")
NOT_CONVERGED = 3
"""Exit status of a command that did what it was to do, and says that a posterior has not converged"""


@dataclass(frozen=True)
class Taken:
    """What a command has taken."""

    wall: float
    """From the start of its process [s]"""
    cpu: float
    """Of all its threads [s]"""
    memory: float
    """Largest resident memory of its process [GiB]"""


def taken(arguments: list[str]) -> tuple[float, float]:
    """Run a command in this process, and return the CPU time of the process and its largest memory."""
    with watched() as peak, redirect_stdout(sys.stderr):  # where the table does not stand
        status = cli.main(arguments)
    if status not in (0, NOT_CONVERGED):
        raise RuntimeError(f"binn-prob {' '.join(arguments)} ended with status {status}")
    return time.process_time(), peak.gibibytes


def measured(*arguments: object) -> Taken:
    """Run a command in a process of its own."""
    print("binn-prob", *arguments, file=sys.stderr, flush=True)
    began = time.perf_counter()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        cpu, memory = alone.submit(taken, [str(one) for one in arguments]).result()
        wall = time.perf_counter() - began
    return Taken(wall, cpu, memory)


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def rows(folder: Path, cells: int, profiles: int, draws: int, memory: float) -> list[tuple[str, ...]]:
    """Return what making and predicting the cells has taken, as text."""
    made, sites, run, predicted = (folder / name for name in ("cells.zarr", "sites.zarr", "run", "predicted"))
    of_cells = measured("data", "landscape", made, "--sites", cells, "--grid", "--quiet")
    measured("data", "landscape", sites, "--sites", profiles, "--quiet")
    settings = folder / "settings.yaml"
    settings.write_text(SETTINGS.format(profiles=sites, draws=draws), encoding="utf-8")
    measured("fit", "--config", settings, "--out", run, "--quiet")
    how = ("--stream", "--memory", memory, "--out", predicted, "--quiet")
    of_prediction = measured("predict", run, "--data", made, *how)
    return [
        _row(f"binn-prob data landscape cells.zarr --sites {cells} --grid", cells, of_cells, size(made)),
        _row("binn-prob predict run --data cells.zarr --stream", cells, of_prediction, size(predicted)),
    ]


def _row(command: str, cells: int, found: Taken, written: int) -> tuple[str, ...]:
    times = (f"{found.wall:.0f} s", f"{found.cpu:.0f} s")
    return f"`{command}`", f"{cells:,}", *times, f"{found.memory:.2f} GiB", f"{written / 1e9:.2g} GB"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000_000, help="of the grid that is predicted")
    parser.add_argument("--profiles", type=int, default=1000, help="that the run is fitted to")
    parser.add_argument("--draws", type=int, default=50, help="of the run")
    parser.add_argument("--memory", type=float, default=1.0, help="for the sites at hand [GiB]")
    parser.add_argument("--out", type=Path, help="an empty folder to keep the files in")
    options = vars(parser.parse_args())
    with tempfile.TemporaryDirectory(prefix="streaming-") as temporary:
        folder = options.pop("out") or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = rows(folder, **options)
    for line in (HEAD, ("---",) * len(HEAD), *found):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
