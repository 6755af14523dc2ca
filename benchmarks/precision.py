"""Hold float32 against float64 over the whole box of the parameters, and rewrite the table of ``docs/performance.md``.

    python benchmarks/precision.py        a minute or two on two CPU cores

10,000 parameter vectors, half of them anywhere in BINN's ranges and half at their corners, each with the forcing of one
of New York's profiles, and once more with a random one, from 200 to 340 K, without thaw and with, on bedrock in any
layer.  Both precisions are given the same numbers, which float32 can hold, in a process of their own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from method_table import rewrite
from solver_timings import loss, profiles

from binn_prob import clm5
from binn_prob.clm5.dense import dense_steady_state
from binn_prob.provenance import git_commit, versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BEGIN", "climates", "elsewhere", "errors", "inputs", "main", "solved", "table"]

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN = "<!-- measured: begin, written by benchmarks/precision.py -->"
VECTORS = 10_000
DENSE_AT_ONCE = 250
"""Sites whose matrices are in memory at a time"""
HEAD = ("relative error in float32", "median", "99 %", "99.9 %", "largest", "above 10 %", "not finite", "negative")
RANGE = (1e-20, 1e15)
"""Carbon that is compared under random climates [g C m-3]; beyond it float32 lacks the numbers"""


def inputs(random_climates: bool = False) -> dict[str, np.ndarray]:
    """Return parameters and forcing that float32 can hold."""
    units = np.random.default_rng(0).uniform(size=(VECTORS, len(clm5.NAMES)))
    units[VECTORS // 2 :] = np.round(units[VECTORS // 2 :])
    chosen = np.resize(np.arange(len(profiles().bedrock_layer)), VECTORS)
    found = {field.name: np.asarray(getattr(profiles(), field.name))[chosen] for field in fields(clm5.Forcing)}
    if random_climates:
        found = climates()
    found["parameters"] = np.asarray(clm5.physical(units))
    return {name: one.astype(np.float32) if one.dtype == np.float64 else one for name, one in found.items()}


def climates() -> dict[str, np.ndarray]:
    """Return the forcing of random sites, each extreme in its own way."""
    random = np.random.default_rng(1)
    layered, monthly = (VECTORS, clm5.LAYERS, 12), (VECTORS, 1, 12)
    found = {
        "soil_temperature": random.uniform(220.0, 320.0, (VECTORS, 1, 1)) + random.uniform(-20.0, 20.0, layered),
        **{
            name: np.exp(random.uniform(np.log(least), 0.0, monthly) * random.uniform(0.5, 1.0, layered))
            for name, least in (("water_scalar", 0.05), ("oxygen_scalar", 0.01), ("nitrogen_scalar", 1e-3))
        },
        "litter_input": 10.0 ** random.uniform(-3.0, 3.0, (VECTORS, 4, 12)),
        "bedrock_layer": random.integers(1, clm5.LAYERS + 1, VECTORS),
    }
    for name in ("active_layer_depth", "active_layer_depth_last_year"):
        found[name] = np.repeat(random.choice([0.0, 1e-3, 0.4, 2.0, 2.5, 42.0], (VECTORS, 1)), 12, axis=1)
    return found


def solved(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return carbon (site, layer), and gradients by unit parameters (site, parameter), in the precision in use."""
    parameters = jnp.asarray(given["parameters"], float)
    forcing = clm5.Forcing(
        **{
            field.name: jnp.asarray(given[field.name], None if field.name == "bedrock_layer" else float)
            for field in fields(clm5.Forcing)
        }
    )
    width = np.diff(clm5.RANGES["binn"])[:, 0]
    found = {}
    for column in ("closed", "published"):
        soil = clm5.prepare(forcing, column)
        found[f"{column} carbon"] = clm5.soil_organic_carbon(clm5.solve(parameters, soil))
        found[f"{column} gradient"] = width * jax.jit(jax.grad(loss))(parameters, soil)
    dense = jax.jit(lambda some, climate: dense_steady_state(some, climate, "published"))
    some = [slice(first, first + DENSE_AT_ONCE) for first in range(0, len(parameters), DENSE_AT_ONCE)]
    pools = [dense(parameters[one], jax.tree.map(lambda leaf, one=one: leaf[one], forcing)) for one in some]
    found["dense carbon"] = clm5.soil_organic_carbon(jnp.concatenate(pools))
    return {name: np.asarray(one) for name, one in found.items()}


