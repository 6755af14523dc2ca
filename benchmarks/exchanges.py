"""Time an exchange between processes of one machine that are one program, as a step of training makes several of them.

    python benchmarks/exchanges.py        half a minute

In every exchange each process has an array, and all of them get the sum.  Between exchanges nothing is computed.
"""

from __future__ import annotations

import argparse
import os
import socket
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from binn_prob.sharding import SITE, site_mesh

__all__ = ["main", "measured", "taken"]

EXCHANGES, REPEATS = 100, 5
SIZES = (8, 400, 40_000)
"""Numbers that are exchanged; a network of 8 hidden units has some 400"""
LAYOUTS = {"a core each": True, "all cores for each": False}
"""What a process may use → whether that is one core"""


def taken(address: str, processes: int, number: int, alone: bool) -> list[list[float]]:
    """Return the milliseconds of an exchange, by size and repeat, as one of the processes sees it."""
    if alone:
        there = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {there[number % len(there)]})
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    jax.distributed.initialize(address, processes, number)
    return [_of_size(size) for size in SIZES]


def _of_size(size: int) -> list[float]:
    mesh = site_mesh()
    share, whole = PartitionSpec(SITE), PartitionSpec()
    total = jax.shard_map(
        lambda own: jax.lax.psum(own[0], SITE), mesh=mesh, in_specs=share, out_specs=whole, check_vma=False
    )

    @jax.jit
    def exchanged(own: jax.Array) -> jax.Array:
        def one(own: jax.Array, _: None) -> tuple[jax.Array, None]:
            return 0.5 * own + total(own) / own.size, None  # each needs the one before

        return jnp.sum(jax.lax.scan(one, own, length=EXCHANGES)[0])

    given = jax.device_put(np.ones((mesh.size, size)), NamedSharding(mesh, share))
    exchanged(given).block_until_ready()
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        exchanged(given).block_until_ready()
        found.append(1e3 * (time.perf_counter() - began) / EXCHANGES)
    return found


def measured(processes: int, alone: bool) -> np.ndarray:
    """Return the milliseconds of an exchange (size, repeat) as the first of so many processes sees it."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        address = f"localhost:{one.getsockname()[1]}"
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        first, *others = [pool.submit(taken, address, processes, number, alone) for number in range(processes)]
        for one in others:
            one.result()
        return np.array(first.result())


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2, help="that are one program")
    processes = parser.parse_args().processes
    head = ("numbers", *(f"{name}, ms" for name in LAYOUTS))
    columns = [measured(processes, alone) for alone in LAYOUTS.values()]
    lines = [
        (f"{size:,}", *(f"{np.median(one[at]):.2f} ({one[at].min():.2f} to {one[at].max():.2f})" for one in columns))
        for at, size in enumerate(SIZES)
    ]
    for line in (head, ("---",) * len(head), *lines):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
