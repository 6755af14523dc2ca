"""Several posteriors of the same sites side by side: one table, the figures, the report, a folder to keep."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from binn_prob.errors import InputError
from binn_prob.files import replacing
from binn_prob.results import convergence, distance, html, leave_one_out, measures, terminal
from binn_prob.results.conclusions import Conclusion, conclude
from binn_prob.results.convergence import Verdict
from binn_prob.results.drawing import PART_LABELS, label
from binn_prob.results.measures import Row
from binn_prob.results.posterior import HELD_OUT, group, is_markov_chain, parts, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "Fitted", "compare"]


class Fitted(Protocol):
    """What a fit must offer to be compared."""

    def tree(self, *, held_out: xr.Dataset | None = None) -> xr.DataTree:
        """Return the posterior of the fitted sites, with that of the held-out sites as its child ``held_out``."""
        ...  # pragma: no cover


@dataclass(frozen=True, repr=False)
class Comparison:
    """Posteriors of the same sites by several methods, and what can be said of them."""

    trees: Mapping[str, xr.DataTree]
    """The posterior of each method."""
    reference: str | None
    """The method that the others are held against."""
    scores: pd.DataFrame
    """Every number with its standard error, one per row: see :func:`binn_prob.results.measures.frame`."""
    convergence: Mapping[str, convergence.Convergence]
    """Diagnostics of each method, and the verdict; blank where a method has no such diagnostic."""

    def __repr__(self) -> str:
        return self.table_text()

    def _repr_html_(self) -> str:
        """Return the conclusions and the numbers on the whole, for notebooks."""
        rows = [(f"{number.section}: {number.label}", *number.printed) for number in measures.summary(self.scores)]
        said = (f"{'✓' if found.believed else '✗'} {found}" for found in self.conclusions().values())
        return html.listed(said) + html.table(["", *map(label, self.trees)], rows)

    @property
    def table(self) -> pd.DataFrame:
        """The numbers on the whole and on each process: one row per method, NaN where a number does not exist."""
        return measures.wide(self.scores).astype({"divergences": "Int64", "converged": "boolean"})

    @property
    def errors(self) -> pd.DataFrame:
        """The standard errors of :attr:`table`; NaN where there is none."""
        return measures.wide(self.scores, "error")

    def table_text(self, width: int = 120) -> str:
        """Return the table as text of at most ``width`` columns."""
        return terminal.text(terminal.comparison(self.scores), width)

    def recovery_text(self, width: int = 120) -> str:
        """Return as text how near each method comes to the true parameters and processes.

        Raises
        ------
        InputError
            If the truth is not known.
        """
        return terminal.text(terminal.recovery(self.scores), width)

    def verdicts(self) -> dict[str, Verdict]:
        """Return for each method whether it has converged, and why not."""
        return {name: found.verdict for name, found in self.convergence.items()}

    def unconverged(self) -> dict[str, Verdict]:
        """Return the verdicts on those methods that have not converged though the comparison rests on them.

        These are the reference or, where there is none, all Markov chains.
        """
        chains = [name for name, tree in self.trees.items() if is_markov_chain(tree)]
        trusted = chains if self.reference is None else [self.reference]
        return {name: verdict for name, verdict in self.verdicts().items() if name in trusted and not verdict.converged}

    def conclusions(self) -> dict[str, Conclusion]:
        """Return in a sentence whether the intervals of each method can be believed: see ``results.conclusions``."""
        return conclude(self.scores, self.verdicts(), self.reference)

    def figures(self, folder: str | Path) -> dict[str, Path]:
        """Write every figure as PNG and PDF into a folder, made if need be; return the paths of the PNG by name."""
        return _write_all(self._drawn(), Path(folder))

    def report(self, path: str | Path, *, command: str | None = None) -> Path:
        """Write the report, one HTML page that needs nothing else, and beside it what machines read.

        Parameters
        ----------
        path : path
            Of the page, such as ``report.html``, in a folder that exists.  The same in Markdown stands beside it, with
            ``comparison.csv``, ``comparison.json`` and ``figures/*.png`` and ``*.pdf``.
        command : str, optional
            The command that makes the comparison again.

        Returns
        -------
        Path
            The page.

        Raises
        ------
        InputError
            If the path does not end in ``.html``, or its folder does not exist.
        """
        from binn_prob.results import report

        page = Path(path)
        if page.suffix != ".html":
            raise InputError(f"a report called {page}", "a path that ends in .html", "correct the path")
        with replacing(page.with_name("comparison.csv")) as temporary:
            self.scores.to_csv(temporary, index=False)
        with replacing(page.with_name("comparison.json")) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False), encoding="utf-8")
        drawn = {name: written.read_bytes() for name, written in self.figures(page.with_name("figures")).items()}
        for each in (page.with_suffix(".md"), page):
            report.write(self, each, drawn, command=command)
        return page

    def save(self, folder: str | Path, *, command: str | None = None, posteriors: bool = True) -> Path:
        """Write scores, posteriors, figures and report into a folder, which is made if need be.

        The folder then holds ``comparison.csv`` and ``comparison.json``, ``figures/*.png`` and ``*.pdf``,
        ``report.html`` and ``report.md`` and, unless ``posteriors`` is False, ``posterior_<method>.nc``.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, tree in self.trees.items() if posteriors else ():
            save(tree, folder / f"posterior_{name}.nc")
        self.report(folder / "report.html", command=command)
        return folder

    def to_dict(self) -> dict[str, Any]:
        """Return scores, verdicts and conclusions as what JSON can hold; None where a number does not exist."""
        return {
            "reference": self.reference,
            "methods": {
                name: {
                    "believed": found.believed,
                    "statements": list(found.statements),
                    "converged": self.convergence[name].verdict.converged,
                    "reasons": list(self.convergence[name].verdict.reasons),
                    "attributes": {key: _plain(value) for key, value in self.trees[name].attrs.items()},
                }
                for name, found in self.conclusions().items()
            },
            "scores": [{key: _plain(value) for key, value in row.items()} for row in self.scores.to_dict("records")],
        }

    def _drawn(self) -> dict[str, Figure]:
        """Return every figure by its name."""
        from binn_prob.results import plots

        worst = {name: chains.worst for name, chains in self.convergence.items() if chains.worst}
        unconverged = [name for name, verdict in self.verdicts().items() if not verdict.converged]
        return plots.every(self.trees, self.reference, worst, self.scores, unconverged)


def compare(
    fits: Mapping[str, Fitted | xr.DataTree], test: xr.Dataset | None = None, reference: str | None = None
) -> Comparison:
    """Compare posteriors of the same sites.

    Parameters
    ----------
    fits : mapping
        By method name: a fit, or a tree that was made or loaded before.
    test : xarray.Dataset, optional
        Held-out sites at which every fit predicts.  Trees must bring their prediction there along.
    reference : str, optional
        Name of the method that the others are held against; without one the numbers on agreement are left out.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If there is no fit or no such reference, a name is unfit for a file name, a tree brings no held-out prediction
        though ``test`` is given, or the methods have not seen the same observations at the same sites.
    """
    _check_names(fits, reference)
    trees = {name: _tree(name, fit, test) for name, fit in fits.items()}
    _check_same_data(trees)
    diagnosed = {name: convergence.summarise(tree) for name, tree in trees.items()}
    against = None if reference is None else trees[reference]
    rows = {name: list(measures.rows(tree, diagnosed[name], against)) for name, tree in trees.items()}
    return Comparison(trees, reference, measures.frame(_left_out(trees, rows)), diagnosed)


def _left_out(trees: Mapping[str, xr.DataTree], rows: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Add what each posterior would predict of observations that were left out, and the differences."""
    points = {name: leave_one_out.by_observation(tree) for name, tree in trees.items()}
    apart = leave_one_out.differences(points)
    return {
        name: [
            *rows[name],
            *(Row("train", "", key, score) for key, score in leave_one_out.scores(points[name]).items()),
            Row("train", "", "loo_difference", apart[name]),
        ]
        for name in trees
    }


def _check_names(fits: Mapping[str, object], reference: str | None) -> None:
    """Refuse an empty comparison, an unknown reference, and names that cannot be part of a file name."""
    if not fits:
        raise InputError("no fits", "at least one", "fit a model first")
    if reference is not None and reference not in fits:
        raise InputError(f"reference {reference!r}", f"one of {', '.join(fits)}", "name a method that was fitted")
    for name in fits:
        if not re.fullmatch(r"\w[\w.+-]*", name):
            raise InputError(f"method name {name!r}", "letters, digits and any of _.+-", "choose another name")


def _tree(name: str, fit: Fitted | xr.DataTree, test: xr.Dataset | None) -> xr.DataTree:
    """Return the posterior of a fit with its prediction at the held-out sites."""
    if not isinstance(fit, xr.DataTree):
        return fit.tree(held_out=test)
    if test is not None:
        there = HELD_OUT in fit.children and set(group(fit.children[HELD_OUT], "posterior")["site"].values)
        if there != set(test["site"].values):
            got = f"tree {name!r} that does not predict at the held-out sites"
            raise InputError(got, "a fit, or a tree with these sites", "pass the fit itself, or leave out test")
    return fit


def _check_same_data(trees: Mapping[str, xr.DataTree]) -> None:
    """Refuse methods that have not seen the same observations."""
    (first, tree), *others = trees.items()
    for name, other in others:
        if parts(tree).keys() != parts(other).keys():
            got = f"held-out sites for only one of {first!r} and {name!r}"
            raise InputError(got, "the same sites for all", "predict at the held-out sites with every fit")
        for part, each in parts(tree).items():
            distance.same_sites(parts(other)[part], each)
            ours, theirs = (group(t, "observed_data")["soc"] for t in (each, parts(other)[part]))
            if not np.array_equal(ours.to_numpy(), theirs.sel(site=ours["site"]).to_numpy(), equal_nan=True):
                got = f"different observations at the {PART_LABELS[part]} for {first!r} and {name!r}"
                raise InputError(got, "the same data for all", "fit all methods to the same dataset")


def _write_all(drawn: Mapping[str, Figure], folder: Path) -> dict[str, Path]:
    """Write figures into a folder and return the paths of the PNG."""
    from binn_prob.results import plots

    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        for ending, written in (("png", plots.png), ("pdf", plots.pdf)):
            with replacing(folder / f"{name}.{ending}") as temporary:
                temporary.write_bytes(written(figure))
    return {name: folder / f"{name}.png" for name in drawn}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; None for a number that does not exist, as R-hat of chains that stand still."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
