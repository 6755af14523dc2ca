"""Can the draws be trusted to be those of the posterior that the method aims at?  A verdict, with its reasons.

Markov chains are judged by R-hat, effective sample sizes, divergences and E-BFMI; R-hat asks whether chains that
started apart have come to agree, so that it needs two chains.  What was optimised is judged by its loss, and a guide by
the k-hat of its importance weights.  What a method has not recorded is not judged.

Sources: Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021, Bayesian Analysis 16(2), 667–718, section 4 (R-hat, ESS);
Betancourt 2016, arXiv:1604.00695 (E-BFMI); Vehtari, Simpson, Gelman, Yao and Gabry 2024, Pareto smoothed importance
sampling, JMLR 25(72) (k-hat).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from binn_prob.results import diagnostics
from binn_prob.results.diagnostics import draws_of, has_chains, measures, statistic
from binn_prob.results.posterior import group, is_markov_chain

__all__ = [
    "BARS", "Bar", "Convergence", "Verdict", "by_site", "draws_of", "has_chains", "measures", "of_sites", "summarise",
    "verdict", "verdict_of_parts",
]  # fmt: skip


class Bar(NamedTuple):
    """What a diagnostic must reach."""

    limit: float
    meets: Callable[[Any, float], Any]
    """Whether values are on the right side of the limit; a value that is not a number never is"""
    worst: Callable[[Any], Any]
    """The worst of some values"""
    words: str
    """How a miss reads"""


BARS: dict[str, Bar] = {
    "r_hat": Bar(1.01, np.less_equal, np.max, "R-hat up to {:.3f} (bar {})"),
    "ess_bulk": Bar(400, np.greater_equal, np.min, "bulk ESS down to {:.0f} (bar {})"),
    "ess_tail": Bar(400, np.greater_equal, np.min, "tail ESS down to {:.0f} (bar {})"),
    "divergences": Bar(0, np.less_equal, np.sum, "{:.0f} divergent transitions"),
    "e_bfmi": Bar(0.3, np.greater_equal, np.min, "E-BFMI of a chain down to {:.2f} (bar {})"),
    "pareto_k": Bar(0.7, np.less_equal, np.max, "k-hat {:.2f} (bar {})"),
    "loss_gaps": Bar(0.1, np.less_equal, np.max, "{:.0%} of the steps without a finite loss (bar {:.0%})"),
    "loss_fall": Bar(1.0, np.less_equal, np.max, "a loss that still falls, by {:.1f} nats (bar {:g})"),
    "distance_to_mode": Bar(1.0, np.less_equal, np.max, "{:.1f} posterior deviations away from the mode (bar {:g})"),
    "kinetic_temperature": Bar(1.1, np.less_equal, np.max, "a chain heated to a temperature of {:.2f} (bar {})"),
}
"""Every bar, in the order in which reasons are given.

