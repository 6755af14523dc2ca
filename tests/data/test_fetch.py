from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from binn_prob.data import new_york
from binn_prob.errors import InputError

Serve = Callable[..., tuple[str, list[str]]]
TARGET = "Training_Data/env_info.txt"


def files(folder: Path) -> dict[str, bytes]:
    """Relative path and content of every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_arrives_as_it_is(registered: Path, serve: Serve, tmp_path: Path) -> None:
    address, _ = serve(registered)
    got = new_york.fetch(tmp_path / "got", address, progressbar=False)
    assert got == tmp_path / "got"
    assert files(got) == files(registered)
    assert new_york.read(got).sizes["site"] == 5


def test_the_slash_at_the_end_of_the_address_does_not_matter(registered: Path, serve: Serve, tmp_path: Path) -> None:
    address, _ = serve(registered)
    assert files(new_york.fetch(tmp_path / "got", address.rstrip("/"), progressbar=False)) == files(registered)


def test_files_that_are_right_are_not_downloaded_again(registered: Path, serve: Serve, tmp_path: Path) -> None:
    address, requests = serve(registered)
    got = new_york.fetch(tmp_path / "got", address, progressbar=False)
    (got / TARGET).write_text("spoilt", encoding="utf-8")
    requests.clear()
    new_york.fetch(got, address, progressbar=False)
    assert requests == [f"/{TARGET}"]
    assert files(got) == files(registered)


def test_the_folder_is_the_one_of_the_environment(
    registered: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BINN_PROB_DATA", str(tmp_path / "mine"))
    assert new_york.fetch(base_url=serve(registered)[0], progressbar=False) == tmp_path / "mine"
    assert new_york.read().sizes["site"] == 5
    monkeypatch.setenv("BINN_PROB_DATA", "")
    assert new_york.data_folder().name == "new_york"
    assert "binn_prob" in new_york.data_folder().parts


def test_progress_is_shown_on_request(
    registered: Path,
    serve: Serve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, _ = serve(registered)
    new_york.fetch(tmp_path / "to a file", address)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes the stream for a terminal
    new_york.fetch(tmp_path / "quiet", address, progressbar=False)
    assert capsys.readouterr() == ("", "")
    new_york.fetch(tmp_path / "told", address)
    out, err = capsys.readouterr()
    assert out == ""
    assert "100%" in err


def refused(folder: Path, address: str, retries: int = 0) -> str:
    """Return the message of a fetch that must fail, after checking that it left nothing unfinished."""
    with pytest.raises(InputError) as caught:
        new_york.fetch(folder, address, retries=retries, progressbar=False)
    assert TARGET not in files(folder)
    assert all(Path(name).suffix in (".txt", ".npy") for name in files(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_truncated_file_is_refused(registered: Path, serve: Serve, tmp_path: Path) -> None:
    address, _ = serve(registered, cut=("env_info.txt",))
    assert f"{address}{TARGET}" in refused(tmp_path / "got", address)


def test_another_file_than_the_published_one_is_refused(registered: Path, serve: Serve, tmp_path: Path) -> None:
    (registered / TARGET).write_text("1,2,3\n", encoding="utf-8")
    message = refused(tmp_path / "got", serve(registered)[0])
    assert f"{TARGET} with another SHA-256" in message


def test_a_file_that_is_not_there_is_named(registered: Path, serve: Serve, tmp_path: Path) -> None:
    (registered / TARGET).unlink()
    address, requests = serve(registered)
    message = refused(tmp_path / "got", address, retries=1)
    assert f"status 404 from {address}{TARGET}" in message
    assert "BINN_PROB_DATA" in message
    assert requests.count(f"/{TARGET}") == 2


def test_without_a_network_the_cure_is_named(registered: Path, tmp_path: Path) -> None:
    (tmp_path / "got").mkdir()
    assert "check the network" in refused(tmp_path / "got", "http://127.0.0.1:9/")


def test_a_folder_that_cannot_be_made_is_named(registered: Path, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(InputError, match="choose another folder"):
        new_york.fetch(tmp_path / "file", serve(registered)[0], progressbar=False)


def test_the_registry_is_that_of_the_published_files(new_york_folder: Path, serve: Serve, tmp_path: Path) -> None:
    address, requests = serve(new_york_folder)
    got = new_york.fetch(tmp_path / "got", address, progressbar=False)
    published = files(new_york_folder)
    assert {name: content for name, content in files(got).items() if published.get(name) != content} == {}
    assert len(requests) == len(new_york.REGISTRY.read_text(encoding="utf-8").splitlines()) == 31


def test_the_address_is_that_of_the_public_repository() -> None:
    assert new_york.URL == (
        "https://raw.githubusercontent.com/Hardyxu8067/BINN_Demo/a1c5e0e0383f23bb344c77e693a99c68c4bc1abe/Input_Data/"
    )
