"""The commands about data: download them, look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from binn_prob.errors import InputError

__all__ = ["Sites", "data_app", "number_or_ids"]

data_app = typer.Typer(help="The data: download them, look at them.", rich_markup_mode=None)

Sites = Annotated[
    str | None,
    typer.Option(help="Number of sites, or their ids with commas. [default: 64 synthetic ones, all of New York]"),
]
Folder = Annotated[Path | None, typer.Option(help="Folder of the published files. [default: the cache of downloads]")]


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="new-york")],
    folder: Folder = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Download published files, each checked against its SHA-256."""
    if name != "new-york":
        raise InputError(
            f"dataset {name!r}", "new-york, the one that is downloaded", "write  binn-prob data fetch new-york"
        )
    from binn_prob.data import new_york

    typer.echo(new_york.fetch(folder, progressbar=not quiet))


@data_app.command()
def describe(
    name: Annotated[str, typer.Argument(help="synthetic or new-york")],
    sites: Sites = None,
    seed: Annotated[int, typer.Option(help="Of the synthetic sites, or of the choice of sites.")] = 0,
    folder: Folder = None,
) -> None:
    """Print how many sites and observations there are, what they hold, and what was left out and why."""
    import binn_prob.data

    table = binn_prob.data.describe(binn_prob.data.load(name, sites=number_or_ids(sites), seed=seed, folder=folder))  # type: ignore[arg-type]
    typer.echo(table.to_string(float_format="{:.6g}".format))


def number_or_ids(sites: str | None) -> int | list[int] | None:
    """Read ``64`` as a number of sites and ``19830,20276`` as their ids."""
    if sites is None:
        return None
    try:
        return [int(site) for site in sites.split(",")] if "," in sites else int(sites)
    except ValueError:
        expected = "an integer, or integers with commas"
        raise InputError(f"--sites {sites}", expected, "give the number of sites or their ids") from None
