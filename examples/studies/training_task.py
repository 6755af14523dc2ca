"""One of several processes that train one network together, each on cores of its own: how long a step takes.

:func:`together` starts them and returns what the first one has measured.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

__all__ = ["main", "together"]


def together(processes: int, **asked: Any) -> list[float]:
    """Return the seconds of a training step, as often as was asked for, of so many processes on one machine.

    Raises
    ------
    RuntimeError
        If one of them fails, with what it has said.
    """
    with socket.socket() as one:
        one.bind(("localhost", 0))
        address = f"localhost:{one.getsockname()[1]}"
    commands = (
        [sys.executable, __file__, json.dumps({"number": number, "processes": processes, "address": address, **asked})]
        for number in range(processes)
    )
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    with ExitStack() as stack:
        said = [[stack.enter_context(TemporaryFile("w+")) for _ in range(2)] for _ in range(processes)]
        running = [
            subprocess.Popen(command, env=environment, stdout=answer, stderr=complaint)
            for command, (answer, complaint) in zip(commands, said, strict=True)
        ]
        failed = [one.wait() for one in running]  # all of them, for one alone would wait for the others
        for file in chain.from_iterable(said):
            file.seek(0)
        if any(failed):
            raise RuntimeError("\n".join(complaint.read() for _, complaint in said))
        last = said[0][0].read().splitlines()[-1]
    return [float(seconds) for seconds in json.loads(last)]


def main(
    number: int,
    processes: int,
    address: str,
    data: str,
    sites: int,
    cores: int,
    devices: int,
    few: int,
    more: int,
    repeats: int,
    seed: int,
) -> None:
    """Print how long a step takes: the difference of trainings of different length, by that of their lengths.

    What every training begins with, compilation above all, takes as long for a short one; a first one is not counted,
    unless only one is asked for.
    """
    there = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {there[(number * cores + core) % len(there)] for core in range(cores)})  # JAX counts them
    import jax

    from binn_prob.devices import sharing, use_device

    if processes > 1:
        jax.distributed.initialize(address, processes, number)
    shared = devices if devices > 1 or processes > 1 else None
    use_device("cpu", None, shared=shared, distributed=processes > 1)

    import binn_prob as bp

    dataset = bp.data.load(data).isel(site=slice(sites))

    def seconds(steps: int) -> float:
        how: dict[str, Any] = {"steps": steps, "patience": None, "draws": 2}
        return bp.fit("binn", dataset, "mc_dropout", seed=seed, progress=False, **how).wall_seconds

    with sharing(shared, distributed=processes > 1):
        if repeats > 1:
            seconds(few)
        found = [(seconds(more) - seconds(few)) / (more - few) for _ in range(repeats)]
    if number == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main(**json.loads(sys.argv[1]))
