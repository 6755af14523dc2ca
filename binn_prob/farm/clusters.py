"""Which cluster runs a farm: its settings, and the connection to it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from binn_prob.devices import cores
from binn_prob.errors import InputError
from binn_prob.options import one_line

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["CLUSTERS", "ClusterSettings", "connected", "refuse_missing_libraries"]

LOCAL, SLURM = "local", "slurm"

CLUSTERS = (LOCAL, "tcp://host:port", SLURM)
"""What may stand for a cluster: workers on this machine, those of a scheduler that runs, or jobs of SLURM."""

_SLURM_JOB = {"cores": 1, "memory": "4GB"}
"""What a job has, unless the settings or the configuration files of Dask say otherwise."""

_SLURM_WORKERS = 8


class ClusterSettings(BaseModel):
    """Where the units of a farm are computed; none of it but ``sites_per_unit`` has a say in the draws.

    Raises
    ------
    InputError
        If a key is unknown or its value is not what it must be.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    address: str = LOCAL
    """``local``, ``tcp://host:port`` of a Dask scheduler, or ``slurm``"""
    workers: Annotated[int, Field(ge=1)] | None = None
    """processes that compute; default: the cores of this machine, 8 with ``slurm``, those there are with ``tcp``"""
    sites_per_unit: Annotated[int, Field(ge=1)] = 32
    """sites that are fitted together, and lost together when a worker dies"""
    retries: Annotated[int, Field(ge=0)] = 2
    """times that a unit is tried again that has failed"""
    slurm: dict[str, Any] = {}
    """arguments of ``dask_jobqueue.SLURMCluster``, such as ``queue``, ``account``, ``walltime``"""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise one_line(error, section=type(self)) from None

    @model_validator(mode="before")
    @classmethod
    def _a_word_is_an_address(cls, values: Any) -> Any:
        return {"address": values} if isinstance(values, str) else values

    @field_validator("address")
    @classmethod
    def _known(cls, address: str) -> str:
        if address not in (LOCAL, SLURM) and re.fullmatch(r"(tcp|tls)://.+:\d+", address) is None:
            expected = f"one of {', '.join(CLUSTERS)}"
            raise InputError(f"unknown cluster {address!r}", expected, "correct --cluster, or cluster.address")
        return address


def refuse_missing_libraries(settings: ClusterSettings) -> None:
    """Refuse a farm where the libraries that it needs are not installed.

    Raises
    ------
    InputError
        Naming them.
    """
    needed = {"dask": "dask", "distributed": "distributed", "zarr": "zarr"}
    needed |= {"dask_jobqueue": "dask-jobqueue"} if settings.address == SLURM else {}
    missing = [name for module, name in needed.items() if find_spec(module) is None]
    if missing:
        expected, cure = "the libraries that farms need", 'pip install "binn-prob[cluster]"'
        raise InputError(f"a cluster without {', '.join(missing)}", expected, cure)


@contextmanager
def connected(settings: ClusterSettings) -> Iterator[Client]:
    """Connect to a cluster, which is started before if it is ``local`` or ``slurm``, and ended afterwards.

    Raises
    ------
    InputError
        If nothing answers at the address, or SLURM takes no jobs.
    """
    import logging

    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    started = {LOCAL: _local, SLURM: _slurm}
    with ExitStack() as stack:
        where = settings.address
        if where in started:
            where = stack.enter_context(started[where](settings))
        try:
            client = Client(where)
        except (OSError, TimeoutError) as error:
            got = f"{settings.address}, where no scheduler answers ({' '.join(str(error).split())[:120]})"
            cure = "start one with  dask scheduler  and  dask worker --nthreads 1, or choose --cluster local"
            raise InputError(got, "the address of a Dask scheduler", cure) from None
        running = ExitStack()
        try:
            yield running.enter_context(client)
        finally:
            with silence_logging_cmgr(logging.CRITICAL):  # one that has lost its scheduler would show where it waits
                running.close()


def _local(settings: ClusterSettings) -> Any:
    """Return a cluster of processes on this machine, each with one thread."""
    import logging

    from distributed import LocalCluster

    return LocalCluster(
        n_workers=settings.workers or cores(), threads_per_worker=1, dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )  # fmt: skip


def _slurm(settings: ClusterSettings) -> Any:
    """Return a cluster of jobs of SLURM, with one worker of one thread to each of their cores.

    A job that ends, because it was pre-empted or its time was over, is followed by another.

    Raises
    ------
    InputError
        If there is no such argument, or SLURM would not take such a job.
    """
    from dask import config
    from dask_jobqueue import SLURMCluster

    usual = {name: config.get(f"jobqueue.slurm.{name}", None) or value for name, value in _SLURM_JOB.items()}
    options = usual | settings.slurm
    try:
        cluster = SLURMCluster(**options | {"processes": options["cores"]})
    except (TypeError, ValueError) as error:
        got = f"cluster.slurm {settings.slurm} ({' '.join(str(error).split())[:120]})"
        raise InputError(got, "arguments of dask_jobqueue.SLURMCluster", "correct cluster.slurm") from None
    try:
        _refuse_jobs(shlex.split(cluster.job_cls.submit_command), cluster.job_script())
    except InputError:
        cluster.close()
        raise
    workers = settings.workers or _SLURM_WORKERS
    cluster.adapt(minimum=workers, maximum=workers)
    return cluster


def _refuse_jobs(submit: list[str], script: str) -> None:
    """Refuse jobs that SLURM would not take: Dask would wait for their workers for ever.

    Raises
    ------
    InputError
        With what SLURM has said.
    """
    try:
        asked = subprocess.run([*submit, "--test-only"], input=script, capture_output=True, text=True, check=False)
    except OSError as error:
        got = f"cluster 'slurm' where {submit[0]} cannot be called ({error.strerror})"
        raise InputError(got, "a machine from which SLURM takes jobs", "go there, or choose --cluster local") from None
    if asked.returncode:
        got = f"a job that SLURM does not take ({' '.join(asked.stderr.split())[:200]})"
        raise InputError(got, "one that it takes", "correct cluster.slurm")
