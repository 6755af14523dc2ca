"""The options that commands have in common, and what becomes of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from binn_prob.errors import InputError

__all__ = [
    "METHOD_WORDS",
    "MODEL_WORDS",
    "Allow",
    "Cluster",
    "Config",
    "Data",
    "DataSeed",
    "Device",
    "Json",
    "Model",
    "Noise",
    "Out",
    "Precision",
    "Quiet",
    "Reference",
    "Resume",
    "Seed",
    "Sites",
    "number_or_all",
    "number_or_ids",
    "one_of",
    "with_run_options",
]  # fmt: skip

METHOD_WORDS = (
    "mc_dropout", "vi", "nuts", "deep_ensemble", "laplace", "sghmc", "site_nuts", "proda_metropolis", "upscaling",
)  # fmt: skip
"""Words of ``binn_prob.inference.METHODS`` and that of the second stage, which loads nothing to be printed."""

MODEL_WORDS = ("binn", "neural_prior", "site")
"""Words of ``binn_prob.models.MODELS``."""

_DATA_WORDS = ("synthetic", "new-york", "new-york-grid", "national")


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Return what a shell offers where one of some words is to be given."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


Data = Annotated[
    str | None,
    typer.Option(
        help="synthetic, new-york, new-york-grid, national, or a netCDF file or Zarr store. [default: synthetic]",
        autocompletion=one_of(*_DATA_WORDS),
    ),
]
Sites = Annotated[
    str | None,
    typer.Option(help="Number of sites, or their ids with commas. [default: 64 synthetic ones, all of other data]"),
]
Model = Annotated[
    str | None,
    typer.Option(help=f"{', '.join(MODEL_WORDS)}. [default: binn]", autocompletion=one_of(*MODEL_WORDS)),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        help=f"{', '.join(METHOD_WORDS)}; can be repeated, or a list with commas. [default: compare, recover: "
        "mc_dropout,vi,nuts, for independent sites vi,site_nuts; fit: the last of them]",
        autocompletion=one_of(*METHOD_WORDS),
    ),
]
Seed = Annotated[int | None, typer.Option(help="Of the fits: determines every random number in them. [default: 0]")]
DataSeed = Annotated[
    int | None, typer.Option(help="Of the synthetic sites, or of the choice of so many sites. [default: 0]")
]
Split = Annotated[
    str | None,
    typer.Option(
        help="location, random or block. [default: location]", autocompletion=one_of("location", "random", "block")
    ),
]
Fraction = Annotated[
    float | None, typer.Option(help="Share of the sites held out. [default: compare, recover: 0.2; fit: 0]")
]
FirstStage = Annotated[
    Path | None,
    typer.Option(help="Folder of a run of independent sites (--model site), for the method upscaling to learn from."),
]
Device = Annotated[
    str | None,
    typer.Option(help="auto, cpu or gpu. [default: auto]", autocompletion=one_of("auto", "cpu", "gpu")),
]
Devices = Annotated[
    str | None,
    typer.Option(help="all, or among how many devices sites are shared out. [default: not; with --distributed: all]"),
]
Distributed = Annotated[
    bool | None,
    typer.Option(
        "--distributed",
        help="One of many processes, such as srun starts, that share the sites out; only the first writes.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(help="float64 or float32. [default: float64]", autocompletion=one_of("float64", "float32")),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="local, tcp://host:port of a Dask scheduler, or slurm: whose workers fit the sites of site_nuts.",
        autocompletion=one_of("local", "tcp://", "slurm"),
    ),
]
Name = Annotated[str | None, typer.Option(help="Ends the name of the run folder. [default: the command]")]
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
Noise = Annotated[
    float | None,
    typer.Option(help="Standard deviation of the logarithm of an observation. [default: as the model says]"),
]
Reference = Annotated[str | None, typer.Option(help="Method that the others are compared with.")]

_SETTINGS: dict[str, Any] = {
    "data": Data, "sites": Sites, "data_seed": DataSeed, "model": Model, "method": Methods, "seed": Seed,
    "split": Split, "test_fraction": Fraction, "first_stage": FirstStage, "device": Device, "devices": Devices,
    "distributed": Distributed, "precision": Precision, "name": Name,
}  # fmt: skip
"""The options that are settings of a run, in the order of ``--help``."""


def with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that are settings of a run; they reach it as one mapping, its first argument."""

    @wraps(command)
    def with_settings(**values: Any) -> None:
        command(_settings({name: values.pop(name) for name in _SETTINGS}), **values)

    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in _SETTINGS.items()]
    parameters = [*shared, *(one.replace(kind=keyword) for one in own)]
    with_settings.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_settings.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_settings


def number_or_ids(sites: str | None) -> int | list[int] | None:
    """Read ``64`` as a number of sites and ``19830,20276`` as their ids."""
    if sites is None:
        return None
    try:
        return [int(site) for site in sites.split(",")] if "," in sites else int(sites)
    except ValueError:
        expected = "an integer, or integers with commas"
        raise InputError(f"--sites {sites}", expected, "give the number of sites or their ids") from None


def number_or_all(devices: str | None) -> int | str | None:
    """Read a number of devices."""
    return int(devices) if devices is not None and devices.isdecimal() else devices


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return options of the command line as settings."""
    method, first_stage = given["method"], given["first_stage"]
    return {
        **{name: given[name] for name in ("name", "seed", "device", "distributed", "precision")},
        "devices": number_or_all(given["devices"]),
        "data": {"name": given["data"], "sites": number_or_ids(given["sites"]), "seed": given["data_seed"]},
        "split": {"by": given["split"], "test_fraction": given["test_fraction"]},
        "model": {"name": given["model"]},
        "first_stage": None if first_stage is None else str(first_stage),
        "methods": None if method is None else [word.strip() for one in method for word in one.split(",")],
    }
