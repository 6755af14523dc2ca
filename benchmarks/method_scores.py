"""What :mod:`methods` measures of a fit: some of the numbers of a comparison, with their errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import binn_prob as bp

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.inference import Fit
    from binn_prob.results.compare import Comparison

__all__ = ["SHARES", "scores"]

SHARES = {
    "true_parameters": "train_parameters_true_90",
    "true_processes": "held_out_processes_true_90",
    "observations": "held_out_coverage_90",
}
"""Shares of truths inside their 90 % intervals, by the column of the comparison that they are: with their errors."""

NUMBERS = {"seconds": "wall_seconds", "crps": "held_out_crps", "log_nse": "held_out_log_nse"}
"""Other numbers, likewise."""


def scores(name: str, fit: Fit, test: xr.Dataset) -> dict[str, Any]:
    """Return what is measured of one fit; what a model cannot have, predictions at other sites, is left out."""
    comparison = bp.compare({name: fit}, test=test if fit.model.has_network else None)
    verdict = comparison.verdicts()[name]
    found: dict[str, Any] = {"converged": verdict.converged, "reasons": list(verdict.reasons)}
    there = set(comparison.table.columns)
    found |= {key: float(comparison.table.loc[name, column]) for key, column in NUMBERS.items() if column in there}
    return found | {key: share(comparison, name, column) for key, column in SHARES.items() if column in there}


def share(comparison: Comparison, name: str, column: str) -> tuple[float, float | None]:
    """Return a number with its standard error; None of a single site."""
    error = float(comparison.errors.loc[name, column])
    return float(comparison.table.loc[name, column]), None if math.isnan(error) else error
