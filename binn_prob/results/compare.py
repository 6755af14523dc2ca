"""Several posteriors of the same sites side by side: one table, the figures, the report, a folder to keep."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from binn_prob.errors import InputError
from binn_prob.files import replacing
from binn_prob.results import calibration, convergence, distance
from binn_prob.results.convergence import Verdict
from binn_prob.results.drawing import PART_LABELS
from binn_prob.results.posterior import HELD_OUT, PROCESS_NAMES, group, parts, save

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["METRICS", "Comparison", "Fitted", "Metric", "compare", "render"]


class Metric(NamedTuple):
    """One column of the comparison table."""

    column: str
    label: str
    form: str
    """How a number is printed; what is true or false is printed as yes or no."""
    section: str
    """Where the report shows it."""


def _metrics() -> tuple[Metric, ...]:
    """Return every column of the table, in order."""
    skill = {"nse": "NSE", "log_nse": "NSE of log SOC", "r2": "R²"}
    coverage = {f"coverage_{level * 100:g}": f"coverage of {level:.0%} intervals" for level in calibration.LEVELS}
    words = {name: name.replace("_", " ") for name in PROCESS_NAMES}
    rows = []
    for part in ("train", HELD_OUT):
        where = PART_LABELS[part]
        rows += [Metric(f"{part}_{name}", f"{label}, {where}", "{:.3f}", "skill") for name, label in skill.items()]
        rows += [
            Metric(f"{part}_{name}", f"{label}, {where}", "{:.1%}", "calibration") for name, label in coverage.items()
        ]
        rows += [
            Metric(f"{part}_true_parameters_90", f"true parameters in 90% intervals, {where}", "{:.1%}", "calibration")
        ]
        rows += [Metric(f"{part}_crps", f"CRPS of log SOC, {where}", "{:.3f}", "calibration")]
    rows += [
        Metric("converged", "converged", "{:.0f}", "convergence"),
        Metric("r_hat_max", "R-hat, largest", "{:.3f}", "convergence"),
        Metric("ess_bulk_min", "ESS of the bulk, smallest", "{:.0f}", "convergence"),
        Metric("ess_tail_min", "ESS of the tails, smallest", "{:.0f}", "convergence"),
        Metric("divergences", "divergent transitions", "{:.0f}", "convergence"),
        Metric("e_bfmi_min", "E-BFMI, smallest of a chain", "{:.2f}", "convergence"),
        Metric("longest_trajectories", "transitions cut at the longest trajectory", "{:.0%}", "convergence"),
        Metric("pareto_k", "k-hat of the guide", "{:.2f}", "convergence"),
    ]
    for name, words_of in words.items():
        rows += [Metric(f"{name}_correlation", f"{words_of}: correlation", "{:.3f}", "agreement")]
        rows += [Metric(f"{name}_bias", f"{words_of}: bias / reference sd", "{:+.2f}", "agreement")]
        rows += [Metric(f"{name}_sd_ratio", f"{words_of}: sd ratio", "{:.2f}", "agreement")]
    return (*rows, Metric("wall_seconds", "wall seconds", "{:.1f}", "cost"))


METRICS = _metrics()
"""Columns of :attr:`Comparison.table`, defined in ``calibration``, ``convergence`` and ``distance``."""

_DIAGNOSTICS = [metric.column for metric in METRICS if metric.section == "convergence" and metric.column != "converged"]
"""Fields of :class:`binn_prob.results.convergence.Convergence` that are columns of the table."""


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
    table: pd.DataFrame
    """One row per method, one column per metric of :data:`METRICS`; NaN where a number does not exist."""
    convergence: Mapping[str, convergence.Convergence]
    """Diagnostics of each method, and the verdict; blank where a method has no such diagnostic."""

    def __repr__(self) -> str:
        return self.table_text()

    def table_text(self, width: int = 120) -> str:
        """Return the table as text of at most ``width`` columns."""
        from rich.console import Console

        console = Console(width=width, file=StringIO(), color_system=None)
        with console.capture() as captured:
            console.print(render(self.table))
        return captured.get()

    def verdicts(self) -> dict[str, Verdict]:
        """Return for each method whether it has converged, and why not."""
        return {name: found.verdict for name, found in self.convergence.items()}

    def figures(self, folder: str | Path) -> dict[str, Path]:
        """Write every figure as PNG into a folder, which is made if need be, and return the paths by name."""
        return _write_all(self._drawn(), Path(folder))

    def report(self, path: str | Path, *, command: str | None = None) -> Path:
        """Write the report, one HTML page that needs nothing else; ``command`` says how to make it again."""
        from binn_prob.results.report import write

        return write(self, path, self._drawn(), command=command)

    def save(self, folder: str | Path, *, command: str | None = None, posteriors: bool = True) -> Path:
        """Write table, posteriors, figures and report into a folder, which is made if need be.

        The folder then holds ``comparison.csv``, ``figures/*.png``, ``report.html`` and, unless ``posteriors`` is
        False, ``posterior_<method>.nc``.
        """
        from binn_prob.results.report import write

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "comparison.csv") as temporary:
            self.table.to_csv(temporary)
        for name, tree in self.trees.items() if posteriors else ():
            save(tree, folder / f"posterior_{name}.nc")
        drawn = self._drawn()
        _write_all(drawn, folder / "figures")
        write(self, folder / "report.html", drawn, command=command)
        return folder

    def _drawn(self) -> dict[str, bytes]:
        """Return every figure as PNG by its name."""
        from binn_prob.results import plots

        worst = {name: chains.worst for name, chains in self.convergence.items() if chains.worst}
        return {name: plots.png(figure) for name, figure in plots.every(self.trees, self.reference, worst).items()}


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
        Name of the method that the others are held against; without one the columns of agreement are left out.

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
    rows = {
        name: _row(tree, diagnosed[name], None if reference is None else trees[reference])
        for name, tree in trees.items()
    }
    columns = [m.column for m in METRICS if reference is not None or m.section != "agreement"]
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns).rename_axis("method")
    return Comparison(trees, reference, table.astype({"divergences": "Int64"}), diagnosed)


def render(table: pd.DataFrame) -> Table:
    """Return a comparison table for the terminal: one row per metric, one column per method.

    Metrics that no method has are left out; a metric that one method lacks is blank there.
    """
    from rich.table import Table

    view = Table(title="Comparison of methods")
    view.add_column("")
    for name in table.index:
        view.add_column(str(name), justify="right")
    section = None
    for metric in METRICS:
        if metric.column not in table or table[metric.column].isna().all():
            continue
        if section not in (None, metric.section):
            view.add_section()
        section = metric.section
        view.add_row(metric.label, *printed(table, metric))
    return view


def printed(table: pd.DataFrame, metric: Metric) -> list[str]:
    """Return the values of a metric as text, one per method, empty where there is none."""
    return [_printed(value, metric.form) for value in table[metric.column]]


def _printed(value: Any, form: str) -> str:
    """Return a value as text."""
    if isinstance(value, bool | np.bool):
        return "yes" if value else "no"
    return "" if pd.isna(value) else form.format(float(value))


def _row(tree: xr.DataTree, chains: convergence.Convergence, reference: xr.DataTree | None) -> dict[str, float]:
    """Return the metrics of one method."""
    row: dict[str, float] = {
        f"{part}_{name}": value
        for part, each in parts(tree).items()
        for name, value in calibration.scores(each).items()
    }
    row |= {f"{part}_true_parameters_90": calibration.parameter_coverage(each) for part, each in parts(tree).items()}
    row |= {name: getattr(chains, name) for name in _DIAGNOSTICS} | {"converged": chains.verdict.converged}
    if reference is not None:
        agreement = distance.agreement(tree, reference)
        for measure in distance.MEASURES:
            row |= {f"{name}_{measure}": float(agreement[measure].sel(process=name)) for name in PROCESS_NAMES}
    return row | {"wall_seconds": float(tree.attrs.get("wall_seconds", math.nan))}


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


def _write_all(drawn: Mapping[str, bytes], folder: Path) -> dict[str, Path]:
    """Write figures into a folder and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.png" for name in drawn}
    for name, path in paths.items():
        with replacing(path) as temporary:
            temporary.write_bytes(drawn[name])
    return paths
