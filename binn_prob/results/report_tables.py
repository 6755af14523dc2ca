"""The tables of the report: everything in them is text, in the words of the field."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import xarray as xr

from binn_prob.clm5.parameters import NAMES
from binn_prob.clm5.processes import PROCESS_NAMES, PROCESSES
from binn_prob.results import conclusions, distance, measures, recalibration, skill
from binn_prob.results.drawing import PART_LABELS, label
from binn_prob.results.posterior import HELD_OUT, decoded, group, is_markov_chain, parts

if TYPE_CHECKING:
    from binn_prob.results.compare import Comparison

__all__ = [
    "Described", "Table", "bars", "by_class", "cost", "exclusions", "measured", "methods_described",
    "models_described", "processes", "provenance", "recalibrated", "sites",
]  # fmt: skip

_WHOLE = ("processes", "parameters", "", *PROCESS_NAMES)
"""What the numbers of a section are of, in the order in which they are shown."""

_HEADINGS = {("agreement", ""): "joint posterior of the parameters"}
"""What stands above the numbers of a section that are neither of a process nor of some sites."""

_BY_CLASS = ("log_nse", "log_bias", f"coverage_{skill.LEVEL * 100:g}")
"""Measures that are shown by depth and region; the file of the scores has them all."""

_PROVENANCE = {
    "seed": "seed",
    "binn_prob_version": "binn_prob",
    "git_commit": "commit",
    "versions": "versions",
    "device": "device",
    "precision": "precision",
    "created": "created",
    "data_fingerprint": "fingerprint of the data",
}
"""Attributes of a tree that say how it came about, and how the report calls them."""

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Table(NamedTuple):
    """A table of the report, all of it text: the first entry of every row is its label."""

    header: list[str]
    rows: list[list[str]]
    """A row of one entry is the heading of those that follow."""


class Described(NamedTuple):
    """What is described, and the settings it has."""

    name: str
    kind: str
    """Its draws, or the name of the model"""
    settings: str


def sites(tree: xr.DataTree) -> Table:
    """Return how many sites and observations there are."""
    rows = []
    for part, each in parts(tree).items():
        soc = group(each, "observed_data")["soc"]
        rows.append([PART_LABELS[part], str(soc.sizes["site"]), str(int(soc.count()))])
    return Table(["", "sites", "observations"], rows)


def exclusions(tree: xr.DataTree) -> Table:
    """Return what was left out before the fit, and why."""
    left_out = decoded(tree.children["observed_data"].attrs.get("exclusions", "{}"))
    return Table(["reason", "left out"], [[_raised(reason), str(count)] for reason, count in left_out.items()])


def methods_described(trees: Mapping[str, xr.DataTree]) -> list[Described]:
    """Return draws and settings of every method."""
    found = []
    for name, tree in trees.items():
        sizes = group(tree, "posterior").sizes
        chains = is_markov_chain(tree)
        shape = f"{sizes['chain']} × {sizes['draw']}" if chains else f"{sizes['chain'] * sizes['draw']}"
        draws = f"{shape} ({'Markov chains' if chains else 'independent draws'})"
        found.append(Described(label(name), draws, _listed(decoded(tree.attrs.get("settings", "{}")).get("method"))))
    return found


def models_described(trees: Mapping[str, xr.DataTree]) -> list[Described]:
    """Return the models and their settings: one, unless methods have models of their own."""
    users: dict[tuple[str, str], list[str]] = {}
    for name, tree in trees.items():
        model = _listed(decoded(tree.attrs.get("settings", "{}")).get("model"))
        users.setdefault((str(tree.attrs.get("model", "")), model), []).append(label(name))
    if len(users) == 1:
        return [Described("Model", *next(iter(users)))]
    return [Described(f"Model of {', '.join(names)}", *which) for which, names in users.items()]


def measured(comparison: Comparison, section: str) -> Table:
    """Return the numbers of one section, on the whole and on each process, those that any method has.

    Where there are held-out sites, the predictions of fitted ones and their single processes are left out.
    """
    scores = comparison.scores[(comparison.scores["section"] == section) & comparison.scores["of"].isin(_WHOLE)]
    scores = _predicted_elsewhere(scores[scores["value"].notna()])
    keys = dict.fromkeys(scores[["part", "of"]].itertuples(index=False, name=None))
    rows = []
    for part, of in sorted(keys, key=lambda key: (key[0] != HELD_OUT, _WHOLE.index(key[1]))):
        words = [of.replace("_", " ") or _HEADINGS.get((section, of), ""), PART_LABELS.get(part, "")]
        heading = ", ".join(filter(None, words))
        rows += [[heading]] if heading else []
        of_it = scores[(scores["part"] == part) & (scores["of"] == of)]
        rows += [[_label(key), *_printed(comparison, key, held)] for key, held in of_it.groupby("measure", sort=False)]
    return Table(_header(comparison.trees), rows)


def by_class(comparison: Comparison) -> Table:
    """Return the skill by depth and by region, at the held-out sites if there are any."""
    scores = comparison.scores[comparison.scores["measure"].isin(_BY_CLASS) & comparison.scores["value"].notna()]
    scores = _predicted_elsewhere(scores[~scores["of"].isin([*_WHOLE, *NAMES, *recalibration.WAYS])])
    rows = []
    for measure, of_it in scores.groupby("measure", sort=False):
        rows.append([f"{_label(measure)}, {PART_LABELS[of_it['part'].iloc[0]]}"])
        for of, held in of_it.groupby("of", sort=False):
            rows.append([re.sub(r"(?<=\d)-(?=\d)", "–", str(of)), *_printed(comparison, measure, held)])
    return Table(_header(comparison.trees), rows)


def recalibrated(comparison: Comparison) -> Table:
    """Return coverage and width of intervals as predicted and recalibrated; without rows where that was not done."""
    scores = comparison.scores[comparison.scores["of"].isin(recalibration.WAYS)]
    rows = []
    for way, of_it in scores.groupby("of", sort=False):
        rows.append([str(way)])
        rows += [[_label(key), *_printed(comparison, key, held)] for key, held in of_it.groupby("measure", sort=False)]
    return Table(_header(comparison.trees), rows)


def bars() -> Table:
    """Return the bars that the verdicts rest on."""
    rows = [[bar.of, f"{bar.low:.2g} to {bar.high:.2g}"] for bar in conclusions.BARS.values()]
    return Table(["number", "bar"], rows)


def cost(comparison: Comparison) -> Table:
    """Return the wall time of every method, and where it ran."""
    header, rows = measured(comparison, "cost")
    devices = [str(tree.attrs.get("device", "")) for tree in comparison.trees.values()]
    return Table(header, [*rows, ["device", *devices]])


def processes(trees: Mapping[str, xr.DataTree]) -> Table:
    """Return mean and uncertainty of the six processes by method, averaged over the fitted sites."""
    columns = []
    for tree in trees.values():
        mean, deviation = (values.mean("site").to_numpy() for values in distance.spread(tree))
        columns.append([_with_deviation(*numbers) for numbers in zip(mean, deviation, strict=True)])
    labels = [row.name.replace("_", " ") + ("" if row.unit == "1" else f" ({_raised(row.unit)})") for row in PROCESSES]
    return Table(_header(trees), [list(row) for row in zip(labels, *columns, strict=True)])


def provenance(trees: Mapping[str, xr.DataTree]) -> list[Table]:
    """Return how the posteriors came about: what is the same for all of them, and what is not."""
    same, different = [], []
    for name, words in _PROVENANCE.items():
        values = [tree.attrs.get(name, "") for tree in trees.values()]
        texts = [", ".join(f"{key} {value}" for key, value in decoded(v).items()) or str(v) for v in values]
        if len(set(texts)) > 1:
            different.append([words, *texts])
        elif any(texts):
            same.append([words, texts[0]])
    owner = "all methods" if len(trees) > 1 else _header(trees)[1]
    return [table for table in (Table(["", owner], same), Table(_header(trees), different)) if table.rows]


def _header(trees: Mapping[str, xr.DataTree]) -> list[str]:
    return ["", *map(label, trees)]


def _predicted_elsewhere(scores: pd.DataFrame) -> pd.DataFrame:
    """Leave out the predictions of fitted sites, and their single processes, where there are held-out ones."""
    if not (scores["part"] == HELD_OUT).any():
        return scores
    predicted = scores["measure"].isin(list(skill.MEASURES)) | scores["of"].isin(PROCESS_NAMES)
    return scores[(scores["part"] != "train") | ~predicted]


def _printed(comparison: Comparison, measure: Hashable, scores: pd.DataFrame) -> list[str]:
    """Return one number of every method with its error, empty where a method has none."""
    found = scores.set_index("method")[["value", "error"]].reindex(list(comparison.trees))
    return [measures.printed(str(measure), *numbers) for numbers in found.to_numpy()]


def _label(measure: Hashable) -> str:
    return _raised(measures.label("", "", str(measure)))


def _raised(text: str) -> str:
    """Return a text with the exponents of its units raised: ``g C m-3`` becomes ``g C m⁻³``."""
    return re.sub(r"(?<=\b[a-z])-\d\b|(?<=\byr)-\d\b", lambda found: found[0].translate(_RAISED), text)


def _with_deviation(mean: float, deviation: float) -> str:
    """Return a mean with its deviation, which has two digits, and the mean as many decimals."""
    if not deviation > 0.0:
        return f"{mean:.3g}"
    decimals = max(0, 1 - math.floor(math.log10(deviation)))
    return f"{mean:.{decimals}f} ± {deviation:.{decimals}f}"


def _listed(settings: Any) -> str:
    """Return settings as a list in words."""
    flat = _flat(settings) if isinstance(settings, dict) else {}
    return "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in flat.items())


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as text by the words that lead to them."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key} ") if isinstance(value, dict) else {f"{prefix}{key}": _word(value)}
    return flat


def _word(value: Any) -> str:
    """Return the value of a setting in words."""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_word, value)) if isinstance(value, list) else str(value).replace("_", " ")
