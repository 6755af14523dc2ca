"""What a step of training would take on more nodes than are at hand: modelled from steps of one machine, as a range.

A node is one process, and each of its cores a device, as ``--distributed`` has it.  A step takes time in proportion to
the sites of a core, and what sharing costs: among the devices of a process, and among processes.  Each cost is what two
take beyond one core with half of the sites.  How it grows with more of them two cannot tell: it may be in proportion to
the sites of a core, as memory that cores share and waiting for the slower one are, however many there are; or the same
whatever the sites, once for each doubling, as a tree of messages is.  The range holds both, and the errors of what was
measured.  Nothing in a step is taken to be the same whatever the number of sites, for too few were measured to say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from study import share, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ALONE", "BOTH", "CORES", "CORES_OF_ONE", "DAY", "DEVICES", "HOUR", "MODELLED", "NODES", "NUTS_GRADIENTS",
    "OF_MODEL", "Steps", "draw_range", "extrapolated", "model_of", "plausible", "scaling", "step_range", "steps_of",
    "steps_table",
]  # fmt: skip

ALONE, BOTH = "one process on a core", "two processes, a core each"
CORES_OF_ONE, DEVICES = "one process on two cores", "one process, two devices"
OF_MODEL = {"half": ALONE, "whole": ALONE, "devices": DEVICES, "processes": BOTH}
"""What the model of a step is made from → how it is shared out"""
NODES, CORES = (1, 2, 4, 8, 16), (2, 32)
"""Nodes that a study might have, and cores of each"""
NUTS_GRADIENTS = 4 * 1250 * 511
"""Gradients over all sites of four chains of the default length, at the largest trees"""
MODELLED = "Modelled, not measured: more such cores, a process on each node, a device to a core"
"""Caption of the table"""
HOUR, DAY = 3600.0, 86_400.0


@dataclass(frozen=True)
class Steps:
    """Seconds of a step on one machine."""

    sites: int
    """Of all but the first"""
    half: float
    """One core, half of the sites"""
    whole: float
    """One core"""
    devices: float
    """One process with two devices, a core each"""
    processes: float
    """Two processes with a core each"""

    @property
    def of_a_site(self) -> float:
        """Seconds of a core for a site."""
        return (self.half + self.whole) / (1.5 * self.sites)

    def beyond(self, shared: float) -> float:
        """Return what two take beyond one core with half of the sites, nothing if they are faster."""
        return max(shared - self.of_a_site * self.sites / 2, 0.0)

    def seconds(self, nodes: np.ndarray, cores: np.ndarray, sites: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the most that a step over so many sites takes."""
        of_a_core = sites / (nodes * cores)
        portion = of_a_core / (self.sites / 2)  # of the sites that a core had when two shared them
        costs = [(self.beyond(self.devices), cores), (self.beyond(self.processes), nodes)]
        grown = [(cost * portion * (number > 1), cost * np.log2(number)) for cost, number in costs]
        least, most = (sum(bound(*one) for one in grown) for bound in (np.minimum, np.maximum))
        alone = self.of_a_site * of_a_core
        return alone + least, alone + most


def plausible(sites: int, measured: Mapping[str, tuple[float, float]]) -> list[Steps]:
    """Return all steps with each of the numbers of :class:`Steps` at the lower or the upper end of its error."""
    ends = [(seconds - error, seconds + error) for seconds, error in measured.values()]
    return [Steps(sites, **dict(zip(measured, corner, strict=True))) for corner in product(*ends)]


