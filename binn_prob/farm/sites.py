"""Hand the units of a farm out to the workers of a cluster, and see that each is fitted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from binn_prob.errors import InputError
from binn_prob.farm.clusters import ClusterSettings, connected, refuse_missing_libraries, refuse_other_software
from binn_prob.farm.fitted import FittedSites
from binn_prob.farm.store import Store
from binn_prob.farm.units import Farm, SoftwareError, UnitError, arranged, fit_units, packed, software
from binn_prob.precision import chosen_precision

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from distributed import Client, Future

__all__ = ["fit_sites"]

_SECONDS_PER_TASK = 60.0
"""What a task is to take: the longer, the less there is to hand out; a worker that dies loses but one unit of it."""

_TASKS_PER_WORKER = 2
"""Tasks that have been handed out for each worker, so that none waits for the next."""

_MOST_UNITS = 16
"""In a task, which carries their data."""

_NAMED = 5
"""How many of the sites that could not be fitted are named."""

Say = Callable[[str], object]


def fit_sites(
    model: Any,
    dataset: xr.Dataset,
    folder: str | Path,
    *,
    method: Any = "site_nuts",
    seed: int = 0,
    cluster: ClusterSettings | str = "local",
    resume: bool = False,
    progress: bool = True,
    say: Say = lambda message: None,
    **options: Any,
) -> FittedSites:
    """Fit every site by itself, on the workers of a Dask cluster.

    Parameters
    ----------
    model
        Of independent sites, or its word: ``"site"``.
    dataset : xarray.Dataset
        The sites; see :mod:`binn_prob.data.schema`.
    folder : path
        Where the posteriors go: see :mod:`binn_prob.farm.store`.  All workers must see it under this path.
    method : str or method
        ``"site_nuts"``, or :class:`binn_prob.inference.SiteNUTS` as it is made.
    seed : int
        Determines every random number, with what stands in :mod:`binn_prob.farm.units`.
    cluster : ClusterSettings or str
        ``"local"``, ``"tcp://host:port"`` or ``"slurm"``; or with more to be said of it.
    resume : bool
        Whether to go on with what ``folder`` holds: units that are there are not fitted again.
    progress : bool
        Whether to show a progress bar on the terminal.
    say : callable
        Called with one line of text where there is something to know, such as the address of Dask's dashboard.
    **options
        Fields of the method, when ``method`` is a word.

    Returns
    -------
    FittedSites
        The posteriors, in their store.

    Raises
    ------
    InputError
        As :func:`binn_prob.fit`; if there is no such cluster, a library is missing, the method is not of independent
        sites, workers have other software, or the folder holds something else.  Nothing has been computed then.
    FitError
        If units could not be fitted, naming some of their sites, the connection to the scheduler was lost, or a worker
        has come whose software is another; all other units are kept, and ``resume`` goes on with the rest.
    """
    from binn_prob.data import fingerprint, validate
    from binn_prob.fitting import as_method, as_model, as_seed, identity
    from binn_prob.inference import METHODS
    from binn_prob.sites import with_observations

    settings = ClusterSettings(address=cluster) if isinstance(cluster, str) else cluster
    model, method = as_model(model), as_method(METHODS, method, options)
    refuse_others(method)
    refuse_missing_libraries(settings)
    method.check(model, dataset)
    sites = with_observations(validate(dataset))
    origin: dict[str, Any] = {"seed": as_seed(seed), "data_fingerprint": fingerprint(dataset)}
    store = Store(Path(folder).absolute(), sites.sizes["site"], settings.sites_per_unit)
    farm = Farm(model, method, seed, chosen_precision(), store, software())
    known = identity(model, method, origin) | {
        "precision": farm.precision, "devices": 1, "sites_per_unit": settings.sites_per_unit
    }  # fmt: skip
    with store.held(known, resume=resume):
        _fit_all(farm, sites, settings, progress, say)
        store.finish()
    return FittedSites(store, model, method, sites)


def refuse_others(method: Any) -> None:
    """Refuse any method but that of a farm.

    Raises
    ------
    InputError
        Naming it.
    """
    if method.name != "site_nuts":
        expected = "method 'site_nuts' of a model of independent sites, such as 'site'"
        cure = "choose  --model site --method site_nuts,  or leave the cluster out"
        raise InputError(f"a cluster for the method {method.name!r}", expected, cure)


def _fit_all(farm: Farm, sites: xr.Dataset, settings: ClusterSettings, progress: bool, say: Say) -> None:
    """Fit all units that the store lacks."""
    from binn_prob.inference import FitError

    order, store = arranged(sites), farm.store
    done = store.done()
    missing = [unit for unit in range(-(-store.sites // store.sites_per_unit)) if unit not in done]
    if not missing:
        return
    kept = sum(len(one["sites"]) for one in done.values())
    reasons = {}
    with connected(settings) as client, _not_lost(client, store):
        refuse_other_software(client, farm.software)
        say(f"{len(missing)} units of sites to fit, {len(done)} there already; dashboard: {client.dashboard_link}")
        if not client.nthreads():
            say("no worker is there yet; waiting for the first")
        with tqdm(total=store.sites, initial=kept, desc=farm.method.name, unit="site", disable=not progress) as bar:
            for unit, reason in _Tasks(client, farm, sites, order, settings.retries).results(missing):
                if reason is None:
                    place = store.place(unit)
                    bar.update(place.stop - place.start)
                else:
                    reasons[unit] = reason
    if reasons:
        lost = [str(one) for unit in sorted(reasons) for one in sites["site"].to_numpy()[order[store.place(unit)]]]
        raise FitError(
            f"{len(reasons)} units of sites could not be fitted ({_named(list(dict.fromkeys(reasons.values())), 1)}); "
            f"their sites are {_named(lost, _NAMED)}; all others are kept, and resume tries these again"
        )


@contextmanager
def _not_lost(client: Client, store: Store) -> Iterator[None]:
    """Say in one line that the scheduler has gone.

    Raises
    ------
    FitError
        If it has.
    """
    from distributed import CancelledError
    from distributed.comm import CommClosedError

    from binn_prob.inference import FitError

    try:
        yield
    except Exception as error:
        if client.status == "running" and not isinstance(error, (CancelledError, CommClosedError)):
            raise
        raise FitError(f"the connection to the scheduler was lost; {_kept(store)}") from error


def _kept(store: Store) -> str:
    """Say what there is to go on with."""
    return f"{len(store.done())} units of sites are kept, and resume goes on with the others"


def _named(words: Sequence[str], most: int) -> str:
    """Return the first of some words, and how many others there are."""
    others = len(words) - most
    return ", ".join(words[:most]) + (f" and {others} more" if others > 0 else "")


class _Tasks:
    """Tasks of one or several units, whose number follows from what units have been found to take."""

    def __init__(self, client: Client, farm: Farm, sites: xr.Dataset, order: np.ndarray, retries: int) -> None:
        self.client = client
        self.farm = farm
        self.sites = sites
        self.order = order
        self.retries = retries
        self.running: dict[Future, list[int]] = {}
        self.alone: deque[int] = deque()
        """Units of tasks whose workers died, one of which may have been the cause"""
        self.seconds: list[float] = []

    def results(self, units: Iterable[int]) -> Iterator[tuple[int, str | None]]:
        """Fit units, and yield each as it is there, with the reason if it could not be fitted."""
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
        FitError
            If it came to a worker with other software, which would take all that wait, one after the other.
        """
        from distributed import KilledWorker

        from binn_prob.inference import FitError

        error = future.exception()
        if error is None:
            self.seconds += future.result().values()
            return {}
        if isinstance(error, SoftwareError):
            raise FitError(f"other software at a worker that came later, {error}; {_kept(self.farm.store)}")
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
