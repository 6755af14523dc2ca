"""The table of the solver's times: what is made of what pytest-benchmark has measured."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("solver")


def test_times_become_ratios(bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one(name: str, seconds: float, sites: int | None = 2, **extra: float) -> dict[str, object]:
        label = f"test_{name}" + (f"[{sites}]" if sites else "")
        params = {"sites": sites} if sites else None
        return {"name": label, "params": params, "stats": {"median": seconds}, "extra_info": extra}

    counted = {"flops": 1e3, "transcendentals": 100.0, "moved": 2e4}
    listed = [
        one("forward", 1e-5), one("forward", 5e-5, 20, **counted), one("value_and_gradient", 3e-5, bytes=8000),
        one("value_and_gradient", 1e-4, 20, bytes=40_000, **counted), one("dense", 1e-3), one("lapack", 2e-3),
        one("compilation", 2.5, None), one("multiply_add", 2e-3, None, count=2e6, moved=1.0),
        one("chunks", 4e-4, 64), one("chunks", 2e-4, 256), one("chunks", 3e-4, 1402),
        one("exponential", 2e-3, None, count=1e5), one("memory", 1e-3, None, moved=4e6),
    ]  # fmt: skip
    path = tmp_path / "timings.json"
    path.write_text(json.dumps({"benchmarks": listed}), encoding="utf-8")
    monkeypatch.setattr(bench, "FLOOR_AT", (2, 20))
    block = bench.block({("float64", 2): bench.read(path)})
    assert "**float64, 2 threads; compilation of value and gradient: 2.5 s**" in block
    assert "| 2 | 5 | 3 | 100 | 200 | 4 |" in block
    assert "| 20 | 2.5 | 2 | – | – | 2 |" in block
    # 1,000 operations at 1 ns on a core and 100 exponentials at 20 ns, on two cores; 1 kB at 4 GB/s
    assert "in chunks of other sizes than 256, of the time they take: 2 of 64, 1.5 of 1,402." in block
    assert "| forward | 1,000 | 100 | 1 | 1.5 | 0.25 | 3.3 | 1.7 |" in block
    assert "| value and gradient | 1,000 | 100 | 1 | 1.5 | 0.25 | 10 | 3.3 |" in block


def test_the_document_has_a_place_for_it(bench: ModuleType, tmp_path: Path) -> None:
    """The errors of float32 stand in the same document, and stay as they are."""
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    document = tmp_path / "performance.md"
    document.write_text(text, encoding="utf-8")
    bench.rewrite(document, "times", bench.BEGIN)
    times, errors = document.read_text(encoding="utf-8").split("written by benchmarks/precision.py")
    assert times.partition(bench.BEGIN)[2].startswith("\n\ntimes\n<!-- measured: end -->")
    assert errors == text.split("written by benchmarks/precision.py")[1]
