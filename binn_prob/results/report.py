"""The report of a comparison: one HTML page with its figures inside, which opens from disk and needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import xarray as xr

from binn_prob.clm5.processes import PROCESSES
from binn_prob.files import replacing
from binn_prob.results import conclusions, distance, measures, plots, recalibration
from binn_prob.results.posterior import decoded, group, is_markov_chain, parts

if TYPE_CHECKING:
    from binn_prob.results.compare import Comparison

__all__ = ["Table", "render", "write"]

_PAGE, _MARKDOWN = "report.html.jinja", "report.md.jinja"

_PAGE_RESOLUTION = 110
"""Pixels of a page for an inch of a figure, so that its text of 9 points is about as large as that of the page."""

_PROVENANCE = {
    "seed": "seed",
    "binn_prob_version": "binn_prob",
    "git_commit": "commit",
    "versions": "versions",
    "device": "device",
    "precision": "precision",
    "created": "created",
    "data_fingerprint": "fingerprint of the data",
}
"""Attributes of a tree that say how it came about, and how the report calls them."""


class Table(NamedTuple):
    """A table of the report, all of it text: the first entry of every row is its label."""

    header: list[str]
    rows: list[list[str]]


class Figure(NamedTuple):
    """A figure of the report."""

    name: str
    caption: str
    source: str
    """The picture itself, as a data address."""
    width: int
    """Width at which its text is as large as that of the page [CSS pixels]."""


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
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=template == _PAGE, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["capital"] = lambda text: text[:1].upper() + text[1:]
    source = files(__package__).joinpath(template).read_text(encoding="utf-8")
    first = next(iter(comparison.trees.values()))
    sections = ("skill", "calibration", "recovery", "agreement", "convergence")
    return environment.from_string(source).render(
        methods=[plots.label(name) for name in comparison.trees],
        reference=None if comparison.reference is None else plots.label(comparison.reference),
        data=_data(first),
        settings=_settings(comparison.trees),
        measures={section: _measures(comparison, section) for section in sections},
        recalibrated=_recalibrated(comparison),
        cost=_cost(comparison),
        processes=_processes(comparison.trees),
        conclusions=comparison.conclusions(),
        bars=_bars(),
        verdicts={plots.label(name): str(verdict) for name, verdict in comparison.verdicts().items()},
        worst={plots.label(name): chains.worst for name, chains in comparison.convergence.items() if chains.worst},
        figures=_figures(drawn),
        provenance=_provenance(comparison.trees),
        command=command,
    )


def _data(tree: xr.DataTree) -> dict[str, Any]:
    """Return what the methods have seen: sites, observations, where they come from, what was left out."""
    attrs = tree.children["observed_data"].attrs
    rows = []
    for part, each in parts(tree).items():
        soc = group(each, "observed_data")["soc"]
        rows.append([plots.PART_LABELS[part], str(soc.sizes["site"]), str(int(soc.count()))])
    exclusions = decoded(attrs.get("exclusions", "{}"))
    return {
        "name": attrs.get("name", ""),
        "source": attrs.get("source", ""),
        "counts": Table(["", "sites", "observations"], rows),
        "exclusions": Table(["reason", "left out"], [[reason, str(count)] for reason, count in exclusions.items()]),
    }


def _settings(trees: Mapping[str, xr.DataTree]) -> Table:
    """Return the settings of every method, one row per setting."""
    columns = [_described(tree) for tree in trees.values()]
    # Each method has options of its own; the model is the same and comes last.
    rows = sorted({key: None for column in columns for key in column}, key=lambda key: key.startswith("model."))
    return Table(
        ["", *map(plots.label, trees)], [[key, *(column.get(key, "") for column in columns)] for key in rows]
    )  # fmt: skip


def _described(tree: xr.DataTree) -> dict[str, str]:
    """Return model, draws and settings of one method as text."""
    sizes = group(tree, "posterior").sizes
    kind = "Markov chains" if is_markov_chain(tree) else "independent draws"
    shape = f"{sizes['chain']} × {sizes['draw']}" if is_markov_chain(tree) else f"{sizes['chain'] * sizes['draw']}"
    settings = _flat(decoded(tree.attrs.get("settings", "{}")))
    return {"model": str(tree.attrs.get("model", "")), "draws": f"{shape} ({kind})", **settings}


def _measures(comparison: Comparison, section: str) -> Table:
    """Return the numbers of one section, those that no method has left out."""
    numbers = measures.summary(comparison.scores, each_process=True)
    rows = [[number.label, *number.printed] for number in numbers if number.section == section]
    return Table(["", *map(plots.label, comparison.trees)], rows)


def _recalibrated(comparison: Comparison) -> Table:
    """Return coverage and width of intervals as predicted and recalibrated; without rows where that was not done."""
    scores = comparison.scores[comparison.scores["of"].isin(recalibration.WAYS)]
    rows = []
    for (of, measure), held in scores.groupby(["of", "measure"], sort=False):
        found = held.set_index("method")[["value", "error"]].reindex(list(comparison.trees))
        label = f"{of}: {measures.MEASURES[str(measure)].label}"
        rows.append([label, *(measures.printed(str(measure), *numbers) for numbers in found.to_numpy())])
    return Table(["", *map(plots.label, comparison.trees)], rows)


def _bars() -> Table:
    """Return the bars that the verdicts rest on."""
    rows = [[bar.of, f"{bar.low:.2g} to {bar.high:.2g}"] for bar in conclusions.BARS.values()]
    return Table(["number", "bar"], rows)


def _cost(comparison: Comparison) -> Table:
    """Return the wall time of every method, and where it ran."""
    header, rows = _measures(comparison, "cost")
    return Table(
        header, [*rows, ["device", *(str(tree.attrs.get("device", "")) for tree in comparison.trees.values())]]
    )


def _processes(trees: Mapping[str, xr.DataTree]) -> Table:
    """Return mean and uncertainty of the six processes by method, averaged over the fitted sites."""
    columns = []
    for tree in trees.values():
        mean, deviation = (values.mean("site") for values in distance.spread(tree))
        columns.append([f"{m:.3g} ± {d:.2g}" if d > 0 else f"{m:.3g}" for m, d in zip(mean, deviation, strict=True)])
    labels = [row.name.replace("_", " ") + ("" if row.unit == "1" else f" ({row.unit})") for row in PROCESSES]
    return Table(["", *map(plots.label, trees)], [list(row) for row in zip(labels, *columns, strict=True)])


def _figures(drawn: Mapping[str, bytes]) -> dict[str, Figure]:
    """Return the figures with their captions, as pictures that are part of the page."""
    figures = {}
    for name, picture in drawn.items():
        kind = next((key for key in plots.CAPTIONS if name.startswith(key)), "")
        method = plots.label(name.removeprefix(f"{kind}_")) if name != kind else ""
        caption = f"{method}: {plots.CAPTIONS[kind]}" if method else plots.CAPTIONS.get(kind, name)
        source = "data:image/png;base64," + base64.b64encode(picture).decode("ascii")
        width = int.from_bytes(picture[16:20], "big") * _PAGE_RESOLUTION // plots.RESOLUTION
        figures[name] = Figure(name, caption, source, width)
    return figures


def _provenance(trees: Mapping[str, xr.DataTree]) -> Table:
    """Return how each posterior came about, one row per attribute."""
    rows = []
    for name, words in _PROVENANCE.items():
        values = [tree.attrs.get(name, "") for tree in trees.values()]
        texts = ["\n".join(f"{key} {value}" for key, value in decoded(v).items()) or str(v) for v in values]
        rows += [[words, *texts]] if any(texts) else []
    return Table(["", *map(plots.label, trees)], rows)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as text by dotted names."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": str(value)}
    return flat
