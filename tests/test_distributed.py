"""One program of two processes, which find each other as tasks of SLURM do, on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import binn_prob as bp
from binn_prob.results import storage
from binn_prob.workflow import run

SETTINGS = "methods: {vi: {steps: 100, draws: 10}}"
_FIRST_PORT = 61440
"""JAX takes the port of the coordinator from the number of the job, counted from here"""


def command(folder: Path, out: Path, *options: str) -> list[str]:
    """Return a short fit of five sites."""
    (folder / "short.yaml").write_text(SETTINGS, encoding="utf-8")
    return [
        sys.executable, "-m", "binn_prob.cli", "fit", "--sites", "5", "--config", str(folder / "short.yaml"),
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


@pytest.mark.slow
def test_two_processes_are_one_program(tmp_path: Path) -> None:
    """Both compute, the first writes and speaks, and the draws are those of one process."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    subprocess.run(command(tmp_path, alone, "--quiet"), env={**os.environ, "JAX_PLATFORMS": "cpu"}, check=True)
    job = free_job()
    tasks = [
        subprocess.Popen(
            command(tmp_path, together, "--distributed"), env=task(number, job), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in (0, 1)
    ]  # fmt: skip
    said = [one.communicate(timeout=600) for one in tasks]
    assert [one.returncode for one in tasks] == [0, 0], said
    assert str(together) in said[0][0]
    assert not [line for line in said[1][0].splitlines() if not line.startswith("[Gloo]")]
    assert sorted(path.name for path in alone.iterdir()) == sorted(path.name for path in together.iterdir())
    one, two = (storage.load(folder / "posterior_vi.nc") for folder in (alone, together))
    assert (one.attrs["devices"], two.attrs["devices"]) == (1, 2)
    np.testing.assert_allclose(two["posterior/parameters"], one["posterior/parameters"], rtol=1e-7)


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
