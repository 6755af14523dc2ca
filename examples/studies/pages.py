"""How the page of a study is written, around what is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

import binn_prob as bp
from binn_prob import plot
from binn_prob.files import replacing

__all__ = ["BEGIN", "END", "Page", "write"]

BEGIN, END = "<!-- measured: begin, written by examples/studies/{name}.py -->", "<!-- measured: end -->"
"""What lies between these lines of a page is written anew; all else is left as it is."""

_NAMED = ("python", "jax", "numpyro", "flax", "optax", "blackjax", "numpy")
"""Software that a page names; the rows hold all versions."""


@dataclass(frozen=True)
class Page:
    """What a study has found."""

    tables: Mapping[str, pd.DataFrame]
    """Caption → table, in order"""
    figures: Mapping[str, Figure]
    """What it shows, for those who cannot see it → figure"""
    findings: Sequence[str] = ()
    """Sentences whose numbers come from the rows: what was to be reached, and what was"""


def write(
    name: str,
    title: str,
    page_of: Callable[[pd.DataFrame], Page],
    kept: Sequence[Mapping[str, Any]],
    document: Path,
    command: str,
) -> None:
    """Write the page of a study, and beside it its rows and its figures.

    Raises
    ------
    InputError
        If the page is there and has no place for the results.
    """
    frames = [pd.DataFrame(one["rows"]).assign(case=one["case"]) for one in kept]
    rows = pd.concat(frames, ignore_index=True)
    page = page_of(rows)
    document.parent.mkdir(parents=True, exist_ok=True)
    with replacing(document.with_suffix(".csv")) as temporary:
        rows.to_csv(temporary, index=False, float_format="%.6g")
    parts = [f"- {finding}" for finding in page.findings]
    parts = ["\n".join(parts)] if parts else []
    for number, (shows, figure) in enumerate(page.figures.items(), start=1):
        file = f"{document.stem}-{number}" if len(page.figures) > 1 else document.stem
        for ending, written in (("png", plot.png), ("pdf", plot.pdf)):
            with replacing(document.with_name(f"{file}.{ending}")) as temporary:
                temporary.write_bytes(written(figure))
        parts.append(f"![{shows}]({file}.png)")
    parts += [f"**{caption}**\n\n{_markdown(table)}" for caption, table in page.tables.items()]
    parts.append(_origin(kept, command, document.with_suffix(".csv").name))
    _replace(document, name, title, "\n\n".join(parts))


def _replace(document: Path, name: str, title: str, block: str) -> None:
    """Put a block between the markers of a page, which is made if it is not there."""
    begin = BEGIN.format(name=name)
    text = document.read_text(encoding="utf-8") if document.is_file() else f"# {title}\n\n{begin}\n{END}\n"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise bp.InputError(f"{document} without a place for the results", f"{begin} … {END}", "add these two lines")
    with replacing(document) as temporary:
        temporary.write_text(f"{before}{begin}\n\n{block}\n\n{END}{after}", encoding="utf-8")


def _markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown: its index and then its columns, everything as it is printed."""
    head = [*(str(name or "") for name in table.index.names), *map(str, table.columns)]
    lines = [head, ["---"] * len(head)]
    for key, row in zip(table.index, table.itertuples(index=False), strict=True):
        lines.append([str(one) for one in (*(key if isinstance(key, tuple) else (key,)), *row)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _origin(kept: Sequence[Mapping[str, Any]], command: str, csv: str) -> str:
    """Return how the rows were made; where they differ, all that there is."""

    def every(found: Sequence[Any]) -> str:
        return " or ".join(dict.fromkeys(map(str, found)))

    software = ", ".join(f"{name} {every([one['versions'][name] for one in kept])}" for name in _NAMED)
    minutes = round(sum(one["seconds"] for one in kept) / 60)
    took = f"{minutes} minute{'' if minutes == 1 else 's'}, added up"
    commits = every([one["git_commit"][:7] for one in kept])
    resumed = sum(one["resumed"] for one in kept)
    less = f", what {resumed} had taken before they were killed left out" if resumed else ""
    seeds = every([one["asked"]["seed"] for one in kept])
    return (
        f"Made by `{command}`, seed {seeds}: {len(kept)} cases in {took}{less}; cores "
        f"of each: {every([one['cores'] for one in kept])} ({every([one['device'] for one in kept])}); {software}; "
        f"commit {commits or 'unknown'}. All rows: [{csv}]({csv})."
    )
