"""The measured table of ``docs/methods.md``, and how it gets there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from method_cases import REFERENCE, Case

from binn_prob.errors import InputError
from binn_prob.files import replacing

__all__ = ["BEGIN", "END", "rewrite", "table"]

BEGIN, END = "<!-- measured: begin, written by benchmarks/methods.py -->", "<!-- measured: end -->"
"""What lies between these lines of the document is written anew; all else is left as it is."""

_BEGINNING = "<!-- measured: begin"
"""What all such markers share: a document may have several"""

HEAD = (
    "model", "method", "what it gives", "seconds", "of NUTS", "converged",
    "true parameters", "true processes, held out", "observations, held out", "CRPS, held out",
)  # fmt: skip

_NAMED = ("python", "binn-prob", "jax", "numpyro", "flax", "optax")
"""What the document names of the versions; the rows hold all."""

_BLANK = "–"

Row = Mapping[str, Any]


def table(cases: Sequence[Case], rows: Mapping[str, Row], command: str) -> str:
    """Return the table as Markdown, and below it how it was made.

    Parameters
    ----------
    cases : sequence of Case
        In the order of the table.  Those without a row have blank cells.
    rows : mapping
        Name of a case → what was measured.
    command : str
        What makes the table.
    """
    seconds = rows.get(REFERENCE, {}).get("seconds")
    lines = [HEAD, ["---"] * len(HEAD), *(_cells(case, rows.get(case.name), seconds) for case in cases)]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{text}\n\n{_origin(list(rows.values()), command)}\n"


def rewrite(document: Path, block: str, marker: str = BEGIN) -> None:
    """Put a block between a marker of a document and the end after it, in the place of what was there.

    Raises
    ------
    InputError
        If the document is missing, does not have the marker once, or has not one end for each beginning.
    """
    text = document.read_text(encoding="utf-8") if document.is_file() else ""
    before, begin, rest = text.partition(marker)
    _, end, after = rest.partition(END)
    if not (begin and end) or marker in rest or text.count(END) != text.count(_BEGINNING):
        raise InputError(f"{document} without a place for the table", f"{marker} … {END}, once", "add these two lines")
    with replacing(document) as temporary:
        temporary.write_text(f"{before}{marker}\n\n{block}\n{END}{after}", encoding="utf-8")


def _cells(case: Case, row: Row | None, reference: float | None) -> list[str]:
    """Return the cells of one case."""
    options = ", ".join(
        f"{name}: {str(value).lower() if value is False else value}" for name, value in case.options.items()
    )
    method = f"`{case.method}`" + (f" ({options})" if options else "")
    labels = [f"`{case.model}`", method, case.gives]
    if row is None:
        return labels + [_BLANK] * (len(HEAD) - len(labels))
    if "failure" in row:
        return labels + [_BLANK, _BLANK, f"failed: {row['failure']}"] + [_BLANK] * 4
    ratio = _BLANK if reference is None else f"{row['seconds'] / reference:.2g}"
    shares = [_share(row.get(name)) for name in ("true_parameters", "true_processes", "observations")]
    crps = _BLANK if row.get("crps") is None else f"{row['crps']:.3f}"
    return [*labels, f"{row['seconds']:.0f}", ratio, _verdict(row), *shares, crps]


def _verdict(row: Row) -> str:
    """Return yes, or the first of the reasons why not and how many others there are."""
    if row["converged"]:
        return "yes"
    first, *others = row["reasons"]
    first = first.partition(" (sites ")[0]  # which they are is in the row
    return f"no: {first}" + (f"; and {len(others)} more" if others else "")


def _share(found: Sequence[float | None] | None) -> str:
    """Return a share with its standard error, in percent."""
    if found is None or found[0] is None:
        return _BLANK
    share, error = found
    if error is None:
        return f"{share:.0%}"
    digits = 1 if 0.0 < error < 0.005 else 0
    return f"{100 * share:.{digits}f} ± {100 * error:.{digits}f} %"


def _origin(rows: Sequence[Row], command: str) -> str:
    """Return the sentences on how the rows were made; where they differ, all that there is."""
    if not rows:
        return f"Not measured yet. Made by `{command}`."

    def every(values: Sequence[Any]) -> str:
        return " or ".join(dict.fromkeys(map(str, values)))

    sites = every([row["asked"]["sites"] for row in rows])
    seed = every([row["asked"]["seed"] for row in rows])
    train, held_out = (every([row[part] for row in rows]) for part in ("train", "held_out"))
    software = ", ".join(f"{name} {every([row['versions'][name] for row in rows])}" for name in _NAMED)
    return (
        f'Made by `{command}` from `bp.data.load("synthetic", sites={sites}, seed={seed})`: {train} sites to learn '
        f"from and {held_out} held out, by location; seed {seed} for all; "
        f"{every([row['cores'] for row in rows])} CPU cores, "
        f"{every([row['device'] for row in rows])}; {software}; commit "
        f"{every([str(row['git_commit'])[:7] for row in rows])}."
    )
