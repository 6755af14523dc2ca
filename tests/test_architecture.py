"""Who may import whom, what may be imported at the top, and what must be documented: read from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"binn_prob": "binn_prob", "binn_prob.models": "models", "binn_prob.inference": "inference"}
"""Import name of each top-level package folder."""

EVERYBODY_MAY = (
    "checks",
    "errors",
    "files",
    "memory",
    "precision",
    "provenance",
    "sharding",
    "stores",
    "version",
    "clm5.layers",
    "clm5.pools",
    "clm5.parameters",
)
TERMS = ("clm5.environment", "clm5.transfers", "clm5.transport", "clm5.allocation")

ARROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # The first matching row counts; names are relative to binn_prob, and a name alone means the package's __init__.
    ("errors", ()),
    ("files", ("errors",)),
    ("memory", ()),
    ("checks", ("errors",)),
    ("version", ()),
    ("sharding", ("errors",)),
    ("stores", ("errors",)),
    ("precision", ("errors",)),
    ("provenance", ("version",)),
    ("claims", ("errors", "files", "provenance")),
    ("clm5", ("precision", "clm5.*")),
    ("clm5.pools", ("errors", "precision")),
    ("clm5.layers", ("errors", "precision")),
    ("clm5.parameters", ("errors", "precision", "clm5.layers")),
    ("clm5.forcing", ()),
    ("clm5.environment", ("clm5.forcing",)),
    ("clm5.transfers", ("clm5.forcing",)),
    ("clm5.transport", ("clm5.forcing",)),
    ("clm5.allocation", ("clm5.forcing",)),
    ("clm5.elimination", ()),
    ("clm5.matrix", ("clm5.elimination", "clm5.transfers")),
    ("clm5.steady_state", ("clm5.forcing", "clm5.matrix", *TERMS)),
    ("clm5.dense", ("clm5.forcing", "clm5.steady_state", *TERMS)),
    ("clm5.profile", ("clm5.forcing", "clm5.steady_state", *TERMS)),
    (
        "clm5.sensitivity",
        ("clm5.forcing", "clm5.steady_state", "clm5.profile", "clm5.processes", *TERMS),
    ),
    ("clm5.residence", ("clm5.forcing", "clm5.steady_state", "clm5.profile", "clm5.processes", *TERMS)),
    ("clm5.transient", ("clm5.forcing", "clm5.matrix", "clm5.steady_state", *TERMS)),
    ("clm5.processes", ("clm5.forcing", "clm5.steady_state", "clm5.profile", *TERMS)),
    ("data", ("data.*",)),
    ("data.*", ("data.*", "clm5", "clm5.*")),
    ("models", ("models.*",)),
    ("models.encoding", ()),
    ("models.networks", ("models.encoding",)),
    ("models.quadrature", ()),
    ("models.likelihoods", ("models.quadrature",)),
    ("models.fixed", ()),
    ("models.density", ()),
    ("models.*", ("models.*", "clm5", "clm5.*")),
    ("inference", ("inference.*",)),
    ("inference.checkpoint", ("claims",)),
    ("inference.predictive", ("inference.base",)),
    (
        "inference.base",
        ("results.convergence", "results.html", "results.posterior", "inference.checkpoint", "inference.predictive"),
    ),
    ("inference.training", ("inference.base", "inference.checkpoint")),
    ("inference.chains", ("inference.base", "inference.checkpoint")),
    ("inference.guides", ()),
    ("inference.random_walk", ()),
    ("inference.cube", ("inference.base",)),
    ("inference.logits", ("inference.base",)),
    ("inference.error_scale", ("inference.base",)),
    ("inference.bootstrap", ("inference.base", "inference.checkpoint")),
    ("inference.proda_phases", ("inference.base", "inference.checkpoint", "inference.cube", "inference.random_walk")),
    (
        "inference.proda_metropolis",
        ("inference.base", "inference.checkpoint", "inference.cube", "inference.random_walk", "inference.proda_phases"),
    ),
    (
        "inference.proda_upscaling",
        ("inference.base", "inference.checkpoint", "inference.bootstrap", "inference.error_scale", "inference.logits"),
    ),
    ("inference.lanes", ()),
    ("inference.site_groups", ("inference.base", "inference.lanes")),
    (
        "inference.site_nuts",
        ("inference.base", "inference.checkpoint", "inference.lanes", "inference.site_groups", "results.convergence"),
    ),
    (
        "inference.*",
        ("inference.base", "inference.chains", "inference.checkpoint", "inference.guides", "inference.training"),
    ),
    ("results", ("results.*",)),
    ("results.html", ()),
    ("results.storage", ()),
    ("results.posterior", ("clm5.processes", "results.storage")),
    ("results.*", ("results", "results.*", "clm5", "clm5.*")),
    ("options", ()),
    ("devices", ()),
    ("record", ("settings", "results.convergence")),
    ("farm", ("farm.*",)),
    ("farm.clusters", ("devices", "options")),
    ("farm.store", ("claims", "stores", "data")),
    ("farm.software", ()),
    (
        "farm.units",
        ("farm.software", "farm.store", "devices", "inference.base", "inference.site_groups", "results.convergence"),
    ),
    ("farm.tasks", ("farm.software", "farm.units")),
    ("farm.fitted", ("farm.store", "data", "inference", "results.convergence", "saved")),
    ("farm.sites", ("farm.*", "data", "fitting", "inference", "sites")),
    ("farm.running", ("farm.*", "inference", "record", "results", "results.*", "settings")),
    ("run_folder", ("devices", "options", "settings")),
    ("data_settings", ("data.*",)),
    ("settings", ("*",)),
    ("fitting", ("*",)),
    ("saved", ("*",)),
    ("simulation", ("fitting", "data", "data.*", "clm5.*")),
    ("sites", ("data", "simulation", "settings")),
    ("stages", ("saved", "settings", "inference")),
    ("prediction", ("*",)),
    ("streaming", ("data", "data.*", "inference", "inference.predictive", "results.summary_store")),
    ("plot", ("results.plots",)),
    ("workflow", ("*",)),
    ("cli", ("*",)),
    ("cli_config", ("cli_options", "options", "settings", "saved")),
    ("cli_sites", ("cli_config", "cli_options", "cli_results", "data", "data.*", "devices", "prediction", "sites")),
    ("cli_data", ("cli_options", "cli_results", "data", "data.*")),
    ("cli_results", ("cli_options", "reporting", "results.*")),
    ("reporting", ("settings", "results.*")),
    ("cli_options", ()),
    ("", ("*",)),
)

LATE = (
    "arviz",
    "arviz_base",
    "arviz_stats",
    "cloudpickle",
    "dask",
    "dask_jobqueue",
    "distributed",
    "jinja2",
    "matplotlib",
    "pooch",
    "rich",
    "scipy",
    "scoringrules",
    "sklearn",
    "zarr",
)
"""Imported inside the functions that need them: fitting works on a machine that has none of these."""

HEAVY = ("arviz", "arviz_stats", "flax", "jax", "matplotlib", "numpyro", "pandas", "xarray")
"""Not loaded by the command line before a command runs."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the package: import name → file."""
    found = {}
    for name, folder in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((name, *(part for part in parts if part != "__init__")))] = file
    return found


