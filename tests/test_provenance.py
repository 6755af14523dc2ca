"""What differs between two fits, and commits that are not known."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import binn_prob as bp
from binn_prob import provenance
from binn_prob.claims import claimed
from binn_prob.farm import software

COMMITS: dict[str, tuple[Any, Any, str]] = {
    # what is compared: both commits, and what is said of them
    "the same": ("abc", "abc", ""),
    "others": ("abc", "abc-dirty", "git_commit was 'abc' and is now 'abc-dirty'"),
    "the first not known": ("", "abc", ""),
    "the second not known": ("abc", "", ""),
    "one that was not asked for": (None, "abc", "git_commit was None and is now 'abc'"),
}


@pytest.mark.parametrize("case", COMMITS)
def test_a_commit_that_is_not_known_differs_from_none(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, now, said = COMMITS[case]
    assert provenance.differences({"git_commit": before}, {"git_commit": now}) == said
    assert provenance.differences({"a": {"git_commit": before}}, {"a": {"git_commit": now}}) == (said and f"a.{said}")
    monkeypatch.setattr(software, "git_commit", lambda: now)
    assert software.other_software(provenance.versions() | {"git_commit": before}) == said

    def claim(commit: Any) -> None:
        with claimed(tmp_path, {"seed": 0, "git_commit": commit}, "checkpoint", resume=True):
            pass

    claim(before)
    if said:
        with pytest.raises(bp.InputError, match=f"the checkpoint of another fit: {said}"):
            claim(now)
    else:
        claim(now)


def test_other_empty_words_differ() -> None:
    assert (
        provenance.differences({"b": "", "git_commit": ""}, {"b": "1", "git_commit": "2"}) == "b was '' and is now '1'"
    )


@pytest.mark.parametrize(
    "error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git"), subprocess.TimeoutExpired("git", 10)]
)
def test_where_git_does_not_answer_no_commit_is_known(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert provenance.git_commit.__wrapped__() == ""
