"""Fits made anew from what runs have left: they predict what the fits themselves would have predicted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import binn_prob as bp
from binn_prob import cli
from binn_prob.inference import Fit
from binn_prob.results import storage
from binn_prob.results.convergence import summarise
from binn_prob.sites import chosen

pytestmark = pytest.mark.usefixtures("soil_that_costs_nothing")

RUN = """
data: {sites: 8}
split: {test_fraction: 0.25}
model: {name: neural_prior, options: {hidden: [4]}}
methods: {vi: {draws: 8, steps: 100}, mc_dropout: {draws: 8, rate: 0.3, steps: 100}}
reference: vi
"""
GROUPS = ("posterior", "posterior_predictive", "unconstrained_posterior")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with draws that are made up, not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "run.yaml").write_text(RUN)
    settings = bp.Settings.from_yaml(folder / "run.yaml").written_out()
    settings.to_yaml(folder / "settings.yaml")
    sites, model = chosen(settings), settings.build_model()
    drawn = {"weights": (1, 8, 294), "offsets": (1, 8, 6, 21), "soc_scale": (1, 8)}
    keys = jax.random.split(jax.random.key(0), len(drawn))
    draws = {name: jax.random.normal(key, shape) for (name, shape), key in zip(drawn.items(), keys, strict=True)}
    draws["soc_scale"] = jnp.exp(draws["soc_scale"])
    origin = {"seed": 0, "data_fingerprint": bp.data.fingerprint(sites.train)}
    for word, method in settings.build_methods().items():
        options = {"dropout_rate": 0.3, "shared_mask": True} if word == "mc_dropout" else {}
        encoding, key = model.encode(sites.train), jax.random.key(len(word))
        made = Fit(method, model, sites.train, encoding, draws, key, 1.0, options=options, attributes=origin)
        storage.save(made.tree(held_out=sites.test), folder / f"posterior_{word}.nc")
    return folder


@pytest.mark.parametrize("method", ["vi", "mc_dropout"])
def test_a_fit_predicts_what_it_did(run: Path, method: str) -> None:
    saved, fit = storage.load(run / f"posterior_{method}.nc"), bp.load_fit(run, method)
    again = fit.posterior()
    for name in GROUPS:
        xr.testing.assert_identical(again[name].to_dataset(), saved[name].to_dataset())
    for name in ("seed", "data_fingerprint", "wall_seconds", "settings", "prediction"):
        assert again.attrs[name] == saved.attrs[name]
    assert str(fit.verdict).startswith("not converged")
    test = bp.data.load("synthetic", sites=8).sel(site=saved["held_out/posterior"]["site"].values)
    predicted = fit.predict(test)
    for name in GROUPS[:2]:
        xr.testing.assert_identical(predicted[name].to_dataset(), saved[f"held_out/{name}"].to_dataset())


def test_diagnostics_come_back(run: Path, tmp_path: Path) -> None:
    tree = storage.load(run / "posterior_vi.nc")
    shape = (tree["posterior"].sizes["chain"], tree["posterior"].sizes["draw"])
    diverging = xr.Dataset({"diverging": (("chain", "draw"), np.arange(np.prod(shape)).reshape(shape) == 3)})
    tree["sample_stats"] = xr.DataTree(diverging)
    tree.attrs |= {"markov_chain": 1, "pareto_k": 0.9}
    shutil.copy(run / "settings.yaml", tmp_path)
    storage.save(tree, tmp_path / "posterior_vi.nc")
    again = bp.load_fit(tmp_path).posterior()
    assert again.attrs["pareto_k"] == 0.9
    np.testing.assert_array_equal(again["sample_stats/diverging"], diverging["diverging"])
    assert "diver" in str(summarise(again).verdict)


RECORDED = {"vi": {"converged": False, "reasons": ["as recorded"]}}
VERSIONS = {"binn-prob": bp.__version__}


def test_the_verdict_is_that_of_the_run(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "run.json").write_text(json.dumps({"verdicts": RECORDED, "versions": VERSIONS}), encoding="utf-8")
    assert bp.load_fit(copy).verdict.reasons == ("as recorded",)


@pytest.mark.parametrize(
    "record", [{}, {"verdicts": None}, {"verdicts": {"vi": {}}}, {"verdicts": RECORDED, "versions": {"binn-prob": "0"}}]
)
def test_without_a_verdict_of_this_version_a_fit_is_judged_anew(
    record: dict[str, object], run: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert bp.load_fit(copy).verdict == summarise(storage.load(run / "posterior_vi.nc")).verdict


def test_the_method_is_by_default_the_reference(run: Path) -> None:
    assert bp.load_fit(run).method.name == "vi"


def test_predictions_are_written(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bp.data.save(bp.data.load("synthetic", sites=2, seed=9), tmp_path / "others.nc")
    out = tmp_path / "out"
    assert cli.main(["predict", str(run), "--data", str(data), "--method", "vi,mc_dropout", "--out", str(out)]) == 3
    answer = capsys.readouterr()
    assert "error: vi: not converged" in answer.err
    assert answer.out.splitlines()[-1] == str(out)
    assert "vertical_transport_rate" in answer.out
    assert "mc_dropout (2 of 2): 2 sites" in answer.err
    names = {f"{kind}_{method}" for kind in ("prediction", "maps") for method in ("vi", "mc_dropout")}
    assert {file.stem for file in out.iterdir()} == names
    tree, table = storage.load(out / "prediction_vi.nc"), pd.read_csv(out / "prediction_vi.csv")
    assert len(table) == 2 * (21 + 6 + 20)
    drawn = tree["posterior/parameters"].sel(site=1, parameter="q10")
    (row,) = table[(table["site"] == 1) & (table["name"] == "q10")].to_dict("records")
    assert row["mean"] == pytest.approx(float(drawn.mean()))
    assert row["sd"] == pytest.approx(float(drawn.std(ddof=1)))
    assert row["q95"] == pytest.approx(float(drawn.quantile(0.95)))


def test_predictions_as_json(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = storage.load(run / "posterior_vi.nc")
    fitted = bp.data.load("synthetic", sites=8).sel(site=saved["posterior"]["site"].values)
    data, out = bp.data.save(fitted, tmp_path / "fitted.nc"), tmp_path / "out"
    arguments = ["--data", str(data), "--json", "--quiet", "--allow-unconverged", "--out", str(out)]
    assert cli.main(["predict", str(run), *arguments]) == 0
    answer = capsys.readouterr()
    assert answer.err.split() == [str(out)]
    (rows,) = json.loads(answer.out).values()
    means = saved["posterior/processes"].mean(("chain", "draw", "site"))
    assert [row["mean"] for row in rows] == pytest.approx(means.to_numpy())


def test_what_cannot_be_loaded_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(bp.InputError, match=r"method 'nuts' of .*; expected one of vi, mc_dropout"):
        bp.load_fit(run, "nuts")
    with pytest.raises(bp.InputError, match=r"where there is no settings\.yaml"):
        bp.load_fit(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    settings = (run / "settings.yaml").read_text()
    (copy / "settings.yaml").write_text(settings.replace("sites: 8", "sites: 9"))
    with pytest.raises(bp.InputError, match=r"there is no posterior_vi\.nc"):
        bp.load_fit(copy)
    tree = storage.load(run / "posterior_vi.nc")
    storage.save(tree, copy / "posterior_vi.nc")
    with pytest.raises(bp.InputError, match="fitted to other data"):
        bp.load_fit(copy)
    (copy / "settings.yaml").write_text(settings)
    del tree.attrs["prediction"]
    storage.save(tree, copy / "posterior_vi.nc")
    with pytest.raises(bp.InputError, match="nothing can be predicted"):
        bp.load_fit(copy)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--data nonsense", "'nonsense'"),
        ("--data synthetic --sites 0", "sites 0"),
        ("--data synthetic --data-seed -1", "seed -1"),
        ("--data synthetic --method nuts", "'nuts'"),
        ("--data synthetic --out {run}", "an empty or a new folder"),
    ],
)
def test_wrong_predictions_are_refused_in_one_line(
    arguments: str, words: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", str(run), *arguments.format(run=run).split()]) == 2
    answer = capsys.readouterr().err
    assert answer.count("\n") == 1
    assert words in answer
    assert not list(run.glob("prediction-*"))


def test_a_single_site_can_be_predicted(run: Path, tmp_path: Path) -> None:
    data = bp.data.save(bp.data.load("synthetic", sites=1, seed=9), tmp_path / "one.nc")
    tree = bp.load_fit(run).predict(bp.data.load(str(data)))
    assert tree["posterior"].sizes["site"] == 1


def test_a_mixture_of_fitted_and_other_sites_is_refused(run: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert cli.main(["predict", str(run), "--data", "synthetic", "--sites", "8", "--out", out]) == 2
    assert not Path(out, "prediction_vi.nc").exists()


def test_recovery_simulates_whatever_the_file_says(run: Path) -> None:
    """A file that a comparison has left says that nothing is simulated."""
    assert bp.Settings.from_yaml(run / "settings.yaml").simulation is None
    settings = bp.Settings.from_yaml(run / "settings.yaml", simulation={"noise": None, "seed": None})
    assert settings.simulation is not None
    assert (settings.simulation.noise, settings.simulation.seed) == (None, 0)


@pytest.mark.slow
def test_recovery_from_the_shell(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("binn_prob.results.compare.Comparison.save", lambda *arguments, **options: None)
    arguments = ["--config", str(run / "run.yaml"), "--model", "binn", "--noise", "0.1", "--quiet"]
    chosen = ["--method", "mc_dropout", "--reference", "mc_dropout"]
    assert cli.main(["recover", *arguments, *chosen, "--out", str(tmp_path / "out"), "--allow-unconverged"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in bp.clm5.parameters.NAMES if name not in shown] == []
    settings = bp.Settings.from_yaml(tmp_path / "out" / "settings.yaml")
    assert settings.simulation is not None
    assert (settings.simulation.noise, settings.simulation.seed) == (0.1, 0)
    tree = storage.load(tmp_path / "out" / "posterior_mc_dropout.nc")
    expected = bp.simulate(settings.build_model(), bp.data.load("synthetic", sites=8), seed=0, noise=0.1)
    truth = tree["constant_data/true_parameters"]
    np.testing.assert_array_equal(truth, expected["true_parameters"].sel(site=truth["site"]))


def test_sites_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sites.nc"
    arguments = ["--sites", "4", "--model", "site", "--seed", "5", "--noise", "0.1", "--out", str(path)]
    assert cli.main(["simulate", *arguments]) == 0
    assert "observations" in capsys.readouterr().out
    xr.testing.assert_equal(
        bp.data.load(str(path)), bp.simulate("site", bp.data.load("synthetic", sites=4), seed=5, noise=0.1)
    )
