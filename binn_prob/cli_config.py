"""The settings of a run, from options and files; and the command that shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from binn_prob.cli_options import Config, with_run_options
from binn_prob.errors import InputError

if TYPE_CHECKING:
    from binn_prob.settings import Settings

__all__ = ["config_app", "settings_of"]

config_app = typer.Typer(help="The settings of a run.", rich_markup_mode=None)


@config_app.callback()
def _config() -> None:
    pass


@config_app.command()
@with_run_options
def show(given: dict[str, Any], config: Config = None) -> None:
    """Print the settings that a comparison with these options would have, every default spelled out.

    They are a file for --config.
    """
    import yaml

    settings = settings_of(given, config, None, resume=False).written_out()
    typer.echo(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), nl=False)


def settings_of(
    given: dict[str, Any], config: Path | None, out: Path | None, resume: bool, defaults: dict[str, Any] | None = None
) -> Settings:
    """Return the settings asked for; a run that is resumed has those of its folder, unless a file is named.

    The data are by default those of the first stage.

    Raises
    ------
    InputError
        If there is no run to resume, and no file of settings to start one.
    """
    from binn_prob.options import read_yaml
    from binn_prob.settings import Settings

    if resume and config is None and out is not None:
        config = out / "settings.yaml"
        if not config.is_file():
            cure = "correct --out; or leave --resume out, or add --config, to start a run there"
            raise InputError(f"{out}, which holds no run to resume", "a run's folder, with its settings.yaml", cure)
    if given["first_stage"] is not None:
        from binn_prob.saved import run_file

        first = read_yaml(run_file(given["first_stage"], "settings.yaml"))
        defaults = (defaults or {}) | {"data": first.get("data", {})}
    return Settings.from_yaml(config, defaults=defaults, **given)
