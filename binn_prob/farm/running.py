"""A run whose sites are fitted on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from binn_prob.errors import InputError
from binn_prob.farm.clusters import refuse_missing_libraries
from binn_prob.farm.sites import fit_sites, refuse_others

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.record import Record
    from binn_prob.results.convergence import Convergence
    from binn_prob.settings import Settings

__all__ = ["fit_on_cluster", "refuse_unsuited"]


def refuse_unsuited(settings: Settings, methods: Mapping[str, Any], *, compared: bool) -> None:
    """Refuse a run that a cluster cannot do, at next to no cost.

    Raises
    ------
    InputError
        If methods are compared, there is another method than ``site_nuts``, sites are also to be shared out among
        devices, or a library is missing.
    """
    if settings.cluster is None:
        return
    for method in methods.values():
        refuse_others(method)
    if compared:
        got, cure = "a cluster for a comparison", "use  binn-prob fit,  and compare with  binn-prob report"
        raise InputError(got, "one fit of independent sites", cure)
    if settings.devices is not None or settings.device == "gpu":
        got, cure = "a cluster, whose workers each have one core of a CPU", "leave --devices and --device out"
        raise InputError(f"{got}, and other devices", "one or the other", cure)
    refuse_missing_libraries(settings.cluster)


def fit_on_cluster(
    settings: Settings,
    model: Any,
    methods: Mapping[str, Any],
    sites: xr.Dataset,
    record: Record,
    progress: bool,
    say: Callable[[str], object],
) -> dict[str, Convergence]:
    """Fit the sites of a run on its cluster, and leave their posterior in its folder.

    The fit goes on with what ``farm_<method>`` in the folder holds; the posterior stays there alone if there is no room
    for it in memory.

    Returns
    -------
    dict
        Method → what the diagnostics of every site say; empty if there are sites that could not be fitted, which is
        recorded.
    """
    from binn_prob.inference import FitError
    from binn_prob.results import storage

    ((word, method),) = methods.items()
    assert settings.cluster is not None
    folder = record.folder / f"farm_{word}"
    try:
        with record.timing(word):
            done = fit_sites(
                model, sites, folder, method=method, seed=settings.seed, cluster=settings.cluster, resume=True,
                progress=progress, say=say,
            )  # fmt: skip
    except FitError as error:
        record.fail(word, error)
        return {}
    if done.fits_in_memory():
        storage.save(done.tree(), record.folder / f"posterior_{word}.nc")
    else:
        size = f"{done.gibibytes():.0f} GiB of draws do not fit into memory"
        say(f"{size}; binn_prob.farm.open_sites({str(folder)!r}) opens them lazily")
    return {word: done.convergence}
