"""The record of a run, ``run.json``: what was asked, on what, with which software, how long it took, how it ended."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from binn_prob.files import replacing
from binn_prob.provenance import environment, git_commit, installed, versions

if TYPE_CHECKING:
    from binn_prob.results.convergence import Verdict
    from binn_prob.settings import Settings

__all__ = ["FILE", "Record", "recorded_verdict"]

FILE = "run.json"
"""Name of the record in the folder of its run."""
REQUIREMENTS = "requirements.txt"
"""Name of the list of installed packages beside it."""
_TOTAL = "total"


class Record:
    """Keeps ``run.json`` up to date while a run is under way.

    Parameters
    ----------
    path : Path
        Where it is written, anew after every step.
    settings : Settings
        The settings with all defaults written out.
    data_fingerprint : str
        See :func:`binn_prob.data.fingerprint`.

    A run that is resumed keeps the start and the times of the steps that it need not repeat; its total is the time that
    all processes have spent, as far as they could save it.
    """

    def __init__(self, path: Path, settings: Settings, data_fingerprint: str) -> None:
        import jax

        self.path = path
        earlier = _read(path)
        self.failures: dict[str, str] = {}
        self._start = time.perf_counter()
        self._before = sum(seconds for step, seconds in earlier.get("wall_seconds", {}).items() if step != _TOTAL)
        self.content: dict[str, Any] = {
            "name": settings.name,
            "status": "running",
            "started": earlier.get("started", _now()),
            "resumed": [*earlier.get("resumed", []), _now()] if earlier else [],
            "finished": None,
            "settings": settings.model_dump(mode="json"),
            "seed": settings.seed,
            "device": str(jax.devices()[0]),
            "devices": jax.device_count(),
            "processes": jax.process_count(),
            "environment": environment(),
            "precision": settings.precision,
            "data_fingerprint": data_fingerprint,
            "versions": versions(),
            "git_commit": git_commit(),
            "platform": platform.platform(),
            "wall_seconds": earlier.get("wall_seconds", {}),
            "verdicts": {},
            "failures": self.failures,
        }

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.path.parent

    def fail(self, step: str, error: Exception) -> None:
        """Record why a step failed, when the run goes on without it."""
        self.failures[step] = " ".join(str(error).split())
        self._write()

    def judge(self, verdicts: Mapping[str, Verdict]) -> None:
        """Record which methods have converged, and why not."""
        self.content["verdicts"] = {word: asdict(verdict) for word, verdict in verdicts.items()}
        self._write()

    def __enter__(self) -> Self:
        self._write()
        with replacing(self.folder / REQUIREMENTS) as temporary:
            temporary.write_text("\n".join(installed()) + "\n", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.content["error"] = " ".join(f"{type(error).__name__}: {error}".split())
        if isinstance(error, KeyboardInterrupt):
            self.content["status"] = "interrupted"
        else:
            self.content["status"] = "failed" if error or self.failures else "complete"
        self.content["finished"] = _now()
        self.content["wall_seconds"][_TOTAL] = round(time.perf_counter() - self._start + self._before, 3)
        self._write()

    @contextmanager
    def timing(self, step: str, before: float = 0.0) -> Iterator[None]:
        """Record how long a step takes, with the time that killed processes had spent on it ``before`` [s]."""
        start = time.perf_counter()
        self._before += before
        yield
        self.content["wall_seconds"][step] = round(time.perf_counter() - start + before, 3)
        self._write()

    def _write(self) -> None:
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(self.content, indent=2) + "\n", encoding="utf-8")


def recorded_verdict(folder: str | Path, method: str) -> Verdict | None:
    """Return the verdict that a run has recorded of a method; None if there is none of the version installed now."""
    from binn_prob.results.convergence import Verdict

    held = _read(Path(folder) / FILE)
    try:
        found = held["verdicts"][method]
        ours = held["versions"]["binn-prob"] == versions()["binn-prob"]
        return Verdict(bool(found["converged"]), tuple(found["reasons"])) if ours else None
    except (KeyError, TypeError):
        return None


def _read(path: Path) -> dict[str, Any]:
    """Return the record of the same run by an earlier process; empty if there is none that can be read."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