A fall of the loss by one nat is a factor e of density; it counts if it is beyond doubt, more than three of its standard
errors: see :func:`binn_prob.results.diagnostics.fall`.  A Newton step could still gain half the square of the distance
to the mode.  The temperature is the factor by which variances are too large: see :class:`binn_prob.inference.SGHMC`.
"""

_DOUBT = 3.0
"""Standard errors up to which a fall of the loss may be noise."""

_NAMED = 5
"""How many of the worst quantities, and of the sites, are named."""


@dataclass(frozen=True)
class Verdict:
    """Whether a fit has converged, and what speaks against it."""

    converged: bool
    """Whether every bar is met"""
    reasons: tuple[str, ...] = ()
    """Which bars are missed, and by how much; empty if it has converged"""

    def __str__(self) -> str:
        return "converged" if self.converged else f"not converged: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Convergence:
    """The worst of each diagnostic over the parameters, the processes and the scalars; NaN where it does not exist."""

    verdict: Verdict
    """What they add up to."""
    r_hat_max: float = math.nan
    """Largest rank-normalised split R-hat."""
    ess_bulk_min: float = math.nan
    """Smallest effective sample size of the bulk."""
    ess_tail_min: float = math.nan
    """Smallest effective sample size of the 5 % and 95 % quantiles."""
    divergences: float = math.nan
    """Number of divergent transitions after warm-up; any above 0 means a region that the chains could not enter."""
    e_bfmi_min: float = math.nan
    """Smallest estimated Bayesian fraction of missing information of a chain."""
    longest_trajectories: float = math.nan
    """Share of transitions cut at the greatest length of a trajectory; many mean that the chains move slowly."""
    pareto_k: float = math.nan
    """Shape of the tail of the importance weights of a guide."""
    worst: tuple[str, ...] = ()
    """Labels of the quantities with the largest R-hat, the largest first."""
    sites: xr.Dataset | None = field(default=None, compare=False)
    """Where every site has chains of its own, what :func:`by_site` says of each."""


def verdict(tree: xr.DataTree) -> Verdict:
    """Judge a posterior by :data:`BARS`.

    Where sites have chains of their own each is judged by itself, and the reasons say how many miss a bar.
    """
    return summarise(tree).verdict


def verdict_of_parts(parts: Iterable[xr.DataTree]) -> Verdict:
    """Return what :func:`verdict` does of a posterior that comes in parts, of some of its sites each."""
    trees: list[xr.DataTree] = []
    measured: list[xr.Dataset] = []
    sites: list[xr.Dataset] = []
    for tree in parts:
        of_part = measures(tree) if has_chains(tree) else None
        trees = trees or [tree]  # what is not of sites is the same in all
        measured += [] if of_part is None else [of_part]
        sites += [_by_site(tree, of_part)] if _has_own_chains(tree) else []
    found = _overall(trees[0], xr.concat(measured, "quantity") if measured else None)
    return _judged(trees[0], found, xr.concat(sites, "site") if sites else None)


def summarise(tree: xr.DataTree) -> Convergence:
    """Return the worst diagnostics of a tree and the verdict.

    Returns
    -------
    Convergence
        Blank but for what its method records: R-hat and effective sample sizes of at least two Markov chains, k-hat of
        a guide.  A diagnostic is also blank where draws are not finite; it then misses its bar.
    """
    measured = measures(tree) if has_chains(tree) else None
    found = _overall(tree, measured)
    sites = _by_site(tree, measured) if _has_own_chains(tree) else None
    return Convergence(
        verdict=_judged(tree, found, sites),
        r_hat_max=found.get("r_hat", math.nan),
        ess_bulk_min=found.get("ess_bulk", math.nan),
        ess_tail_min=found.get("ess_tail", math.nan),
        divergences=found.get("divergences", math.nan),
        e_bfmi_min=found.get("e_bfmi", math.nan),
        longest_trajectories=float(statistic(tree, "reached_max_treedepth").mean(skipna=False)),
        pareto_k=found.get("pareto_k", math.nan),
        worst=() if measured is None else _largest(measured["r_hat"]),
        sites=sites,
    )


def by_site(tree: xr.DataTree) -> xr.Dataset:
    """Judge every site by itself.

    Parameters
    ----------
    tree : xarray.DataTree
        Of Markov chains.  Sampler statistics count where each site has its own, (chain, draw, site).

    Returns
    -------
    xarray.Dataset
        With the dimension ``site``: ``r_hat``, the largest, ``ess_bulk`` and ``ess_tail``, the smallest of its
        parameters, processes and scalars; ``divergences``; ``e_bfmi``, the smallest of its chains; ``converged``,
        whether all bars are met; ``reason``, why not, else empty.  NaN where a diagnostic does not exist.
    """
    return _by_site(tree, measures(tree) if has_chains(tree) else None)


def of_sites(sites: xr.Dataset) -> Convergence:
    """Return what :func:`summarise` does, but for ``worst``, of sites that :func:`by_site` has judged in pieces."""
    worst = {name: float(bar.worst(sites[name].to_numpy())) for name, bar in BARS.items() if name in sites}
    reasons = tuple(_reasons_by_site(sites))
    return Convergence(
        verdict=Verdict(not reasons, reasons),
        r_hat_max=worst["r_hat"],
        ess_bulk_min=worst["ess_bulk"],
        ess_tail_min=worst["ess_tail"],
        divergences=worst.get("divergences", math.nan),
        e_bfmi_min=worst.get("e_bfmi", math.nan),
        sites=sites,
    )


def _overall(tree: xr.DataTree, measured: xr.Dataset | None) -> dict[str, float]:
    """Return the worst value of every diagnostic that there is."""
    found: dict[str, float] = {}
    if measured is not None and measured.sizes["quantity"]:
        found |= {
            name: float(BARS[name].worst(measured[name].to_numpy())) for name in ("r_hat", "ess_bulk", "ess_tail")
        }
    if is_markov_chain(tree):
        recorded = {"divergences": statistic(tree, "diverging"), "e_bfmi": diagnostics.energy_fraction(tree)}
        found |= {name: float(BARS[name].worst(one.to_numpy())) for name, one in recorded.items() if one.ndim}
    found |= {name: float(tree.attrs[name]) for name in ("pareto_k", "distance_to_mode") if name in tree.attrs}
    if (temperature := statistic(tree, "kinetic_temperature")).ndim:
        found["kinetic_temperature"] = float(temperature.mean("draw", skipna=False).max(skipna=False))
    if (loss := statistic(tree, "loss")).ndim:
        found["loss_gaps"] = float(1.0 - np.isfinite(loss).mean())
        if (fallen := diagnostics.fall(loss)) is not None:
            found["loss_fall"] = fallen.nats if not fallen.errors <= _DOUBT else 0.0
    return found


def _judged(tree: xr.DataTree, found: Mapping[str, float], sites: xr.Dataset | None) -> Verdict:
    """Return the verdict on what was found, over all sites or site by site."""
    reasons = [] if sites is None else _reasons_by_site(sites)
    reasons += [
        bar.words.format(found[name], bar.limit)
        for name, bar in BARS.items()
        if name in found and not bar.meets(found[name], bar.limit) and (sites is None or name not in sites)
    ]
    if (first := tree.attrs.get("first_stage_convergence", "converged")) != "converged":
        reasons.append(f"first stage {first}")
    posterior = group(tree, "posterior").sizes
    if is_markov_chain(tree) and not has_chains(tree):
        reasons.append(f"{posterior['chain']} × {posterior['draw']} draws, too few for R-hat (bar 2 × 4)")
    if (loss := statistic(tree, "loss")).ndim and "loss_fall" not in found:
        reasons.append(f"{loss.size} training steps, too few to say whether the loss has settled (bar 500)")
    if not reasons and not found:
        reasons.append("nothing recorded by which to tell")
    return Verdict(not reasons, tuple(reasons))


def _reasons_by_site(sites: xr.Dataset) -> list[str]:
    """Return which bars are missed at how many sites."""
    reasons = []
    for name, missed in _missed(sites).items():
        if missed.any():
            values, labels = sites[name].to_numpy()[missed], sites["site"].to_numpy()[missed]
            words = BARS[name].words.format(BARS[name].worst(values), BARS[name].limit)
            named = ", ".join(map(str, labels[:_NAMED])) + (", …" if len(labels) > _NAMED else "")
            reasons.append(f"{len(labels)} of {sites.sizes['site']} sites: {words} (sites {named})")
    return reasons


def _by_site(tree: xr.DataTree, measured: xr.Dataset | None) -> xr.Dataset:
    """Judge every site by itself, from the diagnostics of every quantity, if there are any."""
    labels = group(tree, "posterior")["site"]
    columns = {name: _worst_of_sites(name, measured, len(labels)) for name in ("r_hat", "ess_bulk", "ess_tail")}
    diverging, energy = statistic(tree, "diverging"), diagnostics.energy_fraction(tree)
    if "site" in diverging.dims:
        columns["divergences"] = diverging.sum(("chain", "draw")).to_numpy().astype(float)
    if "site" in energy.dims:
        columns["e_bfmi"] = energy.min("chain", skipna=False).to_numpy()
    judged = xr.Dataset({name: ("site", values) for name, values in columns.items()}, coords={"site": labels})
    missed = _missed(judged)
    reasons = np.full(len(labels), "", dtype=object)
    for name, here in missed.items():
        for place in np.flatnonzero(here):
            words = BARS[name].words.format(columns[name][place], BARS[name].limit)
            reasons[place] = f"{reasons[place]}; {words}" if reasons[place] else words
    return judged.assign(converged=("site", reasons == ""), reason=("site", reasons))


def _missed(sites: xr.Dataset) -> dict[str, np.ndarray]:
    """Return for every bar which sites miss it."""
    return {name: ~bar.meets(sites[name].to_numpy(), bar.limit) for name, bar in BARS.items() if name in sites}


def _worst_of_sites(name: str, measured: xr.Dataset | None, sites: int) -> np.ndarray:
    """Return the worst value of a diagnostic at every site; NaN where nothing varies, or a value is not a number."""
    if measured is None:
        return np.full(sites, math.nan)
    largest = BARS[name].worst is np.max
    worst = np.full(sites, -math.inf if largest else math.inf)
    of_a_site = measured["place"].to_numpy() >= 0
    places, values = measured["place"].to_numpy()[of_a_site], measured[name].to_numpy()[of_a_site]
    (np.maximum if largest else np.minimum).at(worst, places, values)
    worst[np.bincount(places, minlength=sites) == 0] = math.nan
    return worst


def _has_own_chains(tree: xr.DataTree) -> bool:
    """Say whether every site has Markov chains of its own."""
    statistics = group(tree, "sample_stats").values() if "sample_stats" in tree.children else ()
    return is_markov_chain(tree) and any({"chain", "draw", "site"} <= set(one.dims) for one in statistics)


def _largest(r_hat: xr.DataArray) -> tuple[str, ...]:
    """Return the labels of the largest values, those that are not finite first."""
    order = np.argsort(-np.nan_to_num(r_hat.to_numpy(), nan=np.inf), kind="stable")[:_NAMED]
    return tuple(str(label) for label in r_hat["quantity"].values[order])
