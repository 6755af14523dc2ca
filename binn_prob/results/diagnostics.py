"""The diagnostics that a verdict rests on: R-hat and effective sample sizes of chains, E-BFMI, and the fall of a loss.

Sources: Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021, Rank-normalization, folding, and localization: an
improved R-hat for assessing convergence of MCMC, Bayesian Analysis 16(2), 667–718; Betancourt 2016, Diagnosing
suboptimal cotangent disintegrations in Hamiltonian Monte Carlo, arXiv:1604.00695.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from binn_prob.results.posterior import group, is_markov_chain, scalar_names

__all__ = ["Fall", "draws_of", "energy_fraction", "fall", "has_chains", "measures", "statistic"]

_FEWEST_DRAWS = 4
"""Half a chain must hold two draws for its variance to exist."""

_TAILS = (0.05, 0.95)
"""Quantiles whose effective sample size is that of the tails (Vehtari et al. 2021, section 4.3)."""

_SITES_AT_ONCE = 64
"""Sites whose draws are diagnosed together, so that memory does not grow with the number of sites."""

SHARED = -1
"""Place of a quantity that belongs to no site."""


class Fall(NamedTuple):
    """How far a loss has fallen towards the end of a training."""

    nats: float
    """The fall itself"""
    errors: float
    """The fall, in its own Monte Carlo standard errors"""


def has_chains(tree: xr.DataTree) -> bool:
    """Say whether the tree holds at least two Markov chains of at least four draws."""
    sizes = group(tree, "posterior").sizes
    return is_markov_chain(tree) and sizes["chain"] > 1 and sizes["draw"] >= _FEWEST_DRAWS


def measures(tree: xr.DataTree) -> xr.Dataset:
    """Return ``r_hat``, ``ess_bulk`` and ``ess_tail`` of every parameter, process and scalar.

    Returns
    -------
    xarray.Dataset
        With the dimension ``quantity``, whose labels read ``q10[site 3]``, and beside it ``place``, the number of the
        site in the tree, or -1 for a scalar that all sites share.  What all draws agree on to the last bit, such as
        the plant carbon input of a site, has no distribution to diagnose and is not in it.
    """
    return xr.concat([_diagnosed(block) for block in _varying(tree)], dim="quantity")


def draws_of(tree: xr.DataTree, label: str) -> xr.DataArray:
    """Return the draws (chain, draw) of a quantity by its label in :func:`measures`."""
    for block in _varying(tree):
        if label in block["quantity"].values:
            return block.sel(quantity=label)
    raise KeyError(label)


def energy_fraction(tree: xr.DataTree) -> xr.DataArray:
    """Return the estimated Bayesian fraction of missing information of every chain, (chain,) or (chain, site).

    NaN without dimensions where the energy was not recorded.  Where draws are kept of some iterations only, their
    energies do not tell how far it moves in one: a sampler then records ``squared_energy_change`` (chain, draw, …).
    """
    import arviz_stats

    energy, change = statistic(tree, "energy"), statistic(tree, "squared_energy_change")
    if change.ndim:
        with np.errstate(divide="ignore", invalid="ignore"):  # a chain that stands still has no such fraction
            return change.mean("draw") / energy.var("draw")
    return arviz_stats.bfmi(energy, sample_dims=["chain", "draw"]) if energy.ndim else energy


def fall(loss: xr.DataArray) -> Fall | None:
    """Return how far a loss (step,) [nat] has fallen towards the end of a training; None if it is too short.

    The median over the seventh tenth of the steps is held against the median over the last fifth.  Not two windows
    within the last fifth: there the learning rate has decayed to next to nothing, so the loss is level whether or not
    it has reached its minimum.  Nor an earlier one: steps that are still long leave the loss above what they reach
    when they shorten.  Medians, since single estimates of an evidence lower bound can be far out; their standard errors
    allow for the correlation between steps.
    """
    import arviz_stats

    values = loss.to_numpy()
    steps = len(values)
    middle, end = values[steps * 3 // 5 : steps * 7 // 10], values[steps * 4 // 5 :]
    middle, end = (window[np.isfinite(window)] for window in (middle, end))
    if min(len(middle), len(end)) < 50:
        return None
    fallen = float(np.median(middle) - np.median(end))
    error = math.hypot(*(float(arviz_stats.mcse(window[None], method="median")) for window in (middle, end)))
    if fallen == 0.0:
        return Fall(0.0, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Fall(fallen, float(np.divide(fallen, error)))


def statistic(tree: xr.DataTree, name: str) -> xr.DataArray:
    """Return a variable of ``sample_stats``; NaN without dimensions if it was not recorded."""
    recorded = "sample_stats" in tree.children and name in tree.children["sample_stats"].data_vars
    return group(tree, "sample_stats")[name] if recorded else xr.DataArray(math.nan)


def _diagnosed(values: xr.DataArray) -> xr.Dataset:
    """Return the diagnostics of draws (chain, draw, quantity)."""
    import arviz_stats

    draws = xr.Dataset({"value": values})
    # Chains that each stand still at another value have R-hat infinity: a division by zero that is meant.
    with np.errstate(divide="ignore", invalid="ignore"):
        return xr.Dataset(
            {
                "r_hat": arviz_stats.rhat(draws, method="rank")["value"],
                "ess_bulk": arviz_stats.ess(draws, method="bulk")["value"],
                "ess_tail": arviz_stats.ess(draws, method="tail", prob=_TAILS)["value"],
            }
        )


def _varying(tree: xr.DataTree) -> Iterator[xr.DataArray]:
    """Yield what is not the same in all draws, each (chain, draw, quantity): first what is shared, then by sites."""
    posterior = group(tree, "posterior")
    own = [name for name in scalar_names(tree) if "site" in posterior[name].dims]
    shared = [name for name in scalar_names(tree) if name not in own]
    if shared:
        columns = np.stack([posterior[name].transpose("chain", "draw").to_numpy() for name in shared], axis=-1)
        yield _without_constants(columns, np.array(shared), np.full(len(shared), SHARED))
    for first in range(0, posterior.sizes["site"], _SITES_AT_ONCE):
        block = posterior[["parameters", "processes", *own]].isel(site=slice(first, first + _SITES_AT_ONCE))
        yield _of_sites(block, own, first)


def _of_sites(block: xr.Dataset, own: list[str], first: int) -> xr.DataArray:
    """Return the parameters, processes and scalars of some sites, of which the first has the number ``first``."""
    columns, names = [], []
    for name, kind in (("parameters", "parameter"), ("processes", "process")):
        columns.append(block[name].transpose("chain", "draw", "site", kind).to_numpy())
        names += [str(item) for item in block[kind].values]
    columns += [block[name].transpose("chain", "draw", "site").to_numpy()[..., None] for name in own]
    draws = np.concatenate(columns, axis=-1)
    labels = np.array([f"{name}[site {site}]" for site in block["site"].values for name in names + own])
    places = np.repeat(np.arange(first, first + draws.shape[2]), draws.shape[3])
    return _without_constants(draws.reshape(*draws.shape[:2], -1), labels, places)


def _without_constants(draws: np.ndarray, labels: np.ndarray, places: np.ndarray) -> xr.DataArray:
    """Return draws (chain, draw, quantity) with their labels, without the quantities that never change."""
    varying = ~(draws == draws[:1, :1]).all(axis=(0, 1))
    coordinates = {"quantity": labels[varying], "place": ("quantity", places[varying])}
    return xr.DataArray(draws[..., varying], dims=("chain", "draw", "quantity"), coords=coordinates)
