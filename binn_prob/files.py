"""How every file is written: under a temporary name first, so that no half of one is ever found."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from binn_prob.errors import InputError

__all__ = ["LOCK", "is_unused", "locked", "remove_leftovers", "replacing", "reserved", "room_for"]

LOCK = "lock"
"""Name of the file by which a process holds a folder."""

_TEMPORARY = ".*.part"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk, the user's share of it, or the largest file that the user may write is full."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; what is written there takes the final name when all went well.

    It may be a file, or a folder of files, which can only take a name that nothing has.

    Raises
    ------
    InputError
        If the folder does not exist, or the disk is full; a file that was there before is then as it was.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise InputError(f"a path in a missing folder, {path}", "an existing folder", "make the folder first")
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.part")  # processes of other machines may write beside
    try:
        with room_for(path):
            yield temporary
            _flushed(temporary)
            temporary.replace(path)
    finally:
        _removed(temporary)


@contextmanager
def room_for(path: str | Path) -> Iterator[None]:
    """Say in one line that the disk is full, if it becomes so.

    Raises
    ------
    InputError
        If the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        cure = "make room and go on; what was written before is kept"
        raise InputError(f"no room to write {path}", "free space on its disk", cure) from error


def _flushed(written: Path) -> None:
    """Wait until all is on the disk; else a machine that fails may keep the name and lose what it stands for."""
    if written.is_dir():
        os.sync()
        return
    with written.open("rb") as file:
        os.fsync(file.fileno())


def _removed(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Make a folder, and keep every other process that asks for it from writing to it.

    The operating system holds the lock and lets go of it when the process ends, however it ends.

    Raises
    ------
    InputError
        If another process holds the folder, or it cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        got = f"{folder}, which cannot be made or written to ({error.strerror})"
        raise InputError(got, "a writable folder", "give another folder") from None
    try:
        if not _lock(descriptor, folder / LOCK):
            cure = "wait until it has ended, or give another folder"
            raise InputError(f"{folder}, to which another process is writing", "a folder of its own", cure)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> bool:
    """Try to lock an open file; false if another process has it, or has removed it meanwhile."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError as error:
        got = f"{path.parent}, which cannot be locked ({error.strerror})"
        raise InputError(got, "a file system with locks", "give a folder on a local disk") from None


def reserved(path: Path, size: int) -> None:
    """Make sure that a file of ``size`` bytes can be written, for libraries that do not survive a disk that fills up.

    Raises
    ------
    OSError
        If there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        path.unlink()
    elif shutil.disk_usage(path.absolute().parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def is_unused(folder: Path) -> bool:
    """Say whether a folder holds no file but locks, and what killed processes left under temporary names."""
    return all(one.is_dir() or one.name == LOCK or one.match(_TEMPORARY) for one in folder.rglob("*"))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left under temporary names; no other process may be writing to the folder."""
    for one in list(folder.rglob(_TEMPORARY)):
        _removed(one)