def relative(name: str) -> str:
    """Name within the package: ``binn_prob.clm5.layers`` → ``clm5.layers``."""
    return name.removeprefix("binn_prob").removeprefix(".")


def imports(name: str) -> Iterator[tuple[str, int]]:
    """Modules of the package that ``name`` imports anywhere, with the line."""
    package = name if modules()[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if inner in modules() else base), node.lineno


@cache
def tree(name: str) -> ast.Module:
    """Parsed source of a module."""
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    """Whether ``node`` is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported."""
    for node in body:
        if is_type_checking(node) or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        for field in ("body", "orelse", "finalbody", "handlers"):
            yield from top_level(getattr(node, field, []))


def allowed(name: str) -> tuple[str, ...]:
    """Row of the table of arrows for a module."""
    for pattern, targets in ARROWS:
        if fnmatchcase(relative(name), pattern):
            return targets
    raise AssertionError(f"{name} has no row in the table of arrows")


@pytest.mark.parametrize("name", modules())
def test_imports_follow_the_arrows(name: str) -> None:
    may = allowed(name)
    everybody = EVERYBODY_MAY if relative(name) not in EVERYBODY_MAY else ()
    wrong = [
        f"line {line}: {target}"
        for target, line in imports(name)
        if target.partition(".")[0] == "binn_prob"
        and not any(fnmatchcase(relative(target), pattern) for pattern in (*may, *everybody))
    ]
    assert not wrong, f"{name} may import {may or 'nothing more than everybody'}, and imports {wrong}"


@pytest.mark.parametrize("name", modules())
def test_the_package_is_imported_by_its_own_name(name: str) -> None:
    wrong = [line for target, line in imports(name) if target.partition(".")[0] in ("models", "inference")]
    assert not wrong, f"{name} lines {wrong}: write binn_prob.models, binn_prob.inference"


@pytest.mark.parametrize("name", modules())
def test_what_only_some_functions_need_is_imported_by_them(name: str) -> None:
    found = set()
    for node in top_level(tree(name).body):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    assert not found & set(LATE)


@pytest.mark.parametrize("name", modules())
def test_everything_public_is_documented(name: str) -> None:
    missing = [] if ast.get_docstring(tree(name)) else ["the module"]
    for node in tree(name).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            missing += [] if ast.get_docstring(node) else [node.name]
            missing += [
                f"{node.name}.{method.name}"
                for method in node.body
                if isinstance(node, ast.ClassDef) and isinstance(method, ast.FunctionDef)
                if not method.name.startswith("_") and not ast.get_docstring(method)
            ]
    assert not missing, f"{name} without a docstring: {missing}"


def test_every_subpackage_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = [name for name, file in modules().items() if file.name == "__init__.py"]
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(packages)
    assert project["tool"]["setuptools"]["package-dir"] == FOLDERS


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {file.parent for file in modules().values()}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("statement", ["import binn_prob, binn_prob.cli", "import binn_prob.settings"])
def test_the_command_line_starts_light(statement: str) -> None:
    program = f"import sys; {statement}; print(*(name for name in {HEAVY} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.split() == []


@pytest.mark.parametrize("folder", ["models", "inference"])
def test_a_second_copy_of_the_modules_is_refused(folder: str) -> None:
    second = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
    )
    assert second.returncode != 0
    assert f"import this package as 'binn_prob.{folder}'" in second.stderr
