"""The command line: arguments in, functions called, nothing else.

JAX and all that needs it are imported inside the commands, so that ``--help``, ``--version`` and wrong arguments
answer at once, and so that device and precision can still be chosen.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binn_prob.cli_config import config_app, settings_of
from binn_prob.cli_data import data_app
from binn_prob.cli_options import Allow, Cluster, Config, Json, Noise, Out, Quiet, Reference, Resume, with_run_options
from binn_prob.cli_results import diagnose, refuse_unconverged, report, show, show_recovery, show_verdicts
from binn_prob.cli_sites import predict, simulate
from binn_prob.errors import InputError

if TYPE_CHECKING:
    from binn_prob.settings import Settings
    from binn_prob.workflow import Run

__all__ = ["app", "main"]

app = typer.Typer(
    name="binn-prob",
    help="Bayesian parameters of the CLM5 soil carbon model: MC dropout, variational inference and NUTS compared.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")

_INTERRUPTED = 130  # as shells report Ctrl-C

_STATUS = "Exit status: 0 done; 1 a method could not fit; 2 wrong input; 3 {} has not converged; 130 interrupted."


def _print_version(wanted: bool) -> None:
    if wanted:
        from binn_prob.version import __version__

        typer.echo(f"binn-prob {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _binn_prob(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(epilog=_STATUS.format("the reference (without one: a method with Markov chains)"))
@with_run_options
def compare(
    given: dict[str, Any],
    reference: Reference = None,
    out: Out = None,
    config: Config = None,
    resume: Resume = False,
    allow_unconverged: Allow = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit the same model to the same sites by several methods, and compare their posteriors.

    Leaves a table, a posterior for each method, figures and a report in the run folder.
    """
    settings = settings_of(given | {"reference": reference}, config, out, resume)
    done = _run(settings, out, resume, quiet, compared=True)
    if done.comparison is not None:
        show(done.comparison, as_json=as_json)
    _end(done, allow_unconverged, as_json=as_json)


@app.command(epilog=_STATUS.format("the reference (without one: a method with Markov chains)"))
@with_run_options
def recover(
    given: dict[str, Any],
    noise: Noise = None,
    simulation_seed: Annotated[int | None, typer.Option(help="Of the truth and the observations. [default: 0]")] = None,
    reference: Reference = None,
    out: Out = None,
    config: Config = None,
    resume: Resume = False,
    allow_unconverged: Allow = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw the truth from the model's prior, observe it at the sites, and see what each method recovers of it.

    Leaves what 'compare' leaves, and prints for each parameter how near the posteriors come to the truth.  With the
    model 'site' every site is a replicate, and the ranks of the truth are those of simulation-based calibration.
    """
    given["simulation"] = {"noise": noise, "seed": simulation_seed}
    defaults = {"name": "recovery", "simulation": {}}
    settings = settings_of(given | {"reference": reference}, config, out, resume, defaults)
    done = _run(settings, out, resume, quiet, compared=True)
    if done.comparison is not None:
        show_recovery(done.comparison, as_json=as_json)
    _end(done, allow_unconverged, as_json=as_json)


@app.command(epilog=_STATUS.format("a method"))
@with_run_options
def fit(
    given: dict[str, Any],
    cluster: Cluster = None,
    out: Out = None,
    config: Config = None,
    resume: Resume = False,
    allow_unconverged: Allow = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit a model to sites by one method, or several, without comparing them.

    Leaves a posterior for each method in the run folder.  With --first-stage a network learns from the posteriors of
    the independent sites of another run, and so predicts the sites held out: the second stage of PRODA.
    """
    defaults = {"name": "fit", "split": {"test_fraction": 0.0}}
    given["cluster"] = None if cluster is None else {"address": cluster}
    settings = settings_of(given, config, out, resume, defaults).of_one_method()
    done = _run(settings, out, resume, quiet, compared=False)
    show_verdicts(done.verdicts, as_json=as_json)
    _end(done, allow_unconverged, as_json=as_json)


app.command()(simulate)
app.command(epilog=_STATUS.format("a posterior"))(predict)
app.command(epilog=_STATUS.format("the reference (without one: a method with Markov chains)"))(report)
app.command(epilog=_STATUS.format("a posterior"))(diagnose)


def _run(settings: Settings, out: Path | None, resume: bool, quiet: bool, *, compared: bool) -> Run:
    """Run what the settings ask for, and tell how it goes unless asked to be quiet."""
    from binn_prob.devices import is_first_process
    from binn_prob.workflow import run, silent

    done = run(settings, out, compared=compared, resume=resume, progress=not quiet, say=silent if quiet else _say)
    if not is_first_process():
        raise typer.Exit  # the first of many processes speaks for all
    return done


def _end(done: Run, allow_unconverged: bool, *, as_json: bool = False) -> None:
    """Say where the results are and what is wrong with them, and exit accordingly."""
    typer.echo(done.folder, err=as_json)
    for word, why in done.failures.items():
        _say(f"error: {word} could not fit: {why}")
    try:
        refuse_unconverged(done.unconverged(), allow_unconverged)
    finally:
        if done.failures:
            raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Default: those of the process.

    Returns
    -------
    int
        The exit status: 0 done, 1 a method could not fit, 2 wrong input, 3 a method that was to be trusted has not
        converged, 130 interrupted.
    """
    try:
        status: int = app(arguments, prog_name="binn-prob", standalone_mode=False) or 0
        if status == _INTERRUPTED:
            _say("interrupted; what was finished is kept, and --resume goes on from there")
        return status
    except InputError as error:
        _say(f"error: {error}")
    except typer.TyperException as error:
        _say(f"error: {error.format_message().rstrip('.')}; see binn-prob --help")
    return 2


def _say(message: str) -> None:
    typer.echo(" ".join(message.split()), err=True)


if __name__ == "__main__":
    sys.exit(main())
