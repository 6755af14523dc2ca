"""What :mod:`methods` measures of a fit: the scores of :mod:`binn_prob.results`, with the errors of the coverages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

import binn_prob as bp
from binn_prob.results import calibration, posterior

if TYPE_CHECKING:
    from binn_prob.inference import Fit

__all__ = ["observations_inside", "parameters_inside", "processes_inside", "scores", "share"]

LEVEL = 0.9
"""Probability of the intervals whose coverage is reported."""

GIVEN = "plant_carbon_input"
"""The process that is forcing: known, not inferred."""

Counts = tuple[Sequence[float], Sequence[float]]
"""For each site how many truths lie inside their intervals, and how many there are."""


def scores(name: str, fit: Fit, test: xr.Dataset) -> dict[str, Any]:
    """Return what is measured of one fit; None where there is no such number."""
    comparison = bp.compare({name: fit}, test=test if fit.model.has_network else None)
    tree, verdict = comparison.trees[name], comparison.verdicts()[name]
    parts = posterior.parts(tree)
    found: dict[str, Any] = {
        "seconds": float(comparison.table.loc[name, "wall_seconds"]),
        "converged": verdict.converged,
        "reasons": list(verdict.reasons),
        "true_parameters": share(*parameters_inside(parts["train"])),
    }
    if "held_out" in parts:
        held_out = parts["held_out"]
        found["true_processes"] = share(*processes_inside(held_out, test))
        found["observations"] = share(*observations_inside(held_out))
        found |= {column: float(comparison.table.loc[name, f"held_out_{column}"]) for column in ("crps", "log_nse")}
    return found


def share(inside: Sequence[float], counted: Sequence[float]) -> tuple[float, float | None]:
    """Return the share that lies inside, and its standard error by a bootstrap over sites; None of a single site."""
    from scipy.stats import bootstrap

    def ratio(inside: np.ndarray, counted: np.ndarray, axis: int = -1) -> np.ndarray:
        return inside.sum(axis=axis) / counted.sum(axis=axis)

    arrays = np.asarray(inside, dtype=float), np.asarray(counted, dtype=float)
    if len(arrays[0]) < 2:
        return float(ratio(*arrays)), None
    drawn = bootstrap(arrays, ratio, paired=True, n_resamples=2000, method="percentile", rng=np.random.default_rng(0))
    return float(ratio(*arrays)), float(drawn.standard_error)


def parameters_inside(part: xr.DataTree) -> Counts:
    """Count the true parameters inside their intervals, as ``calibration.parameter_coverage`` does of all sites."""
    sites = _single_sites(part)
    counted = [site["constant_data/true_parameters"].size for site in sites]
    shares = [calibration.parameter_coverage(site, LEVEL) for site in sites]
    return [one * count for one, count in zip(shares, counted, strict=True)], counted


def observations_inside(part: xr.DataTree) -> Counts:
    """Count the observations inside their predictive intervals, as ``calibration.coverage`` does of all sites."""
    transforms = [calibration.observed_transform(site) for site in _single_sites(part)]
    counted = [len(values) for values in transforms]
    return [
        calibration.coverage_at(values, LEVEL) * len(values) if len(values) else 0.0 for values in transforms
    ], counted


def processes_inside(part: xr.DataTree, sites: xr.Dataset) -> Counts:
    """Count the true processes, those of the true parameters, inside their intervals."""
    draws = part["posterior/processes"]
    true = bp.clm5.processes(sites["true_parameters"].to_numpy(), bp.clm5.Forcing.from_dataset(sites))
    truth = draws.isel(chain=0, draw=0, drop=True).copy(data=np.asarray(true)).drop_sel(process=GIVEN)
    low, high = (draws.quantile((1 + sign * LEVEL) / 2, ("chain", "draw")) for sign in (-1, 1))
    inside = ((low <= truth) & (truth <= high)).sum("process").to_numpy()
    return list(inside), [truth.sizes["process"]] * len(inside)


def _single_sites(part: xr.DataTree) -> list[xr.DataTree]:
    """Return the tree of each site by itself."""
    groups = {name: child.to_dataset() for name, child in part.children.items() if name != posterior.HELD_OUT}
    return [
        xr.DataTree.from_dict({name: one.isel(site=[place], missing_dims="ignore") for name, one in groups.items()})
        for place in range(groups["posterior"].sizes["site"])
    ]
