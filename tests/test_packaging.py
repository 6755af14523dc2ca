"""The package as users install it: versions that agree, files that travel, a command that answers."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pytest

import binn_prob


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """Contents of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def test_one_version_everywhere(root: Path, project: dict[str, Any]) -> None:
    declared = project["project"]["version"]
    assert version("binn-prob") == declared, "installed from another version: install again"
    assert binn_prob.__version__ == declared
    assert f"version: {declared}\n" in (root / "CITATION.cff").read_text(encoding="utf-8")


def test_every_file_of_the_package_is_packaged(root: Path, project: dict[str, Any]) -> None:
    setuptools = project["tool"]["setuptools"]
    patterns = setuptools["package-data"]["*"]
    left_out = [
        str(file.relative_to(root))
        for folder in setuptools["package-dir"].values()
        for file in (root / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".py"
        if not any(fnmatchcase(file.name, pattern) for pattern in patterns)
    ]
    assert left_out == []


def test_every_dependency_has_a_minimum(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    assert set(extras) == {"test", "benchmarks", "cluster", "docs", "maps", "dev", "zarr"}
    required = [*project["project"]["dependencies"], *(one for extra in extras.values() for one in extra)]
    assert [one for one in required if ">=" not in one and not one.startswith("binn-prob[")] == []


def test_the_public_names_can_all_be_imported() -> None:
    assert [name for name in binn_prob.__all__ if not hasattr(binn_prob, name)] == []
    assert set(binn_prob.__all__) <= set(dir(binn_prob))


def test_the_command_is_installed() -> None:
    (command,) = (entry for entry in distribution("binn-prob").entry_points if entry.name == "binn-prob")
    assert command.value == "binn_prob.cli:main"
    answer = subprocess.run(
        [sys.executable, "-m", "binn_prob.cli", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.strip() == f"binn-prob {binn_prob.__version__}"


def test_the_installed_package_is_whole_from_the_root_of_the_repository(root: Path) -> None:
    # There "binn_prob" is the folder itself; an ordinary installation has no import hook that would know better.
    program = (
        "import sys; sys.path.insert(0, '.');"
        "sys.meta_path[:] = [finder for finder in sys.meta_path if 'editable' not in repr(finder).lower()];"
        "import binn_prob; print(binn_prob.models.__name__, binn_prob.inference.METHODS['vi'].__module__)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["binn_prob.models", "binn_prob.inference.variational"]
