"""How far the joint posterior of the parameters of each site lies from a reference, and how its parameters correlate.

Marginal means and standard deviations can agree where the posteriors do not: the parameters of soil carbon trade off
against each other, and a mean-field guide, which ignores that, may still have the right marginals of what it reports.
"""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from binn_prob.results.distance import same_sites
from binn_prob.results.posterior import group, parameter_ranges
from binn_prob.results.scores import Array, Measure, Score, median

__all__ = ["MEASURES", "correlations", "joint", "joint_by_site"]

MEASURES: dict[str, Measure] = {
    "sliced_wasserstein": Measure("sliced Wasserstein distance / reference sd", "{:.3f}", "agreement"),
    "two_sample_score": Measure("accuracy of a classifier of draws", "{:.3f}", "agreement"),
    "correlation_difference": Measure("difference of parameter correlations", "{:.3f}", "agreement"),
}
"""Medians over sites.

sliced_wasserstein
    Mean over random directions of the Wasserstein-1 distance of the draws along them, each parameter in standard
    deviations of the reference (Rabin, Peyré, Delon and Bernot 2012, Wasserstein barycenter and its application to
    texture mixing, Lecture Notes in Computer Science 6667, 435–446).  0.1: in a typical direction the posteriors are a
    tenth of a standard deviation apart.
two_sample_score
    Share of held-out draws that quadratic discriminant analysis assigns to the right posterior, on the logit scale of
    the parameters (Lopez-Paz and Oquab 2017, Revisiting classifier two-sample tests, arXiv:1610.06545).  0.5: nothing
    that shows in means, widths and correlations tells them apart; 1: they do not overlap.
correlation_difference
    Root mean square, over pairs of parameters, of the difference of their posterior correlations.

For the reference itself, one half of its chains is held against the other: what its number of draws lets one see.
"""

_DRAWS = 1000
"""Most draws of each posterior that are compared: of two as many as the one with fewer has."""

_SITES = 100
"""Sites that :func:`joint` looks at, evenly spaced; its errors say what that leaves open."""

_DIRECTIONS = 64
_FOLDS = 5

_EDGE = 1e-6
"""Distance from the ends of a parameter's range, in widths of it, that the logit scale ends at."""


def joint(tree: xr.DataTree, reference: xr.DataTree, seed: int = 0) -> dict[str, Score]:
    """Return the medians of :func:`joint_by_site` over up to 100 sites, with the names of :data:`MEASURES`."""
    sites = np.sort(group(reference, "posterior")["site"].values)
    chosen = sites[np.unique(np.linspace(0, len(sites) - 1, min(len(sites), _SITES)).round().astype(int))]
    found = joint_by_site(tree, reference, seed, chosen)
    return {name: median(found[name].dropna("site").to_numpy(), seed) for name in MEASURES}


def joint_by_site(
    tree: xr.DataTree, reference: xr.DataTree, seed: int = 0, sites: NDArray[np.generic] | None = None
) -> xr.Dataset:
    """Compare the joint posterior of the parameters with that of a reference, site by site.

    Parameters
    ----------
    tree, reference : xarray.DataTree
        Posteriors of the same sites, in any order; the same object for what the reference's own draws let one see.
    seed : int
        Of the directions and of the folds.
    sites : array, optional
        Which ones; default: all.

    Returns
    -------
    xarray.Dataset
        With the dimension ``site``, the measures of :data:`MEASURES`; NaN where there are fewer than twice as many
        draws as parameters, or a posterior has no spread.

    Raises
    ------
    InputError
        If the sites are not the same.
    """
    same_sites(tree, reference)
    sites = group(reference, "posterior")["site"].values if sites is None else sites
    theirs, ours = _halves(reference, sites) if tree is reference else (_draws(reference, sites), _draws(tree, sites))
    size = min(len(theirs), len(ours), _DRAWS)
    theirs, ours = (_thinned(draws, size) for draws in (theirs, ours))
    ends = parameter_ranges(reference)
    rng = np.random.default_rng(seed)
    rows = [
        _compared(one, other, ends, rng)
        for one, other in zip(*(np.moveaxis(d, 1, 0) for d in (ours, theirs)), strict=True)
    ]
    return xr.Dataset(
        {name: ("site", values) for name, values in zip(MEASURES, np.array(rows).T, strict=True)}, {"site": sites}
    )


