"""Where a result comes from: versions of the software, the commit of its sources, and what was around it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

__all__ = ["differences", "environment", "git_commit", "installed", "shortened", "versions"]

_NAMED = 5
"""How many differences are named."""

_COMMIT = "git_commit"
"""Key of a commit, wherever it stands in a mapping."""

_DISTRIBUTIONS = (
    "binn-prob", "jax", "jaxlib", "numpyro", "blackjax", "flax", "optax", "numpy", "xarray", "pandas", "arviz-stats",
)  # fmt: skip

_VARIABLES = (
    "BINN_PROB_", "CUDA_VISIBLE_DEVICES", "JAX_", "MKL_NUM_", "NVIDIA_VISIBLE_", "OMP_NUM_", "OPENBLAS_", "SLURM_JOB_",
    "SLURM_NNODES", "SLURM_NTASKS", "SLURM_CPUS_", "XLA_",
)  # fmt: skip
"""How the names of those environment variables begin; none of them holds a secret"""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed libraries that a result depends on."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def installed() -> list[str]:
    """Return every installed distribution as ``name==version``, sorted, as ``pip install -r`` reads it."""
    return sorted({f"{one.metadata['Name']}=={one.version}" for one in distributions()}, key=str.lower)


def environment() -> dict[str, str]:
    """Return the environment variables that say how JAX, BLAS and the scheduler were set up."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)}


@cache
def git_commit() -> str:
    """Return the commit of binn_prob's sources, with ``-dirty`` if they have been edited since.

    Empty where it is not known: binn_prob does not run from a git checkout of its own, or git is missing, refuses or
    does not answer in time.
    """
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not the repository around a virtual environment
        commit = git("rev-parse", "HEAD")
        edited = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}-dirty" if edited else commit


def differences(before: Any, now: Any) -> str:
    """Say in which keys two nested mappings differ, such as ``seed was 0 and is now 1``; empty if in none.

    An empty ``git_commit`` is one that is not known, and differs from none: see :func:`git_commit`.
    """
    first, second = dict(_flat(before)), dict(_flat(now))
    differing = [key for key in first | second if first.get(key) != second.get(key)]
    differing = [
        key for key in differing if key.split(".")[-1] != _COMMIT or "" not in (first.get(key), second.get(key))
    ]
    return shortened([f"{key} was {first.get(key)!r} and is now {second.get(key)!r}" for key in differing], _NAMED)


def shortened(words: Sequence[str], most: int) -> str:
    """Return the first of some words with commas, and how many more there are."""
    more = len(words) - most
    return ", ".join(words[:most]) + (f" and {more} more" if more > 0 else "")


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return what a nested mapping holds, by dotted names."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _flat(one, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
