"""Measure the solver, and rewrite the table of ``docs/performance.md``.

    python benchmarks/solver.py                       some minutes on two CPU cores
    python benchmarks/solver.py --keep runs/solver    and keep what pytest-benchmark has written

Times are ratios of medians within one process; see :mod:`solver_timings`.  Every precision and number of threads has a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from method_table import rewrite

from binn_prob.provenance import git_commit, versions

__all__ = ["BEGIN", "END", "main", "measured", "table"]

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin, written by benchmarks/solver.py -->", "<!-- measured: end -->"
CONFIGURATIONS = tuple((precision, threads) for precision in ("float64", "float32") for threads in (2, 1))
"""Precision and number of threads"""

HEAD = (
    "sites", "forward, µs a site", "value and gradient, of forward", "dense solution, of forward",
    "LAPACK site by site, of forward", "memory, kB a site",
)  # fmt: skip
FLOOR_HEAD = (
    "floor", "operations a site", "exponentials and logarithms a site", "kB read and written a site",
    "arithmetic, µs a site", "memory, µs a site",
)  # fmt: skip
FLOOR_AT = (1402, 25925)
"""Numbers of sites whose times are held against the floor"""
_BLANK = "–"

Timings = Mapping[tuple[str, int], Mapping[str, Any]]
"""Test and number of sites → statistics of pytest-benchmark, with what XLA says"""


def measured(folder: Path, precision: str, threads: int) -> Timings:
    """Run the timings in a process of their own."""
    out = folder / f"{precision}-{threads}.json"
    environment = {**os.environ, "BINN_PROB_PRECISION": precision, "JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # what is found there is not compiled
    cores = sorted(os.sched_getaffinity(0))[:threads]
    command = [sys.executable, "-m", "pytest", "-n", "0", str(HERE / "solver_timings.py"), f"--benchmark-json={out}"]
    subprocess.run(command, env=environment, check=True, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    return read(out)


def read(path: Path) -> Timings:
    """Read what pytest-benchmark has written."""
    found = {}
    for one in json.loads(path.read_text(encoding="utf-8"))["benchmarks"]:
        name = one["name"].partition("[")[0].removeprefix("test_")
        sites = (one["params"] or {}).get("sites", 0)
        found[name, sites] = {"seconds": one["stats"]["median"], **one["extra_info"]}
    return found


def table(timings: Timings) -> str:
    """Return the times of one process as Markdown."""

    def ratio(name: str, sites: int) -> str:
        other = timings.get((name, sites))
        return _BLANK if other is None else f"{other['seconds'] / timings['forward', sites]['seconds']:.3g}"

    lines = [HEAD, ["---"] * len(HEAD)]
    for name, sites in timings:
        if name == "forward":
            one = timings[name, sites]
            memory = timings["value_and_gradient", sites].get("bytes")
            lines.append(
                [
                    f"{sites:,}",
                    f"{1e6 * one['seconds'] / sites:.3g}",
                    *(ratio(other, sites) for other in ("value_and_gradient", "dense", "lapack")),
                    _BLANK if memory is None else f"{memory / sites / 1e3:.3g}",
                ]
            )
    return _markdown(lines)


def floor(timings: Timings, threads: int) -> str:
    """Return as Markdown how long arithmetic and memory take a site at least, and how far from it the solver is.

    The speed of arithmetic is that of one core, by so many of them.
    """
    add, exponential, copy = (timings[name, 0] for name in ("multiply_add", "exponential", "memory"))
    per_operation, per_exponential = (one["seconds"] / one["count"] / threads for one in (add, exponential))
    per_byte = copy["seconds"] / copy["moved"]
    lines = [FLOOR_HEAD + tuple(f"of the floor, {sites:,} sites" for sites in FLOOR_AT)]
    lines.append(("---",) * len(lines[0]))
    for name in ("forward", "value_and_gradient"):
        many = timings[name, FLOOR_AT[-1]]
        moved = many["moved"] / FLOOR_AT[-1]
        arithmetic = many["flops"] * per_operation + many["transcendentals"] * per_exponential
        memory = moved * per_byte
        least = max(arithmetic, memory)
        lines.append(
            (
                name.replace("_", " "), f"{many['flops']:,.0f}", f"{many['transcendentals']:,.0f}",
                f"{moved / 1e3:.3g}", f"{1e6 * arithmetic:.3g}", f"{1e6 * memory:.3g}",
                *(f"{timings[name, sites]['seconds'] / sites / least:.2g}" for sites in FLOOR_AT),
            )
        )  # fmt: skip
    speeds = (
        f"An operation takes {1e9 * per_operation:.2g} ns, an exponential {1e9 * per_exponential:.2g} ns, and memory "
        f"gives {1e-9 / per_byte:.3g} GB/s."
    )
    return f"{_markdown(lines)}\n\n{speeds}"


def chunks(timings: Timings) -> str:
    """Return in words how the number of sites that are solved for at a time tells."""
    found = {sites: one["seconds"] for (name, sites), one in timings.items() if name == "chunks"}
    ratios = ", ".join(f"{seconds / found[256]:.2g} of {sites:,}" for sites, seconds in found.items() if sites != 256)
    return f"Value and gradient of 1,402 sites in chunks of other sizes than 256, of the time they take: {ratios}."


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure all configurations and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, help="folder for what pytest-benchmark writes; default: none is kept")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="page to write into")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = {one: measured(folder, *one) for one in CONFIGURATIONS}
    rewrite(given.document, block(found), BEGIN)


def processor() -> str:
    """Return the name of the processor after a comma, where the machine tells it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return "".join(f", {name}" for name in list(names)[:1])


def block(found: Mapping[tuple[str, int], Timings]) -> str:
    """Return all tables, and how they were made."""
    parts = []
    for (precision, threads), timings in found.items():
        compiled = timings["compilation", 0]["seconds"]
        words = f"{precision}, {threads} thread{'s' if threads > 1 else ''}; compilation of value and gradient"
        against = f"{floor(timings, threads)} {chunks(timings)}"
        parts.append(f"**{words}: {compiled:.1f} s**\n\n{table(timings)}\n\n{against}")
    software = ", ".join(f"{name} {versions()[name]}" for name in ("python", "jax", "numpy"))
    cores = f"{os.cpu_count()} CPU cores{processor()}"
    parts.append(f"Made by `python benchmarks/solver.py`: {cores}; {software}; commit {str(git_commit())[:7]}.")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
