"""Tables for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["listed", "table"]

_CELL = "padding: 0.15em 0.8em 0.15em 0"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts; the first entry of every row is its label, the others are numbers."""
    head = "".join(f'<th style="{_CELL}; text-align: right">{escape(cell)}</th>' for cell in header)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_row, rows))}</tbody></table>"


def listed(texts: Iterable[str]) -> str:
    """Return texts as a list."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def _row(cells: Sequence[str]) -> str:
    label, *numbers = cells
    first = f'<th style="{_CELL}; text-align: left; font-weight: normal">{escape(label)}</th>'
    return f"<tr>{first}{''.join(map(_number, numbers))}</tr>"


def _number(text: str) -> str:
    return f'<td style="{_CELL}; text-align: right">{escape(text)}</td>'
