"""Where a result comes from: versions of the software, and the commit of its sources."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["differences", "git_commit", "versions"]

_NAMED = 5
"""How many differences are named."""

_DISTRIBUTIONS = (
    "binn-prob", "jax", "jaxlib", "numpyro", "blackjax", "flax", "optax", "numpy", "xarray", "pandas", "arviz-stats",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed libraries that a result depends on."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def git_commit() -> str:
    """Return the commit of binn_prob's sources, with ``-dirty`` if they have been edited since.

    Empty where binn_prob does not run from a git checkout of its own.
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
    """Say in which keys two nested mappings differ, such as ``seed was 0 and is now 1``; empty if in none."""
    first, second = dict(_flat(before)), dict(_flat(now))
    differing = [key for key in first | second if first.get(key) != second.get(key)]
    named = [f"{key} was {first.get(key)!r} and is now {second.get(key)!r}" for key in differing[:_NAMED]]
    return ", ".join(named) + (f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else "")


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return what a nested mapping holds, by dotted names."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _flat(one, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
