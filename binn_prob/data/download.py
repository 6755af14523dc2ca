"""Download of published files: each checked against its SHA-256 before it gets its name."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from binn_prob.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pooch

__all__ = ["cache_folder", "download"]

_TIMEOUT = 30.0  # seconds without an answer


def cache_folder() -> Path:
    """Return the folder of the operating system in which binn_prob keeps what it has downloaded."""
    import pooch

    return Path(pooch.os_cache("binn_prob"))


def download(registry: Path, base_url: str, folder: Path, *, retries: int = 3, progressbar: bool = True) -> Path:
    """Bring every file of a registry into a folder, unless it is there already with the right content.

    A file is written under a temporary name, and renamed once its SHA-256 is the registered one.

    Parameters
    ----------
    registry : Path
        Text file with a relative path and ``sha256:<digest>`` per line.
    base_url : str
        Address that the relative paths are appended to.
    folder : Path
        Where the files go; made if need be.
    retries : int
        How many times a failed download of a file is tried again.
    progressbar : bool
        Whether to show one on the terminal.

    Returns
    -------
    Path
        ``folder``.

    Raises
    ------
    InputError
        If the server cannot be reached or has no such file, a file is not the registered one, or the folder cannot be
        written to.
    """
    import pooch
    from rich.console import Console
    from rich.progress import track

    files = pooch.create(path=folder, base_url=base_url.rstrip("/") + "/", registry=None, retry_if_failed=retries)
    files.load_registry(registry)
    console = Console(stderr=True)
    shown = progressbar and console.is_terminal  # elsewhere an error would stand behind the remains of the bar
    with _quiet(pooch.get_logger()):
        for name in track(files.registry_files, "Files", console=console, transient=True, disable=not shown):
            _fetch(files, name)
    return folder


def _fetch(files: pooch.Pooch, name: str) -> None:
    """Download one file of a pooch, with errors a user can cure."""
    from requests import RequestException

    url = files.get_url(name)
    try:
        files.fetch(name, downloader=_stream)
    except RequestException as error:
        status = type(error).__name__ if error.response is None else f"status {error.response.status_code}"
        raise InputError(
            f"{status} from {url}",
            "the published file",
            "check the network and fetch again, or point BINN_PROB_DATA at a local copy of the folder",
        ) from error
    except ValueError as error:  # the checksum
        raise InputError(
            f"{name} with another SHA-256 than the published file, from {url}",
            f"sha256 {files.registry[name].removeprefix('sha256:')}",
            "fetch again; if it stays so, something between here and the server changes the file",
        ) from error
    except OSError as error:
        raise InputError(
            f"{files.path} where {name} cannot be written ({error.strerror or error})",
            "a folder that can be written to",
            "choose another folder, by argument or by BINN_PROB_DATA",
        ) from error


def _stream(url: str, target: str, _: pooch.Pooch) -> None:
    """Write what an address answers into a file, and close the connection whatever happens."""
    import requests

    with requests.get(url, stream=True, timeout=_TIMEOUT) as response, Path(target).open("wb") as file:
        response.raise_for_status()
        for chunk in response.iter_content(chunk_size=2**16):
            file.write(chunk)


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Leave the terminal to the progress bar."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
