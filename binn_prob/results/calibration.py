"""Where observations lie in the predictive distribution, and whether its intervals can be believed.

The point prediction is the posterior median of the modelled carbon at the observed depths.  The predictive distribution
adds the noise of an observation.
"""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from binn_prob.results.posterior import group, pooled

__all__ = ["LEVELS", "coverage_at", "observed_transform", "point_prediction", "probability_integral_transform"]

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Probabilities of the central predictive intervals whose coverage is reported."""

_Array = NDArray[np.float64]


def point_prediction(tree: xr.DataTree) -> xr.DataArray:
    """Return the posterior median of the modelled carbon at the observed depths, (site, observation) [g C m-3]."""
    draws = group(tree, "posterior")["soc_at_depth"]
    median = np.full(draws.isel(chain=0, draw=0).shape, math.nan)
    observed = _observed_mask(tree)
    median[observed] = np.median(pooled(draws)[:, observed], axis=0)
    return draws.isel(chain=0, draw=0, drop=True).copy(data=median)


def probability_integral_transform(tree: xr.DataTree) -> xr.DataArray:
    """Return where each observation lies in its predictive distribution, (site, observation), between 0 and 1.

    With ``r`` of ``n`` draws below the observation it is ``(r + 1/2) / (n + 1)``: were the observation one more draw,
    ``r`` would take each of ``n + 1`` values equally often.  Values are then uniform if the prediction is calibrated.

    Source: Dawid 1984, Statistical theory: the prequential approach, Journal of the Royal Statistical Society A 147,
    278–292; Gneiting, Balabdaoui and Raftery 2007, Journal of the Royal Statistical Society B 69, 243–268.
    """
    observations = group(tree, "observed_data")["soc"]
    observed = _observed_mask(tree)
    draws = pooled(group(tree, "posterior_predictive")["soc"])[:, observed]
    below = (draws < observations.to_numpy()[observed]).sum(axis=0)
    below = np.where(np.isfinite(draws).all(axis=0), below, math.nan)
    values = np.full(observations.shape, math.nan)
    values[observed] = (below + 0.5) / (len(draws) + 1)
    return observations.copy(data=values).drop_attrs()


def coverage_at(transform: _Array, level: float) -> float:
    """Return the share of observations inside their central interval of probability ``level``.

    The interval runs from the quantile ``(1 - level) / 2`` to ``(1 + level) / 2`` of the predictive distribution, so an
    observation lies inside if its probability integral transform does.  Calibrated intervals have a coverage of
    ``level``; too narrow ones less.

    Source: Gneiting, Balabdaoui and Raftery 2007, section 3.
    """
    if not transform.size or not np.isfinite(transform).all():
        return math.nan
    return float(np.mean(np.abs(transform - 0.5) <= level / 2))


def observed_transform(tree: xr.DataTree) -> _Array:
    """Return the probability integral transform of every observation, without the padding."""
    values: _Array = probability_integral_transform(tree).to_numpy()[_observed_mask(tree)]
    return values


def _observed_mask(tree: xr.DataTree) -> NDArray[np.bool_]:
    """Return where there is an observation, (site, observation)."""
    mask: NDArray[np.bool_] = group(tree, "observed_data")["soc"].notnull().to_numpy()
    return mask
