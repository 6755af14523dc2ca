"""One program of two processes, which find each other as tasks of SLURM do, on this machine.

As a script this is the command line with a soil that costs nothing, which saves its state often.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from quick_soil import replace_the_soil

import binn_prob as bp
from binn_prob import cli
from binn_prob.devices import cores
from binn_prob.files import locked
from binn_prob.results import storage
from binn_prob.workflow import run

SETTINGS = """
methods:
  vi: {steps: 400, draws: 10}
  mc_dropout: {steps: 100, draws: 10, batch_sites: 4}
"""
"""Short, for every step takes several exchanges between the processes"""

_FIRST_PORT = 61440
"""JAX takes the port of the coordinator from the number of the job, counted from here"""


def command(folder: Path, out: Path, *options: str) -> list[str]:
    """Return short fits of five sites."""
    (folder / "short.yaml").write_text(SETTINGS, encoding="utf-8")
    return [
        sys.executable, __file__, "fit", "--sites", "5", "--config", str(folder / "short.yaml"),
        "--out", str(out), "--allow-unconverged", *options,
    ]  # fmt: skip


def task(number: int, job: int) -> dict[str, str]:
    """Return the environment of one of two tasks of a job."""
    named = {"JOB_ID": job, "STEP_NODELIST": "localhost", "NTASKS": 2, "PROCID": number, "LOCALID": number}
    return {**os.environ, "JAX_PLATFORMS": "cpu"} | {f"SLURM_{name}": str(value) for name, value in named.items()}


def free_job() -> int:
    """Return the number of a job whose port is free."""
    for job in range(100, 4000, 37):
        with socket.socket() as one:
            if one.connect_ex(("localhost", _FIRST_PORT + job)):
                return job
    raise AssertionError("no free port")


def together(folder: Path, out: Path, *options: str) -> list[subprocess.Popen[str]]:
    """Start the fits as two tasks of a job."""
    job = free_job()
    return [
        subprocess.Popen(
            command(folder, out, "--distributed", *options), env=task(number, job) | {"TMPDIR": str(folder)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in (0, 1)
    ]  # fmt: skip


def ended(tasks: list[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    """Wait for both tasks, and return what each has said; none is left behind."""
    try:
        return [one.communicate(timeout=600) for one in tasks]
    finally:
        for one in tasks:
            one.kill()


@pytest.mark.slow
def test_two_processes_are_one_program(tmp_path: Path) -> None:
    """Both compute, the first writes and speaks; killed at a checkpoint they go on; the draws are those of one."""
    alone, both = tmp_path / "alone", tmp_path / "both"
    subprocess.run(command(tmp_path, alone, "--quiet"), env={**os.environ, "JAX_PLATFORMS": "cpu"}, check=True)
    tasks = together(tmp_path, both)
    deadline = time.monotonic() + 300
    while not (both / "checkpoints" / "vi" / "training.npz").exists():
        assert all(one.poll() is None for one in tasks), ended(tasks)
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.1)
    for one in tasks:
        one.kill()
    ended(tasks)
    assert json.loads((both / "run.json").read_text(encoding="utf-8"))["devices"] == 2 * cores()  # each a device
    tasks = together(tmp_path, both, "--devices", "2", "--resume")
    said = ended(tasks)
    assert [one.returncode for one in tasks] == [0, 0], said
    assert re.search(r"[123]00/400 \[00:00", said[0][1])  # steps, where it goes on
    assert str(both) in said[0][0]
    assert not [line for line in said[1][0].splitlines() if not line.startswith("[Gloo]")]
    assert sorted(path.name for path in alone.iterdir()) == sorted(path.name for path in both.iterdir())
    for method in yaml.safe_load(SETTINGS)["methods"]:
        one, two = (storage.load(folder / f"posterior_{method}.nc") for folder in (alone, both))
        assert (one.attrs["devices"], two.attrs["devices"]) == (1, 4)
        np.testing.assert_allclose(two["posterior/parameters"], one["posterior/parameters"], rtol=1e-7)


@pytest.mark.slow
def test_what_one_process_finds_ends_both(tmp_path: Path) -> None:
    """Each says what it knows, before anything is computed; neither waits for the other in vain."""
    with locked(tmp_path / "run" / "checkpoints"):
        tasks = together(tmp_path, tmp_path / "run", "--resume")
        said = ended(tasks)
    assert [one.returncode for one in tasks] == [2, 2], said
    assert "to which another process is writing" in said[0][1]
    assert "a failure in process 0 of 2" in said[1][1]
    assert not list((tmp_path / "run").glob("posterior*"))


def test_sites_by_themselves_are_no_program_of_many_processes(tmp_path: Path) -> None:
    settings = bp.Settings(distributed=True, model={"name": "site"}, methods=["site_nuts"])
    with pytest.raises(bp.InputError, match=r"'site_nuts' of independent sites, and one program of many processes"):
        run(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_process_that_finds_no_others_says_so(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "OMPI"))}
    done = subprocess.run(
        command(tmp_path, tmp_path / "run", "--distributed"), env={**environment, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--distributed in a process that finds no others" in done.stderr
    assert "start it with srun or mpirun" in done.stderr


if __name__ == "__main__":
    patched = pytest.MonkeyPatch()
    replace_the_soil(patched)
    patched.setattr("binn_prob.inference.training._SAVED_EVERY", 1)
    sys.exit(cli.main())
