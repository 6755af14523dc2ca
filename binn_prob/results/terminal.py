"""The scores of a comparison as tables for the terminal."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pandas as pd

from binn_prob.errors import InputError
from binn_prob.results import measures
from binn_prob.results.recovery import TRUTH_INSIDE

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["comparison", "recovery", "text"]

_RECOVERED = {"recovery_correlation": "r", TRUTH_INSIDE: "in 90%", "rank_distance": "ranks", "contraction": "learnt"}
"""What is shown of each parameter and process, and the head of its column."""


def text(table: Table, width: int = 120) -> str:
    """Return a table as text of at most ``width`` columns."""
    from rich.console import Console

    console = Console(width=width, file=StringIO(), color_system=None, force_jupyter=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def comparison(scores: pd.DataFrame) -> Table:
    """Return the numbers on the whole: one row per number, one column per method.

    Numbers that no method has are left out, and where there are held-out sites, the predictions of fitted ones.
    """
    from rich.table import Table

    view = Table(title="Comparison of methods: value ± standard error")
    view.add_column("")
    for name in dict.fromkeys(scores["method"]):
        view.add_column(str(name), justify="right")
    section = None
    for number in measures.summary(scores):
        if section not in (None, number.section):
            view.add_section()
        section = number.section
        view.add_row(number.label, *number.printed)
    return view


def recovery(scores: pd.DataFrame) -> Table:
    """Return what each method recovers of the truth at the fitted sites: one row per parameter and process.

    For each method the correlation of the posterior means with the truth over sites, the share of the truths inside
    their 90 % intervals, the distance of their ranks from uniform, and the contraction.

    Raises
    ------
    InputError
        If the truth is not known.
    """
    from rich.table import Table

    found = scores[(scores["part"] == "train") & scores["measure"].isin(_RECOVERED) & (scores["of"] != "")]
    of = list(dict.fromkeys(found.loc[found["measure"] == "recovery_correlation", "of"]))
    if not of:
        raise InputError("sites whose true parameters are not known", "simulated sites", "simulate some, and fit them")
    methods = list(dict.fromkeys(scores["method"]))
    numbers = found.set_index(["method", "of", "measure"])["value"]
    view = Table(title="Recovery of the truth at the fitted sites")
    view.add_column("")
    for name in methods:
        for number, head in enumerate(_RECOVERED.values()):
            view.add_column(f"{name}\n{head}" if number == 0 else f"\n{head}", justify="right")
    for one in of:
        printed = [
            measures.printed(measure, numbers.get((name, one, measure))) for name in methods for measure in _RECOVERED
        ]
        view.add_row(one.replace("_", " "), *printed)
    return view
