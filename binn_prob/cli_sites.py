"""The commands about sites: make some up, predict others from what was fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from binn_prob.cli_config import settings_of
from binn_prob.cli_options import (
    METHOD_WORDS,
    Config,
    Data,
    DataSeed,
    Device,
    Devices,
    Json,
    Model,
    Noise,
    Precision,
    Quiet,
    Sites,
    number_or_all,
    number_or_ids,
    one_of,
)
from binn_prob.cli_results import refuse_unconverged, show_summary
from binn_prob.devices import use_device
from binn_prob.errors import InputError

__all__ = ["predict", "simulate"]


def simulate(
    out: Annotated[Path, typer.Option(help="File for the sites, ending in .nc or .zarr.")],
    data: Data = None,
    sites: Sites = None,
    model: Model = None,
    data_seed: DataSeed = None,
    noise: Noise = None,
    seed: Annotated[int | None, typer.Option(help="Of the truth and the observations. [default: 0]")] = None,
    device: Device = None,
    precision: Precision = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Draw a truth from a model's prior, and observations of it at sites; what is written is data for --data.

    The forcing, the covariates and the depths are those of the sites; parameters and carbon are made up.
    """
    given = {
        "data": {"name": data, "sites": number_or_ids(sites), "seed": data_seed}, "model": {"name": model},
        "first_stage": None, "device": device, "precision": precision, "simulation": {"seed": seed, "noise": noise},
    }  # fmt: skip
    settings = settings_of(given, config, None, resume=False, defaults={"simulation": {}})
    use_device(settings.device, settings.precision)

    from binn_prob import data as sources
    from binn_prob.data.storage import checked_path
    from binn_prob.sites import loaded

    path = checked_path(out)
    made = loaded(settings)
    sources.save(made, path)
    show_summary(sources.describe(made), as_json=as_json)
    typer.echo(path, err=as_json)


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Annotated[
        str,
        typer.Option(help="synthetic, new-york, new-york-grid, national, or a netCDF file or Zarr store of sites."),
    ] = "new-york-grid",
    sites: Sites = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Can be repeated, or a list with commas. [default: the reference of the run, else its first]",
            autocompletion=one_of(*METHOD_WORDS),
        ),
    ] = None,
    data_seed: DataSeed = None,
    device: Device = None,
    devices: Devices = None,
    precision: Precision = None,
    out: Annotated[Path | None, typer.Option(help="Folder. [default: prediction-<data> in that of the run]")] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Any number of sites of a file, in bounded memory; keeps means, deviations and quantiles, no draws.",
        ),
    ] = False,
    memory: Annotated[
        float | None, typer.Option(help="With --stream: memory for the sites at hand, in GiB. [default: 1]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --stream: go on in --out; sites that are there are not done again.")
    ] = False,
    allow_unconverged: Annotated[
        bool, typer.Option("--allow-unconverged", help="Exit with 0 also if a posterior has not converged.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Predict parameters, processes and carbon at other sites from the posteriors that a run has left.

    Leaves for each method all draws (.nc), a table of means, deviations and quantiles (.csv), and maps; with --stream
    a Zarr store of means, deviations and quantiles, and maps.
    """
    from binn_prob import prediction

    words = None if method is None else [word.strip() for one in method for word in one.split(",")]
    say = (lambda message: None) if quiet else (lambda message: typer.echo(message, err=True))
    common: dict[str, Any] = {
        "device": device, "devices": number_or_all(devices), "precision": precision, "say": say,
    }  # fmt: skip
    _refuse_mixed(
        stream, {"--sites": sites, "--data-seed": data_seed}, {"--memory": memory, "--resume": resume or None}
    )
    if stream:
        done = prediction.stream(run, data, words, out, memory=memory, resume=resume, progress=not quiet, **common)
    else:
        source = {"name": data, "sites": number_or_ids(sites), "seed": data_seed or 0}
        done = prediction.predict(run, source, words, out, **common)
    if as_json:
        typer.echo(json.dumps({name: table.to_dict("records") for name, table in done.processes.items()}, indent=1))
    else:
        for name, table in done.processes.items():
            typer.echo(f"{name}\n{table.to_string(index=False, float_format='{:.4g}'.format)}")
    typer.echo(done.folder, err=as_json)
    refuse_unconverged(done.verdicts, allow_unconverged)


def _refuse_mixed(stream: bool, without: dict[str, Any], only: dict[str, Any]) -> None:
    """Refuse options that are given with ``--stream``, or without it, and mean nothing there."""
    given = [name for name, value in (without if stream else only).items() if value is not None]
    if given:
        got = f"{' and '.join(given)} {'with' if stream else 'without'} --stream"
        cure = f"leave {'them' if len(given) > 1 else 'it'} out"
        raise InputError(got, "all sites of a file" if stream else "--stream", cure)
