"""The command line: arguments in, functions called, nothing else.

JAX and all that needs it are imported inside the commands, so that ``--help``, ``--version`` and wrong arguments
answer at once, and so that device and precision can still be chosen.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from binn_prob.errors import InputError

__all__ = ["app", "main"]

app = typer.Typer(
    name="binn-prob",
    help="Bayesian parameters of the CLM5 soil carbon model: MC dropout, variational inference and NUTS compared.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="The data: download them, look at them.", rich_markup_mode=None)
app.add_typer(data_app, name="data")

_INTERRUPTED = 130  # as shells report Ctrl-C

Sites = Annotated[
    str | None,
    typer.Option(help="Number of sites, or their ids with commas. [default: 64 synthetic ones, all of New York]"),
]
Folder = Annotated[Path | None, typer.Option(help="Folder of the published files. [default: the cache of downloads]")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from binn_prob.version import __version__

        typer.echo(f"binn-prob {__version__}")
        raise typer.Exit


@app.callback()
def _binn_prob(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def compare(
    data: Annotated[str | None, typer.Option(help="synthetic or new-york. [default: synthetic]")] = None,
    sites: Sites = None,
    model: Annotated[str | None, typer.Option(help="binn or site. [default: binn]")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Can be repeated, or a list with commas. [default: all that serve the model]"),
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Method that the others are compared with.")] = None,
    seed: Annotated[int | None, typer.Option(help="Determines every random number. [default: 0]")] = None,
    split: Annotated[str | None, typer.Option(help="location, random or block. [default: location]")] = None,
    test_fraction: Annotated[float | None, typer.Option(help="Share of the sites held out. [default: 0.2]")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or gpu. [default: auto]")] = None,
    precision: Annotated[str | None, typer.Option(help="float64 or float32. [default: float64]")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results. [default: runs/<time>-<name>]")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; the other options override it.")] = None,
    name: Annotated[str | None, typer.Option(help="Ends the name of the run folder. [default: comparison]")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the table.")] = False,
) -> None:
    """Fit the same model to the same sites by several methods, and compare their posteriors.

    Leaves a table, a posterior for each method, figures and a report in the run folder.
    """
    from binn_prob.settings import Settings
    from binn_prob.workflow import run

    settings = Settings.from_yaml(
        config,
        name=name,
        seed=seed,
        device=device,
        precision=precision,
        data={"name": data, "sites": _number_or_ids(sites)},
        split={"by": split, "test_fraction": test_fraction},
        model={"name": model},
        methods=None if method is None else [word.strip() for one in method for word in one.split(",")],
        reference=reference,
    )
    done = run(settings, out, progress=not quiet, say=_ignore if quiet else _say)
    if done.comparison is not None:
        typer.echo(done.comparison.table_text())
        for word, doubts in done.comparison.doubts().items():
            _say(f"not converged: {word} has {doubts}; run it longer before relying on small differences")
    typer.echo(done.folder)
    for word, why in done.failures.items():
        _say(f"error: {word} could not fit: {why}")
    if done.failures:
        raise typer.Exit(1)


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

    table = binn_prob.data.describe(binn_prob.data.load(name, sites=_number_or_ids(sites), seed=seed, folder=folder))  # type: ignore[arg-type]
    typer.echo(table.to_string(float_format="{:.6g}".format))


def _number_or_ids(sites: str | None) -> int | list[int] | None:
    """Read ``64`` as a number of sites and ``19830,20276`` as their ids."""
    if sites is None:
        return None
    try:
        return [int(site) for site in sites.split(",")] if "," in sites else int(sites)
    except ValueError:
        expected = "an integer, or integers with commas"
        raise InputError(f"--sites {sites}", expected, "give the number of sites or their ids") from None


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Default: those of the process.

    Returns
    -------
    int
        The exit status: 0 done, 1 a method could not fit, 2 wrong input, 130 interrupted.
    """
    try:
        status: int = app(arguments, prog_name="binn-prob", standalone_mode=False) or 0
        if status == _INTERRUPTED:
            _say("interrupted; what was finished is kept")
        return status
    except InputError as error:
        _say(f"error: {error}")
    except typer.TyperException as error:
        _say(f"error: {error.format_message().rstrip('.')}; see binn-prob --help")
    return 2


def _say(message: str) -> None:
    typer.echo(" ".join(message.split()), err=True)


def _ignore(message: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
