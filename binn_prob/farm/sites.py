"""Hand the units of a farm out to the workers of a cluster, and see that each is fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from binn_prob.errors import InputError
from binn_prob.farm.clusters import ClusterSettings, connected, refuse_missing_libraries
from binn_prob.farm.fitted import FittedSites
from binn_prob.farm.software import SoftwareError, refuse_other_software, software
from binn_prob.farm.store import Store
from binn_prob.farm.tasks import Tasks
from binn_prob.farm.units import Farm, arranged
from binn_prob.precision import chosen_precision
from binn_prob.provenance import shortened

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

__all__ = ["fit_sites"]

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
        If units could not be fitted, naming some of their sites; or, counting the units that are kept, if the
        connection to the scheduler was lost, or none but workers with other software are left.  ``resume`` goes on.
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
    with connected(settings) as client, _ending(client, store):
        refuse_other_software(client, farm.software)
        say(f"{len(missing)} units of sites to fit, {len(done)} there already; dashboard: {client.dashboard_link}")
        if not client.nthreads():
            say("no worker is there yet; waiting for the first")
        tasks = Tasks(client, farm, sites, order, settings.retries, say)
        with tqdm(total=store.sites, initial=kept, desc=farm.method.name, unit="site", disable=not progress) as bar:
            for unit, reason in tasks.results(missing):
                if reason is None:
                    place = store.place(unit)
                    bar.update(place.stop - place.start)
                else:
                    reasons[unit] = reason
    if reasons:
        lost = [str(one) for unit in sorted(reasons) for one in sites["site"].to_numpy()[order[store.place(unit)]]]
        why = shortened(list(dict.fromkeys(reasons.values())), 1)
        raise FitError(
            f"{len(reasons)} units of sites could not be fitted ({why}); "
            f"their sites are {shortened(lost, _NAMED)}; all others are kept, and resume tries these again"
        )


@contextmanager
def _ending(client: Client, store: Store) -> Iterator[None]:
    """Say in one line why a farm ends before its time, and what there is to go on with.

    Raises
    ------
    FitError
        If the scheduler has gone, or no workers are there but those with other software.
    """
    from distributed import CancelledError
    from distributed.comm import CommClosedError

    from binn_prob.inference import FitError

    kept = "units of sites are kept, and resume goes on with the others"
    try:
        yield
    except SoftwareError as error:
        got = "other software at a worker that came later, and none with that of this process"
        raise FitError(f"{got}: {error}; {len(store.done())} {kept}") from error
    except Exception as error:
        if client.status == "running" and not isinstance(error, (CancelledError, CommClosedError)):
            raise
        raise FitError(f"the connection to the scheduler was lost; {len(store.done())} {kept}") from error
