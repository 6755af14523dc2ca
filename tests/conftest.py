"""What every test shares."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")  # figures without a display

ROOT = Path(__file__).resolve().parent.parent

# Most of the time goes into compilation: programs that several tests, or the last run of the tests, share are kept.
# Names then come out of sets in the same order in every process, so that programs are the same.
os.environ.setdefault("PYTHONHASHSEED", "0")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # programs run but briefly
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

if importlib.util.find_spec("binn_prob") is None or importlib.util.find_spec("binn_prob.models") is None:
    raise pytest.UsageError('binn_prob is not installed: run  pip install -e ".[test]"  first')

# Compilation makes the first example slow, and the same examples on every machine make a failure repeatable.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


_MAPS = Path("/proc/self/maps")
_MOST_MAPS = 20_000


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs() -> Iterator[None]:
    """Drop the compiled programs of a process that has gathered many: Linux gives it 65,530 pieces of memory."""
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MOST_MAPS:
        jax.clear_caches()


@pytest.fixture(scope="module")
def soil_that_costs_nothing() -> Iterator[None]:
    """Another soil for the tests of a module that holds for any."""
    from quick_soil import replace_the_soil

    jax.clear_caches()  # programs with the one soil do not serve the other
    with pytest.MonkeyPatch.context() as patched:
        replace_the_soil(patched)
        yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def new_york_folder() -> Path:
    """Local copy of the published New York profiles; without one the test is skipped, or fails where ``CI`` is set."""
    folder = Path(os.environ.get("BINN_PROB_DATA") or ROOT.parent / "shared" / "data" / "new_york")
    if not folder.is_dir():
        missing = f"no New York profiles in {folder}: set BINN_PROB_DATA to a copy of them"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return folder
