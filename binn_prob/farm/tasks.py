"""The tasks of a farm: which units are handed out together, and what becomes of those that come to nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from binn_prob.farm.software import SoftwareError, send_away
from binn_prob.farm.units import Farm, UnitError, fit_units, packed

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from distributed import Client, Future

__all__ = ["Tasks"]

_SECONDS_PER_TASK = 60.0
"""What a task is to take: the longer, the less there is to hand out; a worker that dies loses but one unit of it."""

_TASKS_PER_WORKER = 2
"""Tasks that have been handed out for each worker, so that none waits for the next."""

_MOST_UNITS = 16
"""In a task, which carries their data."""


class Tasks:
    """Tasks of one or several units, whose number follows from what units have been found to take."""

    def __init__(
        self, client: Client, farm: Farm, sites: xr.Dataset, order: np.ndarray, retries: int,
        say: Callable[[str], object],
    ) -> None:  # fmt: skip
        self.client = client
        self.farm = farm
        self.sites = sites
        self.order = order
        self.retries = retries
        self.say = say
        self.running: dict[Future, list[int]] = {}
        self.alone: deque[int] = deque()
        """Units of tasks whose workers died, one of which may have been the cause, or were sent away"""
        self.seconds: list[float] = []

    def results(self, units: Iterable[int]) -> Iterator[tuple[int, str | None]]:
        """Fit units, and yield each as it is there, with the reason if it could not be fitted.

        Raises
        ------
        SoftwareError
            If a worker has come with other software, and there is none with that of the farm.
        """
        from distributed import as_completed

        waiting = deque(units)
        finished = as_completed()
        while waiting or self.alone or self.running:
            while (waiting or self.alone) and len(self.running) < _TASKS_PER_WORKER * self._workers():
                number = 1 if self.alone else self.units_per_task(len(waiting))
                source = self.alone or waiting
                finished.add(self._submitted([source.popleft() for _ in range(number)]))
            future = next(finished)
            task = self.running.pop(future)
            reasons = self._reasons(future, task)
            yield from ((unit, reasons.get(unit)) for unit in task if unit not in self.alone)

    def units_per_task(self, waiting: int) -> int:
        """Return how many of the units that wait are to be the next task: fewer towards the end, for all to end."""
        if not self.seconds:
            return 1
        mean = sum(self.seconds) / len(self.seconds)
        share = waiting // (_TASKS_PER_WORKER * self._workers())
        return max(1, min(round(_SECONDS_PER_TASK / mean), share, _MOST_UNITS))

    def _submitted(self, units: list[int]) -> Future:
        """Hand a task out; Dask gives it to another worker if its worker dies, and tries it again if it fails."""
        data = {unit: self.sites.isel(site=self.order[self.farm.store.place(unit)]).load() for unit in units}
        future = self.client.submit(
            fit_units, self.farm.precision, self.farm.software, packed(self.farm, data), pure=False,
            retries=self.retries,
        )  # fmt: skip
        self.running[future] = units
        return future

    def _reasons(self, future: Future, units: list[int]) -> dict[int, str]:
        """Return why units of a task could not be fitted; those that are to be tried alone are noted instead.

        Raises
        ------
        SoftwareError
            As :meth:`results`.
        """
        from distributed import KilledWorker

        error = future.exception()
        if error is None:
            self.seconds += future.result().values()
            return {}
        if isinstance(error, SoftwareError):
            send_away(self.client, self.farm.software, error, self.say)  # it would fail at all that wait, one by one
            self.alone += units
            return {}
        tried = f"tried {self.retries + 1} times, "
        if isinstance(error, UnitError):
            return {unit: tried + reason for unit, reason in error.reasons.items()}
        lost = [unit for unit in units if not self.farm.store.has(unit)]
        if isinstance(error, KilledWorker):
            if len(units) > 1:
                self.alone += lost
                return {}
            died = f"{error.allowed_failures + 1} processes died at it, perhaps for lack of memory"
            return dict.fromkeys(lost, died)
        return dict.fromkeys(lost, tried + " ".join(f"{type(error).__name__}: {error}".split()))

    def _workers(self) -> int:
        return max(1, len(self.client.nthreads()))
