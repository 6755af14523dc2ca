"""The commands about data: download them, make them up, look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from binn_prob.cli_options import DataSeed, Json, Sites, number_or_ids
from binn_prob.cli_results import show_summary
from binn_prob.errors import InputError

__all__ = ["data_app"]

data_app = typer.Typer(help="The data: download them, make them up, look at them.", rich_markup_mode=None)

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

    there = new_york.fetch(folder, progressbar=not quiet)
    if not quiet:
        typer.echo("every file there has the registered SHA-256", err=True)
    typer.echo(there)


@data_app.command()
def describe(
    name: Annotated[
        str,
        typer.Argument(help="synthetic, new-york, new-york-grid, national, or a netCDF file or Zarr store of sites"),
    ],
    sites: Sites = None,
    data_seed: DataSeed = None,
    folder: Folder = None,
    screening: Annotated[
        str | None,
        typer.Option(help="Of the national profiles: binn, proda, or names of tests with commas. [default: binn]"),
    ] = None,
    proda_counts_from: Annotated[
        int | None,
        typer.Option(help="Number of the first of the national profiles in PRODA's results, 0 or 1. [default: 0]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print how many sites and observations there are, what they hold, and what was left out and why."""
    from binn_prob import data

    sites_there = data.load(
        name,
        sites=number_or_ids(sites),
        seed=data_seed or 0,
        folder=folder,
        screening=screening if screening in (None, "binn", "proda") else screening.split(","),
        proda_counts_from=proda_counts_from,
    )
    show_summary(data.describe(sites_there), as_json=as_json)


@data_app.command()
def landscape(
    out: Annotated[Path, typer.Argument(help="Zarr store for the sites, ending in .zarr.")],
    sites: Annotated[int, typer.Option(help="Number of sites.")] = 25_925,
    grid: Annotated[
        bool, typer.Option("--grid", help="Cells of a regular grid without observations, to be predicted.")
    ] = False,
    data_seed: DataSeed = None,
    noise: Annotated[float, typer.Option(help="Standard deviation of the logarithm of an observation.")] = 0.3,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Make up sites with known parameters that are alike where they are near, however many, in bounded memory."""
    from tqdm import tqdm

    from binn_prob.data.landscape import Landscape

    made = Landscape(sites, data_seed or 0, grid, noise)
    with tqdm(total=sites, unit="site", unit_scale=True, desc="landscape", disable=quiet) as bar:
        typer.echo(made.write(out, bar.update))
