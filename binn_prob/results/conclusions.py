"""One sentence on each method: whether its uncertainties can be believed, and what speaks against it.

Every statement rests on a number of the comparison, which it shows, and on a bar of :data:`BARS`.  A number misses its
bar if it lies beyond it by more than two of its standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import NamedTuple

import pandas as pd

from binn_prob.results import measures
from binn_prob.results.convergence import Verdict
from binn_prob.results.drawing import PART_LABELS, label
from binn_prob.results.recovery import TRUTH_INSIDE
from binn_prob.results.skill import LEVEL

__all__ = ["BARS", "Bar", "Conclusion", "conclude"]

_DOUBT = 2.0
"""Standard errors up to which a number that misses its bar may do so by chance."""


class Bar(NamedTuple):
    """What a number of a method is held against."""

    low: float
    high: float
    of: str
    """What it judges"""


BARS: dict[str, Bar] = {
    "correlation": Bar(0.95, 1.0, "correlation over sites of the process means with the reference's"),
    "mean_difference": Bar(0.0, 0.5, "root mean square difference of the process means, in reference sd"),
    "sd_ratio": Bar(0.9, 1.1, "width of the process intervals relative to the reference's"),
    "coverage": Bar(LEVEL - 0.05, LEVEL + 0.05, f"share of observations inside {LEVEL:.0%} intervals"),
    "truth": Bar(LEVEL - 0.05, 1.0, f"share of true processes, or parameters, inside {LEVEL:.0%} intervals"),
}
"""Every bar: a number between ``low`` and ``high`` speaks for a method."""


class Conclusion(NamedTuple):
    """What can be said of a method."""

    method: str
    """Its name as it is written in a text"""
    believed: bool
    """Whether it has converged and every number meets its bar"""
    statements: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method}: {'; '.join(self.statements)}"


class _Statement(NamedTuple):
    good: bool
    text: str


def conclude(
    scores: pd.DataFrame, verdicts: Mapping[str, Verdict], reference: str | None = None
) -> dict[str, Conclusion]:
    """Return what can be said of each method.

    Parameters
    ----------
    scores : pandas.DataFrame
        Of a comparison, see :func:`binn_prob.results.measures.frame`.
    verdicts : mapping
        Method → whether it has converged.
    reference : str, optional
        The method that the others were held against.  Where it has not converged no method is judged by it.
    """
    values, errors = measures.wide(scores), measures.wide(scores, "error")
    found = {}
    for name, verdict in verdicts.items():
        look = _Numbers(values.loc[name].to_dict(), errors.loc[name].to_dict())
        statements = [_converged(verdict)]
        if reference is not None and name != reference:
            statements += _against_reference(look, reference, verdicts[reference])
        statements += [*_observations(look), *_truth(look)]
        believed = all(each.good for each in statements)
        found[name] = Conclusion(label(name), believed, tuple(each.text for each in statements))
    return found


class _Numbers(NamedTuple):
    """The numbers of one method, and their errors, by column."""

    values: Mapping[Hashable, float]
    errors: Mapping[Hashable, float]

    def __call__(self, name: str) -> tuple[float, float]:
        value, error = (float(numbers.get(name, math.nan)) for numbers in self)
        return value, 0.0 if math.isnan(error) else error


def _converged(verdict: Verdict) -> _Statement:
    """Say whether a method has converged."""
    return _Statement(verdict.converged, str(verdict))


def _against_reference(look: _Numbers, reference: str, verdict: Verdict) -> list[_Statement]:
    """Say how a method compares with the reference."""
    if not verdict.converged:
        return [_Statement(True, f"not held against {label(reference)}, which has not converged")]
    (r, r_error), (shift, shift_error), (ratio, ratio_error) = (
        look(f"processes_{name}") for name in ("correlation", "mean_difference", "sd_ratio")
    )
    if math.isnan(ratio):
        return []
    close = _meets("correlation", r, r_error) and _meets("mean_difference", shift, shift_error)
    verb = "agree with" if close else "differ from"
    means = f"process means {verb} those of {label(reference)} (r = {r:.2f}, {shift:.2f} sd apart)"
    as_wide = _meets("sd_ratio", ratio, ratio_error)
    width = "their intervals are as wide" if as_wide else f"their intervals are {_relative(ratio)}"
    return [_Statement(close, means), _Statement(as_wide, width)]


def _observations(look: _Numbers) -> list[_Statement]:
    """Say how often the intervals hold observations, held-out ones where there are any."""
    for part in ("held_out", "train"):
        value, error = look(f"{part}_coverage_{LEVEL * 100:g}")
        if not math.isnan(value):
            good = _meets("coverage", value, error)
            return [
                _Statement(
                    good, f"{LEVEL:.0%} intervals hold {_share(value, error)} of observations at {PART_LABELS[part]}"
                )
            ]
    return []


def _truth(look: _Numbers) -> list[_Statement]:
    """Say how often the intervals hold the truth, where it is known."""
    statements = []
    for part, kind in (("held_out", "processes"), ("train", "parameters")):
        value, error = look(f"{part}_{kind}_{TRUTH_INSIDE}")
        if not math.isnan(value):
            text = f"{_share(value, error)} of the true {kind} at {PART_LABELS[part]}"
            statements.append(_Statement(_meets("truth", value, error), text))
    return statements


def _meets(name: str, value: float, error: float) -> bool:
    """Say whether a number meets its bar, or misses it by no more than chance may explain."""
    bar = BARS[name]
    return bar.low - _DOUBT * error <= value <= bar.high + _DOUBT * error


def _relative(ratio: float) -> str:
    """Return how much too narrow or too wide intervals are."""
    if ratio < 1.0:
        return f"{1.0 - ratio:.0%} too narrow"
    return f"{ratio - 1.0:.0%} too wide" if ratio < 2.0 else f"{ratio:.1f} times as wide"


def _share(value: float, error: float) -> str:
    return f"{value * 100:.0f} ± {error * 100:.0f} %" if error else f"{value:.0%}"
