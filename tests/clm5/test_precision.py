"""Precision and devices are chosen once per process: tested in processes of their own."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from binn_prob import clm5

SINGLE = """
from dataclasses import fields
import sys
import warnings
import jax
import numpy as np
from binn_prob import clm5
from binn_prob.clm5 import Forcing, prepare, solve
jax.config.update("jax_num_cpu_devices", 2)  # refused once JAX has started
source, target = sys.argv[1:]
stored = np.load(source)
variables = {field.name: stored[field.name] for field in fields(Forcing)}
forcing = Forcing(**{name: jax.numpy.asarray(value) for name, value in variables.items()})
assert jax.local_device_count() == 2
warnings.simplefilter("error")
try:
    prepare(forcing, "published")
except UserWarning as warning:
    assert "needs float64" in str(warning)
else:
    raise AssertionError("no warning of the published column")
warnings.simplefilter("ignore")
pools = {column: solve(stored["parameters"], prepare(forcing, column)) for column in ("closed", "published")}
np.savez(target, **pools, **everything(clm5, jax.numpy.asarray(stored["parameters"], float), forcing))
"""


def everything(clm5: Any, parameters: Any, forcing: Any) -> dict[str, np.ndarray]:
    """What all other public functions of the solver say of some columns, in the precision in use."""
    soil = clm5.prepare(forcing)
    pools = clm5.solve(parameters, soil)
    ten_years = clm5.transient(0.5 * pools, parameters, forcing, np.full(10, 365.0))
    found = {
        "processes": clm5.processes(parameters, forcing),
        "published processes": clm5.processes(parameters, forcing, formulas="published"),
        "processes of PRODA": clm5.processes(parameters, forcing, formulas="proda"),
        "residence times": clm5.residence_times(parameters, forcing),
        "baseline residence times": clm5.baseline_residence_times(parameters, forcing),
        "respiration": clm5.respiration(parameters, pools, soil),
        "pools after ten years": ten_years.pools[-1],
        "respired in ten years": ten_years.respired,
    }
    return {name: np.asarray(one) for name, one in found.items()}


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Pools of the exact columns in float32; the process asks for a second device after binn_prob was imported."""
    source = Path(__file__).with_name("data") / "exact_columns.npz"
    target = tmp_path_factory.mktemp("single") / "pools.npz"
    environment = {**os.environ, "BINN_PROB_PRECISION": "float32", "JAX_PLATFORMS": "cpu"}
    program = f"from __future__ import annotations\n{inspect.getsource(everything)}\n{SINGLE}"
    subprocess.run([sys.executable, "-c", program, str(source), str(target)], env=environment, check=True)
    with np.load(target) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("column", ["closed", "published"])
def test_single_precision(column: str, single: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> None:
    """Nothing is lost to cancellation in float32 either; only a depth scalar below 1e-19 is out of its range."""
    pools, expected = single[column], exact[f"pools_{column}"]
    assert pools.dtype == np.float32
    assert np.isfinite(pools).all()
    assert (pools >= 0).all()
    soil = np.arange(20) < exact["bedrock_layer"][:, None]
    compared = (soil & (exact["parameters"][:, 3] > 0.2)[:, None])[:, None] & (expected > 1e-20)
    assert compared.sum() > 400
    np.testing.assert_allclose(pools[compared], expected[compared], rtol=5e-5)


def test_all_that_is_public_runs_in_single_precision(
    single: dict[str, np.ndarray], exact: dict[str, np.ndarray], exact_forcing: clm5.Forcing
) -> None:
    """Where decomposition at depth is within the range of float32."""
    double = everything(clm5, jnp.asarray(exact["parameters"]), exact_forcing)
    chosen = exact["parameters"][:, clm5.NAMES.index("efolding")] > 0.2
    assert chosen.sum() > 5
    for name, expected in double.items():
        axis = 1 if name == "respired in ten years" else 0
        got, expected = (np.compress(chosen, one, axis=axis) for one in (single[name], expected))
        assert got.dtype == np.float32, name
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-20, err_msg=name)


@pytest.fixture(scope="module")
def bench(root: Path, new_york_folder: Path) -> Iterator[ModuleType]:
    """Return the benchmark of the precision, which reads New York's profiles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BINN_PROB_DATA", str(new_york_folder))
        patch.syspath_prepend(str(root / "benchmarks"))
        yield importlib.import_module("precision")


@pytest.mark.slow
def test_single_precision_in_the_whole_box(bench: ModuleType, tmp_path: Path) -> None:
    """10,000 parameter vectors, half of them corners, under New York's climates.

    Measured: carbon 6e-6 at the 99.9th percentile, gradients 2e-4.
    """
    given = bench.inputs()
    np.savez(tmp_path / "inputs.npz", **given)
    single, double = (bench.elsewhere(tmp_path / "inputs.npz", precision) for precision in ("float32", "float64"))
    for name, values in single.items():
        assert values.dtype == np.float32
        assert np.isfinite(values).all(), name
        assert "carbon" not in name or "dense" in name or (values >= 0).all()
    assert np.quantile(bench.errors(given, single, double, "closed carbon"), 0.999) <= 1e-4
    assert np.quantile(bench.errors(given, single, double, "closed gradient"), 0.999) <= 1e-3
