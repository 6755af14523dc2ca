"""Units of sites: which sites go together, and how a worker fits them.

A unit has the draws that :func:`binn_prob.fit` gives of its sites alone, with a seed of its own.  They depend on the
data set, which says which sites are a unit, on the number of sites per unit, the seed, the model, the method, the
precision and the versions of the libraries; not on the workers, nor on the order in which the units are fitted, nor on
which of them a task takes.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from binn_prob.farm.software import SoftwareError, other_software
from binn_prob.farm.store import Store
from binn_prob.precision import Precision

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

__all__ = ["Farm", "UnitError", "arranged", "fit_units", "packed", "unit_seed"]


@dataclass(frozen=True)
class Farm:
    """What all units have in common."""

    model: Any
    method: Any
    seed: int
    precision: Precision
    store: Store
    software: Mapping[str, str]
    """By which the draws are to be made: that of the process that hands the units out, see
    :func:`binn_prob.farm.software.software`"""


class UnitError(RuntimeError):
    """Some units of a task could not be fitted: unit → why.  The others are in the store."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons


def arranged(dataset: xr.Dataset) -> np.ndarray:
    """Return the positions of the sites of a data set in the order in which they are divided into units.

    Sites with about as many observations are neighbours, in the order of the data set: they run as one program, and the
    others need not carry their padding.
    """
    from binn_prob.inference.site_groups import observations, padding

    return padding(observations(dataset)).argsort(kind="stable")


def unit_seed(seed: int, first: Any) -> int:
    """Return the seed of the unit whose first site has the id ``first``."""
    digest = hashlib.sha256(json.dumps([seed, str(first)]).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def packed(farm: Farm, units: Mapping[int, xr.Dataset]) -> bytes:
    """Return some units with their sites as a task for :func:`fit_units`, whose process opens it when it is ready."""
    import cloudpickle

    return bytes(cloudpickle.dumps((farm, dict(units))))


def fit_units(precision: Precision, expected: Mapping[str, str], task: bytes) -> dict[int, float]:
    """Fit the units of a task, one after the other, and keep each as soon as it is there.

    It runs in a process of its own, on one core of a CPU.

    Returns
    -------
    dict
        Unit → the seconds that it took; those that were there already are left out.

    Raises
    ------
    SoftwareError
        If the software of this process is not what is expected.
    UnitError
        Naming the units that could not be fitted, once all have been tried.
    """
    from distributed import get_worker

    from binn_prob.devices import use_device

    if changes := other_software(expected):  # of a worker that has come since the others were asked
        raise SoftwareError(get_worker().address, changes)
    os.environ.setdefault("NPROC", "1")  # the threads of JAX on a CPU; it has not started yet, nor read the task
    use_device("cpu", precision)
    farm, units = pickle.loads(task)
    seconds, reasons = {}, {}
    for unit, sites in units.items():
        if farm.store.has(unit):
            continue
        try:
            seconds[unit] = _fit(farm, unit, sites)
        except Exception as error:
            reasons[unit] = " ".join(f"{type(error).__name__}: {error}".split())
    if reasons:
        raise UnitError(reasons)
    return seconds


def _fit(farm: Farm, unit: int, sites: xr.Dataset) -> float:
    """Fit one unit, keep its posterior, and return the seconds that it took."""
    import jax

    from binn_prob.inference.base import Stopwatch
    from binn_prob.memory import watched
    from binn_prob.results.convergence import by_site

    stopwatch, ids = Stopwatch(), sites["site"].to_numpy()
    with watched() as peak:
        fitted = farm.method.fit(jax.random.key(unit_seed(farm.seed, ids[0])), farm.model, sites, progress=False)
    tree = fitted.posterior()
    tree.attrs["git_commit"] = farm.software["git_commit"]  # one for all units, whenever their processes began
    judged = by_site(tree)
    said = {
        "sites": ids.tolist(),
        "wall_seconds": fitted.wall_seconds,
        "gradients": fitted.gradients,
        "peak_memory": peak.gibibytes,
        "created": tree.attrs["created"],
        "exclusions": json.loads(tree.children["observed_data"].attrs.get("exclusions", "{}")),
        "convergence": {str(name): values.to_numpy().tolist() for name, values in judged.data_vars.items()},
    }
    farm.store.write(unit, tree, said)
    return stopwatch.seconds()
