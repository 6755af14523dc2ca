"""The software of the workers of a farm: their draws would not be those of the others if theirs were another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from binn_prob.errors import InputError
from binn_prob.provenance import differences, git_commit, versions

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["SoftwareError", "other_software", "refuse_other_software", "send_away", "software"]


class SoftwareError(RuntimeError):
    """A worker has other software than the farm: its address, and what differs."""

    def __init__(self, worker: str, changes: str) -> None:
        super().__init__(worker, changes)
        self.worker = worker
        self.changes = changes

    def __str__(self) -> str:
        return f"{self.worker}: {self.changes}"


def software() -> dict[str, str]:
    """Return the versions of the libraries of this process, and the commit of its sources."""
    return versions() | {"git_commit": git_commit()}


def other_software(expected: Mapping[str, str]) -> str:
    """Say how the software of this process differs from that of a farm; empty if it does not."""
    return differences(expected, software())


def refuse_other_software(client: Client, expected: Mapping[str, str]) -> None:
    """Refuse workers whose draws would not be those of the others, before any data are sent to them.

    Raises
    ------
    InputError
        Naming one of them, and what differs.
    """
    said = client.run(other_software, expected, on_error="return")
    # A worker that cannot be reached has gone; should it come back, it says the same of its first unit.
    others = {worker: text for worker, text in said.items() if text and not isinstance(text, OSError)}
    if others:
        worker, text = next(iter(others.items()))
        reason = " ".join(f"{type(text).__name__}: {text}".split()) if isinstance(text, Exception) else text
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        cure = "install the same on all machines, and start the workers anew"
        raise InputError(f"other software at the worker {worker}{more}: {reason}", "that of this process", cure)


def send_away(client: Client, expected: Mapping[str, str], error: SoftwareError, say: Callable[[str], object]) -> None:
    """Close a worker whose software is another.

    Raises
    ------
    SoftwareError
        If there is no other worker that could go on: the one that was given.
    """
    if "" not in client.run(other_software, expected, on_error="return").values():
        raise error
    if client.retire_workers([error.worker]):  # what waits at it goes to others, and does not count as having failed
        say(f"sent away a worker with other software, {error}")
