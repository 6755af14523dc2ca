"""Checkpoints: what a fit has computed so far, kept in a folder so that a killed fit goes on where it stood.

A fit that is started again with the folder of a killed one gives, on the same machine, the same draws to the last bit:
what is saved is the whole state of the algorithm, random keys included, at points that do not depend on the clock.

The folder holds ``identity.json`` (which fit it belongs to), ``seconds.json`` (time spent so far), ``lock`` (held by
the one process that writes) and one ``.npz`` file per saved pytree.  Each file appears under its name only when it is
complete, so a process killed at any moment leaves none half-written.  A file that something else has damaged since
fails the checksum of its contents: it is refused by name, and computed again once it is removed.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from binn_prob.claims import claimed, read_json, unusable, write_json
from binn_prob.files import replacing

__all__ = ["Checkpoint", "Stopwatch", "opened", "spent"]

_KIND, _SECONDS = "checkpoint", "seconds.json"

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Checkpoint:
    """A folder of saved pytrees; :func:`opened` makes one that no other process writes to."""

    folder: Path
    """Where the files are"""
    root: Path | None = None
    """Folder of the checkpoint that this one is a part of"""
    spent_before: float = 0.0
    """Seconds that earlier processes spent until their last save [s]"""
    started: float = field(default_factory=time.perf_counter)
    """Reading of the clock when this process began [s]"""

    def part(self, name: str) -> Checkpoint:
        """Return a sub-folder, for what would otherwise have the same names."""
        return replace(self, folder=self.folder / name, root=self.root or self.folder)

    def save(self, name: str, tree: Any) -> None:
        """Save a pytree of arrays, in the place of what had this name before.

        Parameters
        ----------
        name : str
            Name of the file without its ending.
        tree : pytree of arrays
            NumPy or JAX arrays, numbers, or random keys.

        Raises
        ------
        InputError
            If the disk is full; what was saved before is still there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # The time comes first: a process killed in between has spent it, though it has not kept what it bought.
        spent = self.spent_before + time.perf_counter() - self.started
        write_json((self.root or self.folder) / _SECONDS, spent)
        with replacing(self._file(name)) as temporary, temporary.open("wb") as file:
            np.savez(file, **_leaves(tree))

    def load(self, name: str, template: Tree) -> Tree | None:
        """Return a saved pytree, or None if there is none of this name.

        Parameters
        ----------
        name : str
            As it was saved.
        template : pytree
            Of the same structure, shapes and types: arrays, random keys, or ``jax.ShapeDtypeStruct``.

        Returns
        -------
        pytree or None
            NumPy arrays and random keys, in the structure of ``template``.

        Raises
        ------
        InputError
            If the file is damaged, or what it holds is not what ``template`` describes.
        """
        file = self._file(name)
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
                found = {key: held[key] for key in held.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise unusable(file, _KIND, " ".join(str(error).split())[:120]) from None
        if {key: _form(array) for key, array in found.items()} != {key: _form(leaf) for key, leaf in _named(template)}:
            raise unusable(file, _KIND, "it holds other arrays than the fit has")
        leaves = [_restored(found[key], leaf) for key, leaf in _named(template)]
        return jax.tree.unflatten(jax.tree.structure(template), leaves)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds since the stopwatch was made [s]."""
        return time.perf_counter() - self._start


@contextmanager
def opened(folder: str | Path, identity: Mapping[str, Any], *, resume: bool) -> Iterator[Checkpoint]:
    """Open the checkpoint of one fit, for this process alone.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    identity : mapping
        Everything that determines the draws, as JSON can hold it.
    resume : bool
        Whether to go on from what the folder holds; an empty folder is then no error.

    Raises
    ------
    InputError
        If another process writes to the folder, it holds the checkpoint of another fit, it holds one and ``resume``
        is false, or it holds anything else.
    """
    folder = Path(folder)
    with claimed(folder, identity, _KIND, resume=resume):
        yield Checkpoint(folder, spent_before=spent(folder))


def spent(folder: str | Path) -> float:
    """Return the seconds that went into a checkpoint until its last save; 0 if there is none [s]."""
    seconds = Path(folder) / _SECONDS
    return float(read_json(seconds, _KIND)) if seconds.exists() else 0.0


def _named(tree: Any) -> list[tuple[str, Any]]:
    """Return the leaves of a pytree with names of their own."""
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(f"{number}{jax.tree_util.keystr(path)}", leaf) for number, (path, leaf) in enumerate(paths)]


def _leaves(tree: Any) -> dict[str, Any]:
    """Return the leaves of a pytree by name, with random keys as the numbers that they stand for."""
    return {name: jax.random.key_data(leaf) if _is_key(leaf) else leaf for name, leaf in _named(tree)}


def _form(leaf: Any) -> tuple[Any, Any]:
    """Return the shape and type with which a leaf is saved."""
    if _is_key(leaf):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return np.shape(leaf), np.asarray(leaf).dtype if np.isscalar(leaf) else leaf.dtype


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _restored(array: np.ndarray, leaf: Any) -> Any:
    """Return a saved array as what it was."""
    return jax.random.wrap_key_data(jnp.asarray(array), dtype=leaf.dtype) if _is_key(leaf) else array
