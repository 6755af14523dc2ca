"""How much memory a piece of work takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Peak", "watched"]

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """The largest memory of the process while it was watched."""

    gibibytes: float = math.nan
    """Resident memory, that of all before included; NaN where the system does not tell, and before the end [GiB]"""


@contextmanager
def watched() -> Iterator[Peak]:
    """Watch the resident memory of the process, on Linux; memory of an accelerator is not in it."""
    peak = Peak()
    with suppress(OSError):
        _RESET.write_text("5")  # the mark of the highest water returns to where the water stands: man 5 proc
    try:
        yield peak
    finally:
        with suppress(OSError, StopIteration):
            lines = _STATUS.read_text().splitlines()
            peak.gibibytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20
