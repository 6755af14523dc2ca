"""Have the Markov chains converged?  R-hat, effective sample size and divergences, by arviz_stats.

Only draws that form Markov chains get these numbers, and only from two chains on: R-hat asks whether chains that
started apart have come to agree.  For every other tree they do not exist and are left blank.

Source: Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021, Rank-normalization, folding, and localization: an improved
R-hat for assessing convergence of MCMC, Bayesian Analysis 16(2), 667–718.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from binn_prob.results.posterior import group, is_markov_chain, scalar_names

__all__ = ["ESS_BAR", "R_HAT_BAR", "Convergence", "doubts", "draws_of", "has_chains", "measures", "summarise"]

R_HAT_BAR, ESS_BAR = 1.01, 400
"""Largest R-hat and smallest effective sample size of chains that have converged."""

_FEWEST_DRAWS = 4
"""Half a chain must hold two draws for its variance to exist."""

_WORST = 5
"""How many of the worst quantities are named."""

_TAILS = (0.05, 0.95)
"""Quantiles whose effective sample size is that of the tails (Vehtari et al. 2021, section 4.3)."""


@dataclass(frozen=True)
class Convergence:
    """The worst of each diagnostic over the parameters, the processes and the scalars; NaN where it does not exist."""

    r_hat_max: float = math.nan
    """Largest rank-normalised split R-hat; below 1.01 is the usual bar."""
    ess_bulk_min: float = math.nan
    """Smallest effective sample size of the bulk; 400 is the usual bar for four chains."""
    ess_tail_min: float = math.nan
    """Smallest effective sample size of the 5 % and 95 % quantiles."""
    divergences: float = math.nan
    """Number of divergent transitions after warm-up; any above 0 means a region that the chains could not enter."""
    longest_trajectories: float = math.nan
    """Share of transitions cut at the greatest length of a trajectory; many mean that the chains move slowly."""
    worst: tuple[str, ...] = ()
    """Labels of the quantities with the largest R-hat, the largest first."""


def has_chains(tree: xr.DataTree) -> bool:
    """Say whether the tree holds at least two Markov chains of at least four draws."""
    sizes = group(tree, "posterior").sizes
    return is_markov_chain(tree) and sizes["chain"] > 1 and sizes["draw"] >= _FEWEST_DRAWS


def summarise(tree: xr.DataTree) -> Convergence:
    """Return the worst diagnostics of a tree.

    Parameters
    ----------
    tree : xarray.DataTree
        A posterior.

    Returns
    -------
    Convergence
        Blank for draws that are not Markov chains; with one chain only the divergences are known.  A diagnostic is also
        blank where draws are not finite.
    """
    if not is_markov_chain(tree):
        return Convergence()
    divergences = float(_statistic(tree, "diverging").sum(skipna=False))
    longest = float(_statistic(tree, "reached_max_treedepth").mean(skipna=False))
    if not has_chains(tree):
        return Convergence(divergences=divergences, longest_trajectories=longest)
    every = measures(tree)
    return Convergence(
        r_hat_max=float(every["r_hat"].max(skipna=False)),
        ess_bulk_min=float(every["ess_bulk"].min(skipna=False)),
        ess_tail_min=float(every["ess_tail"].min(skipna=False)),
        divergences=divergences,
        longest_trajectories=longest,
        worst=_largest(every["r_hat"]),
    )


def doubts(found: Convergence) -> str:
    """Say in one line what speaks against the chains having converged; empty if nothing does, or there are no chains.

    Bars: Vehtari et al. 2021, section 4.
    """
    checks = (
        (found.r_hat_max > R_HAT_BAR, f"R-hat up to {found.r_hat_max:.2f} (bar {R_HAT_BAR})"),
        (found.ess_bulk_min < ESS_BAR, f"bulk ESS down to {found.ess_bulk_min:.0f} (bar {ESS_BAR})"),
        (found.ess_tail_min < ESS_BAR, f"tail ESS down to {found.ess_tail_min:.0f} (bar {ESS_BAR})"),
        (found.divergences > 0, f"{found.divergences:.0f} divergent transitions"),
    )
    return ", ".join(words for failed, words in checks if failed)


def measures(tree: xr.DataTree) -> xr.Dataset:
    """Return ``r_hat``, ``ess_bulk`` and ``ess_tail`` of every parameter, process and scalar.

    Returns
    -------
    xarray.Dataset
        With the dimension ``quantity``, whose labels read ``q10[site 3]``.  What all draws agree on to the last bit,
        such as the plant carbon input of a site, has no distribution to diagnose and is not in it.
    """
    import arviz_stats

    draws = xr.Dataset({"value": _varying(tree)})
    # Chains that each stand still at another value have R-hat infinity: a division by zero that is meant.
    with np.errstate(divide="ignore", invalid="ignore"):
        return xr.Dataset(
            {
                "r_hat": arviz_stats.rhat(draws, method="rank")["value"],
                "ess_bulk": arviz_stats.ess(draws, method="bulk")["value"],
                "ess_tail": arviz_stats.ess(draws, method="tail", prob=_TAILS)["value"],
            }
        )


def draws_of(tree: xr.DataTree, label: str) -> xr.DataArray:
    """Return the draws (chain, draw) of a quantity by its label in :func:`measures`."""
    return _varying(tree).sel(quantity=label)


def _varying(tree: xr.DataTree) -> xr.DataArray:
    """Return every parameter, process and scalar that is not the same in all draws, (chain, draw, quantity)."""
    posterior = group(tree, "posterior")
    columns, labels = [], []
    for name, kind in (("parameters", "parameter"), ("processes", "process")):
        values = posterior[name].transpose("chain", "draw", "site", kind)
        columns.append(values.to_numpy().reshape(*values.shape[:2], -1))
        labels += [f"{item}[site {site}]" for site in values["site"].values for item in values[kind].values]
    for name in scalar_names(tree):
        values = posterior[name]
        columns.append(values.to_numpy().reshape(*values.shape[:2], -1))
        labels += [name] if values.ndim == 2 else [f"{name}[site {site}]" for site in values["site"].values]
    draws = np.concatenate(columns, axis=-1)
    varying = ~(draws == draws[:1, :1]).all(axis=(0, 1))
    names = np.array(labels)[varying]
    return xr.DataArray(draws[..., varying], dims=("chain", "draw", "quantity"), coords={"quantity": names})


def _largest(r_hat: xr.DataArray) -> tuple[str, ...]:
    """Return the labels of the largest values, those that are not finite first."""
    order = np.argsort(-np.nan_to_num(r_hat.to_numpy(), nan=np.inf), kind="stable")[:_WORST]
    return tuple(str(label) for label in r_hat["quantity"].values[order])


def _statistic(tree: xr.DataTree, name: str) -> xr.DataArray:
    """Return a statistic of the sampler by draw; NaN if it was not recorded."""
    recorded = "sample_stats" in tree.children and name in tree.children["sample_stats"].data_vars
    return group(tree, "sample_stats")[name] if recorded else xr.DataArray(math.nan)