def step_range(
    steps: list[Steps], nodes: np.ndarray | int, cores: np.ndarray | int, sites: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the most seconds of a step over so many sites, by any of the steps that are plausible."""
    found = [one.seconds(np.asarray(nodes), np.asarray(cores), sites) for one in steps]
    least, most = (np.stack(ends) for ends in zip(*found, strict=True))
    return least.min(axis=0), most.max(axis=0)


def steps_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the seconds of a step and their error by how it is shared out and number of sites."""
    chosen = rows[rows["measure"] == "step_seconds"]
    shared = chosen["case"].str.partition(", ")[2]
    return chosen.assign(shared=shared).set_index(["shared", "sites"])[["value", "error"]].astype(float)


def steps_table(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the same as text."""
    lines = [
        (name, f"{sites:,}", value(1e3 * one["value"], 1e3 * one["error"], digits=0))
        for (name, sites), one in steps.iterrows()
    ]
    return pd.DataFrame(lines, columns=["shared", "sites", "milliseconds a step"]).set_index("shared")


def scaling(steps: pd.DataFrame, shared: str, who: str) -> str:
    """Say how the time of two compares with that of one core, for the same sites and for half of them."""
    half, one = (steps.loc[ALONE].iloc[at] for at in (0, -1))
    two = steps.loc[shared].iloc[-1]
    strong, weak = _ratio(two, one), _ratio(two, half)
    return (
        f"{who} take {share(*strong)} of the time of one core for the same sites (strong scaling), and {value(*weak)} "
        "times that of one core for half of the sites (weak scaling: 1 would be ideal)."
    )


def _ratio(one: pd.Series, other: pd.Series) -> tuple[float, float]:
    """Return the ratio of two steps and its error."""
    ratio = one["value"] / other["value"]
    return ratio, abs(ratio) * math.hypot(one["error"] / one["value"], other["error"] / other["value"])


def model_of(steps: pd.DataFrame) -> list[Steps]:
    """Return what the model is made from, within the errors of the steps; one that was timed once has none."""
    rows = [steps.loc[name].iloc[0 if part == "half" else -1] for part, name in OF_MODEL.items()]
    measured = {
        part: (float(row["value"]), float(np.nan_to_num(row["error"])))
        for part, row in zip(OF_MODEL, rows, strict=True)
    }
    return plausible(int(steps.index.get_level_values("sites").max()), measured)


def extrapolated(model: list[Steps], a_site: float, sites: int) -> pd.DataFrame:
    """Return what more nodes would take."""
    columns, nodes = {}, np.array(NODES)
    for cores in CORES:
        low, high = step_range(model, nodes, cores, sites)
        both = list(zip(low, high, strict=True))
        columns[f"milliseconds a step, {cores} cores a node"] = [f"{1e3 * a:.0f}–{1e3 * b:.0f}" for a, b in both]
        days = NUTS_GRADIENTS / DAY
        columns[f"days of NUTS, {cores} cores"] = [f"{days * a:.2g}–{days * b:.2g}" for a, b in both]
        columns[f"hours of a farm, {cores} cores"] = [f"{a_site * sites / one / HOUR:.2g}" for one in cores * nodes]
    return pd.DataFrame(columns, pd.Index(NODES, name="nodes"))


def draw_range(axes: Axes, steps: pd.DataFrame, model: list[Steps], sites: int) -> None:
    """Draw the range of the model by number of cores, and what was measured of fewer sites."""
    nodes = np.array(NODES)
    shown = [("one node", 1, 2 ** np.arange(6), "//", "#56B4E9")]
    of_several = zip(CORES, ("", "\\\\"), ("#E69F00", "#999999"), strict=True)
    shown += [(f"nodes of {cores} cores", nodes, cores, hatch, colour) for cores, hatch, colour in of_several]
    for label, of_nodes, cores, hatch, colour in shown:
        low, high = step_range(model, of_nodes, cores, sites)
        how = {"alpha": 0.4, "color": colour, "hatch": hatch}
        axes.fill_between(of_nodes * cores, 1e3 * low, 1e3 * high, label=label, **how)
    measured = 1e3 * np.array([steps.loc[name, "value"].iloc[-1] for name in (ALONE, DEVICES, BOTH)])
    timed = int(steps.loc[ALONE].index.max())
    axes.plot((1, 2, 2), measured, "o", color="black", label=f"measured, {timed:,} sites")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("cores")
    axes.set_ylabel("milliseconds a step")
    axes.legend(title=f"{sites:,} sites, modelled", alignment="left")
