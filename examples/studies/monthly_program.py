"""The soil model as PRODA's program computes it: one profile, month by month, in dense matrices.

There to be timed against: the equations are those of Tao et al. 2020 as the published programs have them (``published``
column), written with NumPy arrays where those have loops over layers, which flatters the timing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from binn_prob.clm5 import INTERFACE_DEPTH, LAYERS, NAMES, NODE_DEPTH, THICKNESS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from binn_prob.clm5 import Forcing

__all__ = ["Profile", "profile", "solution"]

POOLS, DAYS = 7, 365.0
TRANSFERS = ((0, 2, "fcwdl2"), (0, 3, "rest"), (1, 4, "fl1s1"), (2, 4, "fl2s1"), (3, 5, "fl3s2"), (4, 5, "fs1s2"),
             (4, 6, "fs1s3"), (5, 4, "fs2s1"), (5, 6, "fs2s3"), (6, 4, "fs3s1"))  # fmt: skip
"""Donor, receiver, parameter"""
TURNOVER = ("taucwd", "taul1", "taul2", "taul2", "tau4s1", "tau4s2", "tau4s3")
FLOOR = 1e-30
DISTANCE = np.diff(NODE_DEPTH[: LAYERS + 1])
WEIGHT = (NODE_DEPTH[1 : LAYERS + 1] - INTERFACE_DEPTH[:LAYERS]) / DISTANCE


class Profile(NamedTuple):
    """Forcing of one profile as NumPy arrays, with the axes of :class:`binn_prob.clm5.Forcing` but the site."""

    temperature: NDArray[np.float64]
    water: NDArray[np.float64]
    oxygen: NDArray[np.float64]
    nitrogen: NDArray[np.float64]
    litter: NDArray[np.float64]
    active: NDArray[np.float64]
    active_last_year: NDArray[np.float64]
    bedrock: int


def profile(forcing: Forcing, site: int) -> Profile:
    """Take one site out of a batch."""
    arrays = [np.asarray(values)[site] for values in vars(forcing).values()]
    return Profile(*arrays[:-1], int(arrays[-1]))


def solution(parameters: NDArray[np.float64], site: Profile) -> NDArray[np.float64]:
    """Return the steady state (pool, layer) [g C m-3] of one profile for its parameters (parameter,)."""
    named = dict(zip(NAMES, parameters, strict=True))
    decomposition, transport = np.zeros((140, 140)), np.zeros((140, 140))
    for month in range(12):
        decomposition += np.diag(rates(named, site, month).ravel()) / 12.0
        mixing = tridiagonal(named, site, month)
        for pool in range(1, POOLS):
            at = slice(pool * LAYERS, (pool + 1) * LAYERS)
            transport[at, at] += mixing / 12.0
    transfer = -np.eye(140)
    for donor, receiver, name in TRANSFERS:
        share = 1.0 - named["fcwdl2"] if name == "rest" else named[name]
        transfer[receiver * LAYERS + np.arange(LAYERS), donor * LAYERS + np.arange(LAYERS)] = share
    return np.linalg.solve(transport - transfer @ decomposition, source(named, site)).reshape(POOLS, LAYERS)


def rates(named: dict[str, float], site: Profile, month: int) -> NDArray[np.float64]:
    """Return the decomposition rates of a month (pool, layer) [day-1]."""
    warmth = named["q10"] ** ((site.temperature[:, month] - 298.15) / 10.0)
    moisture = np.minimum(1.0, named["w-scaling"] * site.water[:, month])
    scalar = warmth * moisture * site.oxygen[:, month] * np.exp(-NODE_DEPTH[:LAYERS] / named["efolding"])
    turnover = np.array([named[name] for name in TURNOVER])
    found = scalar / (DAYS * turnover[:, None])
    found[1:4] *= site.nitrogen[:, month]
    return found


def tridiagonal(named: dict[str, float], site: Profile, month: int) -> NDArray[np.float64]:
    """Return the transport matrix of one pool in a month (layer, layer) [day-1]."""
    level, active = np.arange(LAYERS + 1), max(site.active[month], site.active_last_year[month])
    depth, bedrock = INTERFACE_DEPTH[: LAYERS + 1], site.bedrock
    diffusivity = np.zeros(LAYERS + 1)
    if 0.0 < active <= 2.0:
        diffusivity = np.where(depth < active, 1.0, np.maximum(0.0, 1.0 - (depth - active) / (3.0 - active)))
        diffusivity = named["cryo"] / DAYS * np.where(depth <= 3.0, diffusivity, 0.0)
    elif active > 2.0:
        diffusivity = np.full(LAYERS + 1, named["diffus"] / DAYS)
    diffusivity = np.maximum(np.where(level <= bedrock, diffusivity, 0.0), FLOOR)
    conductance = 1.0 / ((1.0 - WEIGHT) / diffusivity[:-1] + WEIGHT / diffusivity[1:]) / DISTANCE
    above = np.concatenate([[0.0], conductance[:-1]])
    below = np.where(level[:-1] < bedrock, conductance, above)
    above[1:] += FLOOR  # downward advection
    above, below = above / THICKNESS[:LAYERS], below / THICKNESS[:LAYERS]
    below[-1] = 0.0
    return np.diag(above + below) - np.diag(above[1:], -1) - np.diag(below[:-1], 1)


def source(named: dict[str, float], site: Profile) -> NDArray[np.float64]:
    """Return the litter input (pool × layer,) [g C m-3 day-1]."""
    share = -np.diff(named["beta"] ** (100.0 * np.concatenate([[0.0], INTERFACE_DEPTH[:LAYERS]])))
    if site.active_last_year.mean() <= 0.0:
        share = np.eye(LAYERS)[0]
    found = np.zeros((POOLS, LAYERS))
    found[:4] = site.litter.sum(axis=1)[:, None] / DAYS * share / share.sum() / THICKNESS[:LAYERS]
    return found.ravel()
