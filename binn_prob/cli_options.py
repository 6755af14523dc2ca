"""The options that several commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from binn_prob.errors import InputError

__all__ = [
    "Allow", "Config", "Data", "Device", "FirstStage", "Json", "Model", "Out", "Precision", "Quiet", "Reference",
    "Resume", "Seed", "Sites", "Split", "number_or_ids",
]  # fmt: skip

Sites = Annotated[
    str | None,
    typer.Option(help="Number of sites, or their ids with commas. [default: 64 synthetic ones, all of New York]"),
]
Data = Annotated[str | None, typer.Option(help="synthetic or new-york. [default: synthetic]")]
Model = Annotated[str | None, typer.Option(help="binn, neural_prior or site. [default: binn]")]
Seed = Annotated[int | None, typer.Option(help="Determines every random number. [default: 0]")]
Split = Annotated[str | None, typer.Option(help="location, random or block. [default: location]")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or gpu. [default: auto]")]
Precision = Annotated[str | None, typer.Option(help="float64 or float32. [default: float64]")]
Out = Annotated[Path | None, typer.Option(help="Folder for the results. [default: runs/<time>-<name>]")]
Config = Annotated[Path | None, typer.Option(help="YAML file of settings; the other options override it.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Finish the run in --out, which was killed; its settings are those it had.")
]
Allow = Annotated[
    bool, typer.Option("--allow-unconverged", help="Exit with 0 also if a method to be trusted has not converged.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only the results.")]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
Reference = Annotated[str | None, typer.Option(help="Method that the others are compared with.")]
FirstStage = Annotated[
    Path | None,
    typer.Option(help="Folder of a run of independent sites (--model site), for the method upscaling to learn from."),
]


def number_or_ids(sites: str | None) -> int | list[int] | None:
    """Read ``64`` as a number of sites and ``19830,20276`` as their ids."""
    if sites is None:
        return None
    try:
        return [int(site) for site in sites.split(",")] if "," in sites else int(sites)
    except ValueError:
        expected = "an integer, or integers with commas"
        raise InputError(f"--sites {sites}", expected, "give the number of sites or their ids") from None
