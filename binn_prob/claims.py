"""Folders that belong to one fit: they say which, and one process at a time writes to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from binn_prob.errors import InputError
from binn_prob.files import LOCK, locked, remove_leftovers, replacing
from binn_prob.provenance import differences

__all__ = ["IDENTITY", "claimed", "read_json", "unusable", "write_json"]

IDENTITY = "identity.json"
"""Name of the file that says which fit a folder belongs to"""


@contextmanager
def claimed(folder: Path, identity: Mapping[str, Any], kind: str, *, resume: bool) -> Iterator[None]:
    """Hold a folder, for this process alone.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    identity : mapping
        Everything that determines the draws, as JSON can hold it.
    kind : str
        What the folder is called, such as ``checkpoint``.
    resume : bool
        Whether to go on from what the folder holds; an empty folder is then no error.

    Raises
    ------
    InputError
        If another process holds the folder, it is that of another fit, it is that of this one and ``resume`` is false,
        or it holds anything else.
    """
    with locked(folder):
        remove_leftovers(folder)
        held = {file.name for file in folder.iterdir()} - {LOCK}
        if held and IDENTITY not in held:
            got = f"{folder}, which holds {min(held)} and no {kind}"
            raise InputError(got, f"an empty folder, or that of an earlier {kind}", "give another folder")
        if held and not resume:
            got = f"{folder}, which holds a {kind} already"
            raise InputError(got, "an empty or a new folder", "resume it, or give another folder")
        wanted = json.loads(json.dumps(identity, default=repr))
        if not held:
            write_json(folder / IDENTITY, wanted)
        elif changes := differences(read_json(folder / IDENTITY, kind), wanted):
            cure = "set that back, or start again in another folder"
            raise InputError(f"{folder}, the {kind} of another fit: {changes}", "that of the same fit", cure)
        yield


def write_json(file: Path, value: Any) -> None:
    """Write what JSON can hold."""
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(file: Path, kind: str) -> Any:
    """Read what :func:`write_json` has written into a folder of some kind.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unusable(file, kind, " ".join(str(error).split())[:120]) from None


def unusable(file: Path, kind: str, reason: str) -> InputError:
    """Say that a file cannot be used."""
    cure = f"remove {'the folder' if file.name == IDENTITY else 'the file'}; what it held is computed again"
    return InputError(f"an unusable file {file} ({reason})", f"a file of a {kind}, as it was written", cure)
