"""The commands about what runs have left: report on it, diagnose it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binn_prob.cli_options import Allow, Json, Reference

if TYPE_CHECKING:
    import pandas as pd

    from binn_prob.results.compare import Comparison
    from binn_prob.results.convergence import Convergence, Verdict

__all__ = [
    "UNCONVERGED", "diagnose", "refuse_unconverged", "report", "show", "show_recovery", "show_summary", "show_verdicts",
]  # fmt: skip

UNCONVERGED = 3
"""Exit status where a method to be trusted has not converged."""

Runs = Annotated[list[Path], typer.Argument(help="Folders of runs, or single files posterior_<method>.nc.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the report. [default: that of the only run]")]


def report(
    runs: Runs, reference: Reference = None, out: Out = None, allow_unconverged: Allow = False, as_json: Json = False
) -> None:
    """Compare the posteriors that runs have left: scores, figures, and a page to read."""
    from binn_prob.reporting import report

    comparison, folder = report(runs, reference, out)
    show(comparison, as_json=as_json)
    typer.echo(folder / "report.html", err=as_json)
    refuse_unconverged(comparison.unconverged(), allow_unconverged)


def diagnose(runs: Runs, allow_unconverged: Allow = False, as_json: Json = False) -> None:
    """Say of every posterior whether it has converged, why not, and what is worst in it."""
    from binn_prob.reporting import posteriors
    from binn_prob.results.convergence import summarise

    found = {name: summarise(tree) for name, tree in posteriors(runs).items()}
    verdicts = {name: one.verdict for name, one in found.items()}
    if as_json:
        show_verdicts(verdicts, as_json=True)
    else:
        for name, one in found.items():
            typer.echo("\n".join(_told(name, one)))
    if not allow_unconverged and not all(verdict.converged for verdict in verdicts.values()):
        raise typer.Exit(UNCONVERGED)


def refuse_unconverged(verdicts: Mapping[str, Verdict], allow_unconverged: bool) -> None:
    """Say which methods have not converged that were to be trusted, and exit accordingly, unless that is allowed."""
    found = {} if allow_unconverged else {name: one for name, one in verdicts.items() if not one.converged}
    for name, verdict in found.items():
        cure = "run it longer, take another method, or accept it as it is with --allow-unconverged"
        typer.echo(f"error: {name}: {verdict}; {cure}", err=True)
    if found:
        raise typer.Exit(UNCONVERGED)


def show_summary(summary: pd.DataFrame, *, as_json: bool) -> None:
    """Print what sites are, as a table or, for machines, as JSON."""
    if as_json:
        typer.echo(json.dumps({str(name): float(value) for name, value in summary["value"].items()}, indent=1))
    else:
        typer.echo(summary.to_string(float_format="{:.6g}".format))


def show_verdicts(verdicts: Mapping[str, Verdict], *, as_json: bool) -> None:
    """Print whether each method has converged and why not, as lines or, for machines, as JSON."""
    if as_json:
        held = {name: {"converged": one.converged, "reasons": list(one.reasons)} for name, one in verdicts.items()}
        typer.echo(json.dumps(held, indent=1))
        return
    for name, verdict in verdicts.items():
        typer.echo(f"{name}: {verdict}")


def show(comparison: Comparison, *, as_json: bool) -> None:
    """Print the scores of a comparison and what they come to, as a table or, for machines, as JSON."""
    if as_json:
        typer.echo(json.dumps(comparison.to_dict(), indent=1, allow_nan=False))
        return
    typer.echo(comparison.table_text())
    _show_conclusions(comparison)


def show_recovery(comparison: Comparison, *, as_json: bool) -> None:
    """Print what the methods of a comparison recover of the truth, as a table or, for machines, as JSON."""
    if as_json:
        show(comparison, as_json=True)
        return
    typer.echo(comparison.recovery_text())
    _show_conclusions(comparison)


def _show_conclusions(comparison: Comparison) -> None:
    """Print whose intervals can be believed."""
    for conclusion in comparison.conclusions().values():
        typer.echo(f"{'+' if conclusion.believed else '-'} {conclusion}")


def _told(name: str, found: Convergence) -> list[str]:
    """Return the lines on one posterior: the verdict, its numbers, the worst quantities."""
    from binn_prob.results.measures import MEASURES, printed

    known = [(key, getattr(found, key, None)) for key, measure in MEASURES.items() if measure.section == "convergence"]
    numbers = [f"{MEASURES[key].label} {printed(key, value)}" for key, value in known if value is not None]
    numbers = [number for number in numbers if not number.endswith(" ")]
    worst = [f"  largest R-hat: {', '.join(found.worst)}"] if found.worst else []
    return [f"{name}: {found.verdict}", *([f"  {', '.join(numbers)}"] if numbers else []), *worst]
