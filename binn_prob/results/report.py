"""The report of a comparison: one HTML page with its figures inside, which opens from disk and needs no network."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from binn_prob.files import replacing
from binn_prob.results import convergence, plots, report_tables
from binn_prob.results.report_tables import Table

if TYPE_CHECKING:
    from binn_prob.results.compare import Comparison

__all__ = ["render", "write"]

_PAGE, _STYLE, _MARKDOWN = "report.html.jinja", "report.css.jinja", "report.md.jinja"

_PAGE_RESOLUTION = 110
"""Pixels of a page for an inch of a figure, so that its text of 9 points is about as large as that of the page."""

_NOT_CONVERGED = "not converged"
"""What stands beside the name of a method wherever its numbers do."""


class Figure(NamedTuple):
    """A figure of the report."""

    name: str
    caption: str
    doubt: str
    """Which methods in it have not converged; empty if all have"""
    source: str
    """The picture itself, as a data address."""
    width: int
    """Width at which its text is as large as that of the page [CSS pixels]."""
    height: int
    """Height at that width [CSS pixels]."""


def write(comparison: Comparison, path: str | Path, drawn: Mapping[str, bytes], *, command: str | None = None) -> Path:
    """Write the report of a comparison, which appears under its name only when it is complete.

    Parameters
    ----------
    comparison : Comparison
        What to report.
    path : path
        Where to write the page, usually ``report.html``; a name that ends in ``.md`` asks for Markdown, which shows the
        figures of the folder ``figures`` beside it.
    drawn : mapping of bytes
        Figures as PNG, by the names of :func:`binn_prob.results.plots.every`.
    command : str, optional
        The command that makes the comparison again.

    Raises
    ------
    InputError
        If the folder does not exist.
    """
    template = _MARKDOWN if Path(path).suffix == ".md" else _PAGE
    page = render(comparison, drawn, command=command, template=template)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def render(
    comparison: Comparison, drawn: Mapping[str, bytes], *, command: str | None = None, template: str = _PAGE
) -> str:
    """Return the report of a comparison as text; see :func:`write`."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=template == _PAGE,
        loader=FunctionLoader(lambda name: files(__package__).joinpath(name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"capital": _capital, "listed": _listed, "tidy": _tidy, "aligned": _aligned}
    trees = comparison.trees
    first = next(iter(trees.values()))
    verdicts = {plots.label(name): verdict for name, verdict in comparison.verdicts().items()}
    unconverged = [name for name, verdict in verdicts.items() if not verdict.converged]
    sections = ("skill", "calibration", "recovery", "agreement", "convergence")
    observed = first.children["observed_data"].attrs
    text = environment.get_template(template).render(
        methods=list(verdicts),
        unconverged=unconverged,
        not_converged=_NOT_CONVERGED,
        reference=None if comparison.reference is None else plots.label(comparison.reference),
        data=": ".join(filter(None, (str(observed.get(key, "")) for key in ("name", "source")))),
        sites=report_tables.sites(first),
        exclusions=report_tables.exclusions(first),
        settings=[*report_tables.methods_described(trees), *report_tables.models_described(trees)],
        measures={section: report_tables.measured(comparison, section) for section in sections},
        by_class=report_tables.by_class(comparison),
        recalibrated=report_tables.recalibrated(comparison),
        cost=report_tables.cost(comparison),
        processes=report_tables.processes(trees),
        conclusions=comparison.conclusions(),
        bars=report_tables.bars(),
        limits={name: bar.limit for name, bar in convergence.BARS.items()},
        verdicts={name: str(verdict) for name, verdict in verdicts.items()},
        worst={
            plots.label(name): _places(found.worst) for name, found in comparison.convergence.items() if found.worst
        },
        figures=_figures(drawn, unconverged),
        provenance=report_tables.provenance(trees),
        command=command,
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _figures(drawn: Mapping[str, bytes], unconverged: list[str]) -> dict[str, Figure]:
    """Return the figures with their captions, as pictures that are part of the page."""
    figures = {}
    for name, picture in drawn.items():
        kind = next((key for key in plots.CAPTIONS if name.startswith(key)), "")
        method = plots.label(name.removeprefix(f"{kind}_")) if name != kind else ""
        caption = f"{method}. {plots.CAPTIONS[kind]}" if method and kind else plots.CAPTIONS.get(kind, name)
        doubtful = [one for one in unconverged if one == method] if method else unconverged
        source = "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
        size = (int.from_bytes(picture[at : at + 4], "big") * _PAGE_RESOLUTION // plots.RESOLUTION for at in (16, 20))
        doubt = f"{_capital(_NOT_CONVERGED)}: {_listed(doubtful)}." if doubtful else ""
        figures[name] = Figure(name, caption, doubt, source, *size)
    return figures


def _places(labels: Iterable[str]) -> str:
    """Return labels of quantities such as ``baseline_decomposition[site 7]`` in words."""
    return "; ".join(re.sub(r"\[(.*)\]", r" at \1", label.replace("_", " ")) for label in labels)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(words: Iterable[str]) -> str:
    """Return words as a list in a sentence."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _tidy(text: str) -> str:
    """Return a text as it is printed: with minus signs, and numbers that stay with what belongs to them."""
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text).replace("g C m", "g\u00a0C\u00a0m")
    return re.sub(r"(?<=\d) ?%|(?<=\d) ± ", lambda found: f"\u00a0{found[0].strip()}".replace("±", "±\u00a0"), text)


def _aligned(table: Table, marked: Iterable[str] = ()) -> str:
    """Return a table in Markdown, its columns aligned; ``marked`` methods are said not to have converged."""
    marked = set(marked)
    header = [f"{cell} ({_NOT_CONVERGED})" if cell in marked else cell for cell in table.header]
    blank = [""] * (len(header) - 1)
    rows = [header, *(row if len(row) > 1 else [f"**{row[0]}**", *blank] for row in table.rows)]
    rows = [[cell.replace("|", "\\|").replace("\n", "<br>") for cell in row] for row in rows]
    first, *widths = (max(3, *map(len, column)) for column in zip(*rows, strict=True))
    lines = [
        " | ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True))])
        for row in rows
    ]
    rule = " | ".join(["-" * first, *("-" * (width - 1) + ":" for width in widths)])
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))
