"""The documentation: links lead somewhere, commands and settings are known, tables are the code's, and examples run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import matplotlib.pyplot as plt
import pytest
import typer.main
import yaml
from numpyro.infer import Predictive

import binn_prob
from binn_prob.cli import app
from binn_prob.clm5 import PARAMETERS
from binn_prob.inference import METHODS, Fit, Method
from binn_prob.options import build
from binn_prob.results import conclusions, convergence, measures, plots
from binn_prob.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())


@dataclass(frozen=True)
class Untrained(Method):
    """Draws from the prior, in the place of fits that take minutes."""

    name: ClassVar[str] = "untrained"
    needs_hidden_units: ClassVar[bool] = False
    needs_independent_sites: ClassVar[bool] = False

    def fit(self, key: Any, model: Any, dataset: Any, *, progress: bool = True, checkpoint: Any = None) -> Fit:
        encoding = model.encode(dataset)
        drawn = Predictive(model.prior, num_samples=20)(key, model.prepare(dataset, encoding))
        draws = {site: values[None] for site, values in drawn.items()}
        return Fit(self, model, dataset, encoding, draws, key, wall_seconds=1.0)


def text(page: str | Path) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(page: str | Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors that mkdocs makes of the headings of a page."""
    found = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text(page), flags=re.DOTALL | re.MULTILINE), re.M)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in found}


def commands() -> Iterator[list[str]]:
    """Yield every command line of the pages, in words, without comments."""
    for page in PAGES:
        shell = [line.partition("#")[0] for block in blocks(page, "sh") for line in block.splitlines()]
        inline = re.findall(r"`(binn-prob [^`]+)`", text(page))
        for line in [*shell, *inline]:
            if match := re.search(r"(?:^|/|\s)binn-prob (.+)", line):
                yield match[1].split()


@PAGE
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if "notebooks/" in name:
            target = DOCS.parent / "examples" / Path(name).name
        assert target.exists(), link
        if anchor and not anchor.startswith("binn_prob"):  # those of docstrings are checked where the site is built
            assert anchor in anchors(target), link


def test_commands_and_their_options_are_known() -> None:
    seen = 0
    for words in commands():
        command: Any = typer.main.get_command(app)
        path = list(words)
        while path and hasattr(command, "commands") and path[0] in command.commands:
            command = command.commands[path.pop(0)]
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        options = {word.partition("=")[0] for word in path if word.startswith("--")}
        assert options <= known, f"binn-prob {' '.join(words)}"
        assert not hasattr(command, "commands") or options or not path, f"binn-prob {' '.join(words)}"
        seen += 1
    assert seen > 20


def test_every_key_of_the_settings_is_in_the_file_shown() -> None:
    (shown,) = (yaml.safe_load(block) for block in blocks("command-line.md", "yaml"))
    settings = Settings(**shown)
    settings.build_model()
    settings.build_methods()
    assert shown.keys() == Settings.model_fields.keys()
    assert shown["data"].keys() == type(settings.data).model_fields.keys()
    assert shown["split"].keys() == type(settings.split).model_fields.keys()


def test_the_table_of_parameters_is_the_code_s() -> None:
    for row in PARAMETERS:
        published = f"{row.low:g} to {row.high:g} | {row.proda_low:g} to {row.proda_high:g} | {row.default:.4g}"
        assert f"| `{row.name}` | {row.meaning} | {row.unit} | {published} |" in text("theory.md")


def test_every_measure_is_defined() -> None:
    defined = set(re.findall(r"`(\w+)`", text("measures.md")))
    assert measures.MEASURES.keys() <= defined


def test_the_bars_are_those_of_the_code() -> None:
    page = text("measures.md")
    for bar in conclusions.BARS.values():
        assert f"| {bar.low:.2g} to {bar.high:.2g} |" in page
    for name, words in {
        "r_hat": "at most",
        "ess_bulk": "at least",
        "e_bfmi": "at least",
        "pareto_k": "at most",
    }.items():
        assert f"| {words} {convergence.BARS[name].limit:g} |" in page


@PAGE
def test_python_compiles(page: Path) -> None:
    compile("\n".join(blocks(page, "python")), str(page), "exec")


@pytest.mark.usefixtures("soil_that_costs_nothing")
@pytest.mark.parametrize(
    "page", ["data.md", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tour.md", "extending.md"))]
)
def test_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, load = binn_prob.fit, binn_prob.data.load

    def few(name: str, *, sites: int, **options: Any) -> Any:
        """Load no more sites than it takes to see that the lines run."""
        return load(name, sites=min(sites, 8), **options)

    def quick(model: Any, dataset: Any, method: Any, seed: int, **options: Any) -> Fit:
        if isinstance(method, str):
            build("method", METHODS, method, options)  # refuses what is not there
            method = Untrained()
        return fit(model, dataset, method, seed=seed)

    monkeypatch.setattr(binn_prob, "fit", quick, raising=False)
    monkeypatch.setattr(binn_prob.data, "load", few, raising=False)
    monkeypatch.setattr(plots, "every", lambda trees, *options: {"coverage": plots.coverage_curves(trees)})
    monkeypatch.setattr("numpyro.set_host_device_count", lambda number: None)  # JAX has started
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "example"}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec", dont_inherit=True), namespace)
    plt.close("all")
    if page == "tour.md":
        assert (tmp_path / "report.html").is_file()
        assert (tmp_path / "comparison" / "comparison.csv").is_file()