def correlations(tree: xr.DataTree) -> xr.DataArray:
    """Return the posterior correlations of the parameters averaged over sites, (parameter, other_parameter).

    NaN for parameters that are held at given values.
    """
    draws = group(tree, "posterior")["parameters"].transpose("chain", "draw", "site", "parameter").to_numpy()
    by_site = np.moveaxis(draws.reshape(-1, *draws.shape[2:]), 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.mean([np.corrcoef(values, rowvar=False) for values in by_site], axis=0)
    names = group(tree, "posterior")["parameter"].values
    return xr.DataArray(mean, {"parameter": names, "other_parameter": names}, ("parameter", "other_parameter"))


def _draws(tree: xr.DataTree, sites: NDArray[np.generic]) -> Array:
    """Return the draws of all chains, (draw, site, parameter)."""
    draws = group(tree, "posterior")["parameters"].sel(site=sites).transpose("chain", "draw", "site", "parameter")
    values: Array = draws.to_numpy().astype(np.float64)
    return values.reshape(-1, *values.shape[2:])


def _halves(tree: xr.DataTree, sites: NDArray[np.generic]) -> tuple[Array, Array]:
    """Return the draws of one half of the chains and of the other, or those of the halves of a single chain."""
    sizes = group(tree, "posterior").sizes
    draws = _draws(tree, sites)
    middle = sizes["chain"] // 2 * sizes["draw"] if sizes["chain"] > 1 else sizes["draw"] // 2
    return draws[:middle], draws[middle:]


def _thinned(draws: Array, size: int) -> Array:
    """Return ``size`` of the draws, evenly spaced."""
    return draws[np.linspace(0, len(draws) - 1, size).round().astype(int)] if size else draws[:0]


def _compared(ours: Array, theirs: Array, ends: Array, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return the measures of one site from draws (draw, parameter)."""
    free = (np.ptp(theirs, axis=0) > 0) if len(theirs) else np.zeros(ours.shape[1], bool)
    ours, theirs, ends = ours[:, free], theirs[:, free], ends[free]
    if len(ours) < 2 * free.sum() or not free.any() or (np.ptp(ours, axis=0) == 0).any():
        return math.nan, math.nan, math.nan
    return _sliced(ours, theirs, rng), _told_apart(ours, theirs, ends, rng), _correlated(ours, theirs)


def _sliced(ours: Array, theirs: Array, rng: np.random.Generator) -> float:
    """Return the sliced Wasserstein distance of as many draws of each, (draw, parameter)."""
    directions = rng.standard_normal((theirs.shape[1], _DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0) * theirs.std(axis=0, ddof=1)[:, None]
    apart = np.sort(ours @ directions, axis=0) - np.sort(theirs @ directions, axis=0)
    return float(np.abs(apart).mean())


def _told_apart(ours: Array, theirs: Array, ends: Array, rng: np.random.Generator) -> float:
    """Return the accuracy of a classifier of draws, cross-validated."""
    from scipy.special import logit
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    low, high = ends.T
    points = logit(np.clip((np.concatenate([ours, theirs]) - low) / (high - low), _EDGE, 1.0 - _EDGE))
    points = (points - points.mean(axis=0)) / points.std(axis=0)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
    whose = np.repeat([0, 1], [len(ours), len(theirs)])
    classifier = QuadraticDiscriminantAnalysis(reg_param=1e-3)
    return float(cross_val_score(classifier, points, whose, cv=folds).mean())


def _correlated(ours: Array, theirs: Array) -> float:
    """Return the root mean square difference of the correlations of all pairs; NaN of a single parameter."""
    if ours.shape[1] < 2:
        return math.nan
    apart = np.atleast_2d(np.corrcoef(ours, rowvar=False) - np.corrcoef(theirs, rowvar=False))
    return float(np.sqrt(np.mean(apart[np.triu_indices(len(apart), 1)] ** 2)))
