"""Everything that is measured of a posterior, as one long table: a row for each number, with its error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr

from binn_prob.results import convergence, distance, joint, leave_one_out, recalibration, recovery, skill
from binn_prob.results.distance import Kind
from binn_prob.results.drawing import PART_LABELS
from binn_prob.results.posterior import HELD_OUT, PROCESS_NAMES, parts
from binn_prob.results.scores import Measure, Score

__all__ = ["MEASURES", "Row", "Summary", "frame", "label", "printed", "rows", "summary", "wide"]

_CONVERGENCE: dict[str, Measure] = {
    "converged": Measure("converged", "yes or no", "convergence"),
    "r_hat_max": Measure("R-hat, largest", "{:.3f}", "convergence"),
    "ess_bulk_min": Measure("ESS of the bulk, smallest", "{:.0f}", "convergence"),
    "ess_tail_min": Measure("ESS of the tails, smallest", "{:.0f}", "convergence"),
    "divergences": Measure("divergent transitions", "{:.0f}", "convergence"),
    "e_bfmi_min": Measure("E-BFMI, smallest of a chain", "{:.2f}", "convergence"),
    "longest_trajectories": Measure("transitions cut at the longest trajectory", "{:.0%}", "convergence"),
    "pareto_k": Measure("k-hat of the guide", "{:.2f}", "convergence"),
}

_COST: dict[str, Measure] = {
    "wall_seconds": Measure("wall time", "{:.1f}", "cost", "s"),
    "gradients": Measure("gradients of the density of each site", "{:,.0f}", "cost"),
    "peak_memory": Measure("largest memory of the process during the fit", "{:.2f}", "cost", "GiB"),
    "effective_draws_per_second": Measure("smallest ESS per second", "{:.3g}", "cost", "s-1"),
}

MEASURES: dict[str, Measure] = (
    skill.MEASURES
    | recalibration.MEASURES
    | leave_one_out.MEASURES
    | recovery.MEASURES
    | distance.MEASURES
    | joint.MEASURES
    | _CONVERGENCE
    | _COST
)
"""Everything that is measured, by name; defined in ``skill``, ``leave_one_out``, ``recovery``, ``distance``, ``joint``,
``convergence`` and here."""

_KINDS = ("", "processes", "parameters")

_OVERALL = (*_KINDS, *PROCESS_NAMES)
"""What numbers are of that have a column of their own in the wide table: all, and each process."""


class Row(NamedTuple):
    """One number."""

    part: str
    """``train`` or ``held_out``, of which sites it is; empty if that is not the question"""
    of: str
    """What it is of: a process, a parameter, a depth class or region; empty: all there is"""
    measure: str
    """One of :data:`MEASURES`"""
    score: Score


def rows(
    tree: xr.DataTree, chains: convergence.Convergence, reference: xr.DataTree | None = None, seed: int = 0
) -> Iterator[Row]:
    """Yield every number on a posterior.

    Parameters
    ----------
    tree : xarray.DataTree
        The posterior.
    chains : Convergence
        Its diagnostics.
    reference : xarray.DataTree, optional
        The posterior that it is held against; itself for the reference.
    seed : int
        Of the bootstrap over sites.
    """
    for part, each in parts(tree).items():
        yield from _predictive(part, each, seed)
        yield from _recovered(part, each, seed)
    yield from _recalibrated(tree, seed)
    yield from (Row("train", name, "contraction", score) for name, score in recovery.contraction(tree, seed).items())
    if reference is not None:
        yield from _agreement(tree, reference, seed)
    known = {name: getattr(chains, name) for name in _CONVERGENCE if name != "converged"}
    for name, value in ({"converged": chains.verdict.converged} | known).items():
        yield Row("", "", name, Score(float(value)))
    for name in ("wall_seconds", "gradients", "peak_memory"):
        yield Row("", "", name, Score(float(tree.attrs.get(name, math.nan))))
    seconds = float(tree.attrs.get("wall_seconds", math.nan))
    yield Row("", "", "effective_draws_per_second", Score(chains.ess_bulk_min / seconds if seconds else math.nan))


def frame(by_method: Mapping[str, list[Row]]) -> pd.DataFrame:
    """Return all numbers as a table.

    Returns
    -------
    pandas.DataFrame
        With the columns ``method``, ``section``, ``part``, ``of``, ``measure``, ``value``, ``error`` and ``unit``; the
        error is a standard error, NaN where there is none.
    """
    columns = ["method", "section", "part", "of", "measure", "value", "error", "unit"]
    listed = [
        (name, MEASURES[row.measure].section, row.part, row.of, row.measure, *row.score, MEASURES[row.measure].unit)
        for name, found in by_method.items()
        for row in found
    ]
    return pd.DataFrame(listed, columns=columns)


def wide(scores: pd.DataFrame, which: str = "value") -> pd.DataFrame:
    """Return the numbers on the whole, and on each process, with one row per method and one column per number.

    Columns are called ``<part>_<process>_<measure>``, without what is empty.
    """
    chosen = scores[scores["of"].isin(_OVERALL)]
    columns = [column(*keys) for keys in chosen[["part", "of", "measure"]].itertuples(index=False)]
    methods = list(dict.fromkeys(scores["method"]))
    keyed = chosen.assign(column=columns).set_index(["method", "column"])[which]
    order = pd.MultiIndex.from_product([methods, dict.fromkeys(columns)])
    table = keyed.reindex(order).to_numpy().reshape(len(methods), -1)
    return pd.DataFrame(table, pd.Index(methods, name="method"), list(dict.fromkeys(columns)))


class Summary(NamedTuple):
    """A number of every method, as text."""

    section: str
    label: str
    printed: tuple[str, ...]
    """By method, empty where a method has no such number"""


def summary(scores: pd.DataFrame) -> list[Summary]:
    """Return the numbers on the whole as text, by section in order.

    Numbers that no method has are left out, and where there are held-out sites, the predictions of fitted ones.
    """
    methods = list(dict.fromkeys(scores["method"]))
    chosen = scores[scores["of"].isin(_KINDS) & scores["value"].notna()]
    elsewhere = (scores["part"] == "held_out").any()
    found: dict[str, list[Summary]] = {measure.section: [] for measure in MEASURES.values()}
    for keys, held in chosen.groupby(["part", "of", "measure"], sort=False):
        part, of, measure = (str(key) for key in keys)
        if elsewhere and part == "train" and measure in skill.MEASURES:
            continue
        by_method = held.set_index("method")
        texts = tuple(
            printed(measure, *by_method.loc[name, ["value", "error"]]) if name in by_method.index else ""
            for name in methods
        )
        found[MEASURES[measure].section].append(Summary(MEASURES[measure].section, label(part, of, measure), texts))
    return [one for listed in found.values() for one in listed]


def column(part: str, of: str, measure: str) -> str:
    """Return the name of a column of the wide table."""
    return "_".join(word for word in (part, of, measure) if word)


def label(part: str, of: str, measure: str) -> str:
    """Return what a number is called in a text."""
    words = MEASURES[measure].label if not of else f"{of.replace('_', ' ')}: {MEASURES[measure].label}"
    unit = MEASURES[measure].unit
    return words + (f", {PART_LABELS[part]}" if part else "") + (f" ({unit})" if unit != "1" else "")


def printed(measure: str, value: Any, error: Any = math.nan) -> str:
    """Return a number with its error as text; empty if there is none."""
    if pd.isna(value):
        return ""
    form = MEASURES[measure].form
    if form == "yes or no":
        return "yes" if value else "no"
    if pd.isna(error):
        return form.format(value)
    return f"{form.format(value).rstrip('%')} ± {form.replace('+', '').format(error)}"


def _predictive(part: str, tree: xr.DataTree, seed: int) -> Iterator[Row]:
    """Yield how well a posterior predicts, on the whole, by depth and by region."""
    points = skill.pointwise(tree)
    yield from (Row(part, "", name, score) for name, score in skill.scores(points, seed).items())
    for of, found in (skill.by_depth(points, seed=seed) | skill.by_region(points, seed)).items():
        yield from (Row(part, of, name, score) for name, score in found.items())


def _recalibrated(tree: xr.DataTree, seed: int) -> Iterator[Row]:
    """Yield what recalibration would do at the held-out sites, if there are two places for each fold."""
    held_out = parts(tree).get(HELD_OUT)
    if held_out is None or recalibration.observed_places(held_out) < 2 * recalibration.FOLDS:
        return
    for way, found in recalibration.recalibrated(held_out, seed=seed).items():
        yield from (Row(HELD_OUT, way, name, score) for name, score in found.items())


def _recovered(part: str, tree: xr.DataTree, seed: int) -> Iterator[Row]:
    """Yield how near a posterior comes to the truth, where it is known."""
    kinds: tuple[Kind, ...] = ("processes", "parameters")
    for kind in kinds:
        if not recovery.truth_known(tree, kind):
            continue
        yield Row(part, kind, recovery.TRUTH_INSIDE, recovery.truth_inside(tree, kind, seed))
        for of, found in recovery.recovery(tree, kind, seed).items():
            yield from (Row(part, of, name, score) for name, score in found.items())


def _agreement(tree: xr.DataTree, reference: xr.DataTree, seed: int) -> Iterator[Row]:
    """Yield how far a posterior lies from the reference, on the whole and by process and parameter."""
    kinds: tuple[Kind, ...] = ("processes", "parameters")
    for kind in kinds:
        yield from (Row("", kind, name, s) for name, s in distance.overall(tree, reference, kind, seed).items())
        for of, found in distance.agreement(tree, reference, kind, seed).items():
            yield from (Row("", of, name, score) for name, score in found.items())
    yield from (Row("", "", name, score) for name, score in joint.joint(tree, reference, seed).items())
