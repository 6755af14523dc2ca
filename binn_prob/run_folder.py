"""The folder of a run: an empty one, one to go on with, or a copy for a process that does not write."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from binn_prob.devices import failing_together, is_first_process, processes
from binn_prob.errors import InputError
from binn_prob.files import LOCK, is_unused
from binn_prob.provenance import differences

if TYPE_CHECKING:
    from binn_prob.settings import Settings

__all__ = ["folder_of_process", "refuse_another", "run_folder"]


def run_folder(name: str, out: str | Path | None = None, *, resume: bool = False) -> Path:
    """Return the folder for a run, which is empty or does not exist yet, or holds a run to resume.

    Raises
    ------
    InputError
        If ``out`` is a file, holds something and ``resume`` is false, or holds something that is no run.
    """
    if out is None and resume:
        raise InputError("--resume without --out", "the folder of the run to resume", "name it with --out")
    folder = Path(out) if out is not None else Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{name}"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}, which is a file", "a folder for the results", "give another --out")
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise InputError(f"{folder}, which cannot be written to", "a writable folder", "give another --out")
    held = folder.is_dir() and any(folder.iterdir())
    if held and not resume:
        cure = "give another --out or empty it; or, to finish the run that it holds, add --resume"
        raise InputError(f"{folder}, which is not empty", "an empty or a new folder", cure)
    if held and not (folder / "settings.yaml").is_file() and not is_unused(folder):  # killed before it was written
        raise InputError(
            f"{folder}, which holds no run", "the folder of a run, with its settings.yaml", "correct --out"
        )
    return folder


def refuse_another(folder: Path, settings: Settings) -> None:
    """Refuse to go on with a run whose settings were others; it may go on elsewhere."""
    from binn_prob.options import read_yaml
    from binn_prob.settings import WHERE

    if not (folder / "settings.yaml").is_file():
        return
    was, now = read_yaml(folder / "settings.yaml"), settings.model_dump(mode="json")
    changes = differences(*({key: one for key, one in each.items() if key not in WHERE} for each in (was, now)))
    if changes:
        cure = "leave that as it was, or start again with another --out"
        raise InputError(f"{folder}, a run with other settings: {changes}", "the settings of that run", cure)


@contextmanager
def folder_of_process(folder: Path) -> Iterator[Path]:
    """Give the folder of a run; to any but the first of many processes a copy, which is forgotten in the end.

    All of them then go the same way, also where a run is resumed, and none writes what another reads.
    """
    if processes() == 1:
        yield folder
        return
    from jax.experimental.multihost_utils import sync_global_devices

    with TemporaryDirectory() as temporary:
        copy = Path(temporary) / "run"
        with failing_together():  # nobody writes before all have read
            if not is_first_process() and folder.is_dir():
                shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(LOCK))
        yield folder if is_first_process() else copy
        sync_global_devices("results")
