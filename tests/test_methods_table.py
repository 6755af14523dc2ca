"""The table of methods: its cases can be fitted, its document is whole, and the script fills it in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import binn_prob as bp
from binn_prob.inference import METHODS

pytestmark = pytest.mark.usefixtures("soil_that_costs_nothing")

ROOT = Path(__file__).resolve().parent.parent
FILES = ("method_cases", "method_scores", "method_table", "methods")


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The modules of the script, which find each other because they lie in one folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield SimpleNamespace(**{name: imported(name) for name in FILES})
        for name in FILES:
            sys.modules.pop(name)


def imported(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


def cells(text: str, count: int) -> list[list[str]]:
    """The first cells of every row of the tables in a text."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [line[:count] for line in lines]


def test_names_are_unique(bench):
    assert len(bench.method_cases.BY_NAME) == len(bench.method_cases.CASES)
    assert bench.method_cases.REFERENCE in bench.method_cases.BY_NAME


@pytest.mark.parametrize("small", [False, True])
def test_every_case_can_be_made(bench, small):
    for case in bench.method_cases.CASES:
        model, method = case.build(small)
        assert (model.name, method.name) == (case.model, case.method)
        if case.first:
            assert not bench.method_cases.BY_NAME[case.first].build(small)[0].has_network
        else:
            assert not (method.needs_hidden_units and not model.has_hidden_units)
            assert not (method.needs_independent_sites and model.has_network)


def test_every_method_is_a_case(bench):
    assert {case.method for case in bench.method_cases.CASES} == {*METHODS, "upscaling"}


def test_the_document_has_a_row_for_every_case(bench):
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    inside = text.partition(bench.method_table.BEGIN)[2].partition(bench.method_table.END)[0]
    assert cells(inside, 3) == cells(bench.method_table.table(bench.method_cases.CASES, {}, ""), 3)


def test_the_document_says_of_every_method_what_its_draws_are(bench):
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    _, _, after = text.partition(bench.method_table.END)
    assert {f"`{word}`" for word in METHODS} <= {first for (first,) in cells(after, 1)}


def test_rewriting_keeps_what_people_wrote(bench, tmp_path):
    begin, end = bench.method_table.BEGIN, bench.method_table.END
    document = tmp_path / "methods.md"
    document.write_text(f"above\n\n{begin}\nold\n{end}\n\nbelow\n", encoding="utf-8")
    for block in ("one\n", "two\n"):
        bench.method_table.rewrite(document, block)
        assert document.read_text(encoding="utf-8") == f"above\n\n{begin}\n\n{block}\n{end}\n\nbelow\n"


@pytest.mark.parametrize("text", [None, "no markers", "{end} {begin}", "{begin} {end} {begin}", "{begin} {end} {end}"])
def test_a_document_without_a_place_is_left_alone(bench, tmp_path, text):
    document = tmp_path / "methods.md"
    if text is not None:
        text = text.format(begin=bench.method_table.BEGIN, end=bench.method_table.END)
        document.write_text(text, encoding="utf-8")
    with pytest.raises(bp.InputError, match="place for the table"):
        bench.method_table.rewrite(document, "block")
    assert (document.read_text(encoding="utf-8") if document.exists() else None) == text


def test_rows_are_printed(bench):
    made = {"asked": {"sites": 64, "seed": 0}, "train": 51, "held_out": 13, "cores": 2, "device": "cpu"}
    made["versions"] = dict.fromkeys(("python", "binn-prob", "jax", "numpyro", "flax", "optax"), "1.0")
    made["git_commit"] = "1234567890abcdef"
    shares = {"true_parameters": [0.47, 0.021], "true_processes": [1.0, None]}
    rows = {
        "binn-nuts": {
            **made,
            **shares,
            "seconds": 100.0,
            "converged": False,
            "reasons": ["R-hat (sites 1, 2)", "ESS"],
            "crps": 0.2,
        },
        "site-laplace": {**made, "true_parameters": [0.976, 0.0041], "seconds": 12.0, "converged": True, "reasons": []},
        "binn-vi-iaf": {**made, "failure": "not finite"},
    }
    cases = [bench.method_cases.BY_NAME[name] for name in rows]
    text = bench.method_table.table(cases, rows, "command")
    measured = [line.strip("| ").split(" | ")[3:] for line in text.splitlines() if line.startswith("| `")]
    assert measured[0] == ["100", "1", "no: R-hat; and 1 more", "47 ± 2 %", "100%", "–", "0.200"]
    assert measured[1] == ["12", "0.12", "yes", "97.6 ± 0.4 %", "–", "–", "–"]
    assert measured[2] == ["–", "–", "failed: not finite", "–", "–", "–", "–"]
    assert "51 sites to learn from and 13 held out" in text
    assert "2 CPU cores, cpu; python 1.0" in text


@pytest.mark.slow
def test_a_case_is_measured_once(bench, tmp_path):
    case = bench.method_cases.BY_NAME["binn-mc_dropout"]
    here = bench.methods.Bench(tmp_path / "out", sites=8, small=True)
    said: list[str] = []
    rows, complaints = here.run([case], bench.methods.measure_here, said.append)
    again, _ = here.run([case], bench.methods.measure_here, said.append)
    assert (complaints, said) == ([], [case.name, f"{case.name}: there already"])
    assert rows == again
    row = rows[case.name]
    for name in bench.method_scores.SHARES:
        share, error = row[name]
        assert 0.0 <= share <= 1.0
        assert error is None or error >= 0.0
    assert {"seconds", "crps", "log_nse"} <= set(row)
    assert row["train"] + row["held_out"] == 8
    document = tmp_path / "methods.md"
    document.write_text(f"{bench.method_table.BEGIN}\n{bench.method_table.END}", encoding="utf-8")
    bench.method_table.rewrite(document, bench.method_table.table(bench.method_cases.CASES, rows, "command"))
    assert f"| {row['seconds']:.0f} |" in document.read_text(encoding="utf-8")
    with pytest.raises(bp.InputError, match="sites was 8 and is now 9"):
        bench.methods.Bench(tmp_path / "out", sites=9, small=True).row(case)


def test_one_case_that_cannot_be_measured_does_not_stop_the_others(bench, tmp_path):
    chosen = bench.method_cases.CASES[:2]
    here = bench.methods.Bench(tmp_path, sites=8, small=True)
    rows, complaints = here.run(chosen, lambda _, case: "no room" if case == chosen[0] else "", lambda _: None)
    assert (rows, complaints) == ({}, [f"{chosen[0].name}: no room"])
