"""How every file is written: under a temporary name first, so that no half of one is ever found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from binn_prob.errors import InputError

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; what is written there takes the final name when all went well.

    Raises
    ------
    InputError
        If the folder does not exist.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise InputError(f"a path in a missing folder, {path}", "an existing folder", "make the folder first")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