def compute(source: Path, target: Path) -> None:
    """Solve what is stored, and store it."""
    with np.load(source) as file:
        np.savez(target, **solved(dict(file)))


def elsewhere(source: Path, precision: str) -> dict[str, np.ndarray]:
    """Solve in a process of that precision."""
    target = source.with_name(f"{precision}.npz")
    environment = {**os.environ, "BINN_PROB_PRECISION": precision, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, "--compute", str(source), str(target)]
    subprocess.run(command, env=environment, check=True)
    with np.load(target) as file:
        return dict(file)


def errors(
    given: Mapping[str, np.ndarray],
    single: Mapping[str, Any],
    double: Mapping[str, Any],
    name: str,
    truth: str = "",
    within: tuple[float, float] = (0.0, np.inf),
) -> np.ndarray:
    """Return the relative errors of the carbon of layers above bedrock, or of the gradients of sites.

    All of them, or those whose carbon is within some bounds.
    """
    got, expected = np.asarray(single[name], float), double[truth or name]
    soil = np.arange(clm5.LAYERS) < given["bedrock_layer"][:, None]
    carbon = double["closed carbon" if "gradient" in name else truth or name]
    held = (carbon >= within[0]) & (carbon <= within[1])
    if "gradient" in name:
        whole = (held | ~soil).all(axis=1)
        return (np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1))[whole]
    soil &= held
    return np.abs(got[soil] / expected[soil] - 1.0)


def row(words: str, error: np.ndarray, values: np.ndarray) -> tuple[str, ...]:
    """Return quantiles of the errors, how many of the values are not numbers, and of carbon how many are negative."""
    error = np.nan_to_num(error, nan=np.inf)
    shown = (f"{np.quantile(error, at, method='higher'):.1e}" for at in (0.5, 0.99, 0.999, 1.0))
    negative = "–" if "gradient" in words else f"{np.sum(values < 0):,}"
    return words, *shown, f"{100 * np.mean(error > 0.1):.2g} %", f"{np.sum(~np.isfinite(values)):,}", negative


def table(groups: Sequence[tuple[Mapping[str, np.ndarray], Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """Return as Markdown how well float32 does under New York's climates, and under random ones."""
    lines = [HEAD, ("---",) * len(HEAD)]
    new_york, extreme = groups
    for words, name, truth in (
        ("carbon, closed column", "closed carbon", ""),
        ("carbon, published column", "published carbon", ""),
        ("carbon, published column by a dense solution", "dense carbon", "published carbon"),
        ("gradient, closed column", "closed gradient", ""),
        ("gradient, published column", "published gradient", ""),
    ):
        lines.append(row(words, errors(*new_york, name, truth), new_york[1][name]))
    for words, name in (("carbon", "closed carbon"), ("gradient", "closed gradient")):
        error = errors(*extreme, name, within=RANGE)
        lines.append(row(f"{words}, closed column, random climates", error, extreme[1][name]))
    software = ", ".join(f"{name} {versions()[name]}" for name in ("python", "jax", "numpy"))
    made = f"Made by `python benchmarks/precision.py`; {software}; commit {str(git_commit())[:7]}."
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + f"\n\n{made}\n"


def main(arguments: list[str] | None = None) -> None:
    """Solve in both precisions, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--compute", type=Path, nargs=2, metavar=("FROM", "TO"), help="solve what is stored in a file")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="page to write into")
    given = parser.parse_args(arguments)
    if given.compute:
        compute(*given.compute)
        return
    with tempfile.TemporaryDirectory() as folder:
        source, groups = Path(folder) / "inputs.npz", []
        for random_climates in (False, True):
            stored = inputs(random_climates)
            np.savez(source, **stored)
            groups.append((stored, *(elsewhere(source, precision) for precision in ("float32", "float64"))))
    rewrite(given.document, table(groups), BEGIN)


if __name__ == "__main__":
    main()
