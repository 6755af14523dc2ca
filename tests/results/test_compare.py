"""The comparison: its table, and the folder it writes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html import escape

import pandas as pd
import pytest
import xarray as xr

from binn_prob.clm5.processes import PROCESS_NAMES
from binn_prob.errors import InputError
from binn_prob.results import measures, plots, posterior, recalibration, report
from binn_prob.results.compare import compare

FIGURES = {
    "chains_nuts", "correlations", "cost", "coverage", "deviations", "forest", "losses", "maps_mc_dropout", "maps_nuts",
    "maps_vi", "marginals", "observed_predicted", "processes", "profiles", "ranks", "recovered", "transforms",
}  # fmt: skip


@pytest.fixture(scope="module")
def comparison(trees):
    return compare(trees, reference="nuts")


@pytest.fixture(scope="module")
def folder(comparison, tmp_path_factory):
    return comparison.save(tmp_path_factory.mktemp("run") / "made" / "here", command="binn-prob compare")


@dataclass
class Fit:
    """A fit that knows its tree."""

    whole: xr.DataTree

    def tree(self, *, held_out=None):
        if held_out is not None:
            return self.whole
        fitted = self.whole.copy()
        del fitted["held_out"]
        return fitted


def test_one_row_per_method_and_one_column_per_metric(comparison):
    table = comparison.table
    assert table.index.name == "method"
    assert list(table.index) == ["mc_dropout", "vi", "nuts"]
    assert table.columns.is_unique
    assert {"train_nse", "held_out_coverage_90", "held_out_crps", "vertical_transport_rate_sd_ratio"} <= set(table)
    pd.testing.assert_index_equal(comparison.errors.columns, table.columns)
    assert table["wall_seconds"].tolist() == [12.5] * 3
    assert (table["train_nse"] > 0.4).all()


def test_numbers_that_do_not_exist_are_blank(comparison):
    chains = ["r_hat_max", "ess_bulk_min", "ess_tail_min", "divergences"]
    assert comparison.table.loc[["mc_dropout", "vi"], chains].isna().all(axis=None)
    assert comparison.table.loc["nuts", chains].notna().all()
    assert comparison.table[["plant_carbon_input_correlation", "plant_carbon_input_sd_ratio"]].isna().all(axis=None)


def test_the_reference_agrees_with_itself(comparison):
    for name in PROCESS_NAMES[1:]:
        assert comparison.table.loc["nuts", f"{name}_correlation"] == pytest.approx(1.0)
        assert comparison.table.loc["nuts", f"{name}_sd_ratio"] == 1.0
        assert comparison.table.loc["vi", f"{name}_sd_ratio"] == pytest.approx(0.6, abs=0.15)  # sd 0.03 against 0.05


def test_without_a_reference_there_are_no_distances(trees):
    assert "agreement" not in set(compare({"vi": trees["vi"]}).scores["section"])


def test_without_held_out_sites_they_have_no_columns(tree_of):
    table = compare({"vi": tree_of(draws=20)}).table
    assert not [column for column in table if column.startswith("held_out")]
    assert table["train_nse"].notna().all()


def test_fits_predict_at_the_test_sites(trees):
    test = xr.Dataset(coords={"site": trees["vi"]["held_out/posterior"]["site"].to_numpy()})
    fitted = compare({name: Fit(tree) for name, tree in trees.items()}, test=test, reference="nuts")
    assert fitted.table["held_out_nse"].notna().all()
    assert "held_out_nse" not in compare({"vi": Fit(trees["vi"])}).table
    assert compare({"vi": trees["vi"]}, test=test).table["held_out_nse"].notna().all()


def test_trees_must_predict_at_the_test_sites(trees, tree_of):
    test = xr.Dataset(coords={"site": [1, 2]})
    for tree in (trees["vi"], tree_of(draws=5)):
        with pytest.raises(InputError, match="does not predict at the held-out sites"):
            compare({"vi": tree}, test=test)


@pytest.mark.parametrize(
    ("names", "reference", "message"),
    [
        ([], None, "no fits"),
        (["vi"], "nuts", "reference 'nuts'"),
        (["../vi"], None, "method name '../vi'"),
        ([".vi"], None, "method name"),
        ([""], None, "method name"),
    ],
)
def test_bad_names_are_refused(names, reference, message, trees):
    with pytest.raises(InputError, match=message):
        compare(dict.fromkeys(names, trees["vi"]), reference=reference)


def test_other_data_are_refused(trees, tree_of):
    with pytest.raises(InputError, match="held-out sites for only one"):
        compare({"vi": trees["vi"], "nuts": tree_of("nuts", chains=2, draws=10)})
    with pytest.raises(InputError, match="same sites"):
        compare({"a": tree_of(sites=4, draws=10), "b": tree_of(sites=5, draws=10)})
    changed = tree_of(draws=10)
    changed.children["observed_data"]["soc"][0, 0] += 1
    with pytest.raises(InputError, match="different observations at the fitted sites"):
        compare({"a": tree_of(draws=10), "b": changed})


@pytest.mark.slow
def test_the_folder_holds_everything(folder, comparison):
    assert {each.name for each in folder.iterdir()} == {
        "comparison.csv", "comparison.json", "figures", "report.html", "report.md", "posterior_mc_dropout.nc",
        "posterior_nuts.nc", "posterior_vi.nc",
    }  # fmt: skip
    figures = {each.stem for each in (folder / "figures").iterdir()}
    assert figures == FIGURES
    assert {each.name for each in (folder / "figures").iterdir()} == {
        f"{name}.{ending}" for name in figures for ending in ("png", "pdf")
    }
    again = compare({name: posterior.load(folder / f"posterior_{name}.nc") for name in comparison.trees}, None, "nuts")
    pd.testing.assert_frame_equal(again.table, comparison.table)


@pytest.mark.slow
def test_the_file_of_the_scores(folder, comparison):
    written = pd.read_csv(folder / "comparison.csv", keep_default_na=False, na_values={"value": "", "error": ""})
    pd.testing.assert_frame_equal(written, comparison.scores)
    assert not written.duplicated(["method", "part", "of", "measure"]).any()


@pytest.mark.slow
def test_the_file_for_machines_holds_what_the_comparison_does(folder, comparison):
    held = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert held["reference"] == "nuts"
    for name, conclusion in comparison.conclusions().items():
        assert held["methods"][name]["believed"] == conclusion.believed
        assert held["methods"][name]["statements"] == list(conclusion.statements)
        assert held["methods"][name]["attributes"]["seed"] == 0
    again = pd.DataFrame(held["scores"]).astype({"value": float, "error": float})
    pd.testing.assert_frame_equal(again, comparison.scores)


def test_every_number_has_the_measure_that_defines_it(comparison):
    assert set(measures.MEASURES) - set(comparison.scores["measure"]) == set(recalibration.MEASURES)  # too few sites
    kinds = comparison.scores.groupby("measure")[["section", "unit"]].nunique()
    assert (kinds == 1).all(axis=None)


def test_intervals_are_recalibrated_where_there_are_sites_for_it(tree_of):
    tree = tree_of("vi", held_out=20, draws=50)
    found = compare({"vi": tree, "mc_dropout": tree})
    held = found.scores[found.scores["of"].isin(recalibration.WAYS)]
    assert set(held["measure"]) == {*recalibration.MEASURES, *(f"coverage_{level}" for level in (50, 80, 90, 95))}
    page = report.render(found, {})
    assert "Recalibrated" in page
    assert re.search(r">conformal</th>.*>coverage of 80\W%\Wintervals</th>", page, re.DOTALL)


def test_numbers_over_sites_have_errors(comparison):
    measured = comparison.scores[comparison.scores["value"].notna()]
    by_site = measured[~measured["section"].isin(["convergence", "cost"])]
    assert by_site["error"].notna().all()
    assert (by_site["error"] >= 0).all()


def test_the_table_in_the_terminal(comparison):
    text = comparison.table_text()
    assert max(map(len, text.splitlines())) <= 120
    assert "nan" not in text.lower()
    line = next(line for line in text.splitlines() if "R-hat" in line)
    assert not line.split("│")[2].strip()
    assert float(line.split("│")[4]) == pytest.approx(comparison.table.loc["nuts", "r_hat_max"], abs=1e-3)
    assert "plant carbon input" not in text


def test_notebooks_show_conclusions_and_numbers(comparison):
    shown = comparison._repr_html_()
    for conclusion in comparison.conclusions().values():
        assert escape(str(conclusion)) in shown
    for number in measures.summary(comparison.scores):
        assert escape(number.label) in shown
        assert all(escape(text) in shown for text in number.printed)
    assert shown.count("<tr>") == shown.count("</tr>") == 1 + len(measures.summary(comparison.scores))


def test_a_report_that_fails_leaves_no_file(comparison, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(type(tmp_path), "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write(comparison, tmp_path / "report.html", {})
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="missing folder"):
        report.write(comparison, tmp_path / "nowhere" / "report.html", {})


def test_a_report_has_what_machines_read_beside_it(comparison, tmp_path, monkeypatch):
    coverage = plots.coverage_curves(comparison.trees)
    monkeypatch.setattr(type(comparison), "_drawn", lambda self: {"coverage": coverage})
    assert comparison.report(tmp_path / "page.html") == tmp_path / "page.html"
    assert {file.name for file in tmp_path.iterdir()} == {
        "page.html", "page.md", "comparison.csv", "comparison.json", "figures",
    }  # fmt: skip
    assert "figures/coverage.png" in (tmp_path / "page.md").read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"ends in \.html"):
        comparison.report(tmp_path / "page.pdf")


def test_figures_are_written_where_asked(comparison, tmp_path, monkeypatch):
    coverage = plots.coverage_curves(comparison.trees)
    monkeypatch.setattr(type(comparison), "_drawn", lambda self: {"coverage": coverage})
    assert comparison.figures(tmp_path / "new") == {"coverage": tmp_path / "new" / "coverage.png"}
    assert (tmp_path / "new" / "coverage.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "new" / "coverage.pdf").read_bytes().startswith(b"%PDF")
