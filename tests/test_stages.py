"""The second stage: from the posterior of independent sites that a run has left to sites never seen."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import binn_prob as bp
from binn_prob import cli
from binn_prob.inference import Fit
from binn_prob.results import storage
from binn_prob.results.convergence import Verdict
from binn_prob.stages import first_stage

pytestmark = pytest.mark.usefixtures("soil_that_costs_nothing")

SECOND = """
model: {options: {hidden: [4]}}
methods: {upscaling: {members: 3, steps: 100}}
"""
SMALL: dict[str, Any] = {"members": 3, "steps": 100, "progress": False}

Split = tuple[xr.Dataset, xr.Dataset]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of independent sites with draws that are made up, not to be changed."""
    folder = tmp_path_factory.mktemp("first")
    settings = bp.Settings(data={"sites": 6}, model={"name": "site"}, methods=["vi"]).written_out()
    settings.to_yaml(folder / "settings.yaml")
    sites = bp.data.load(**settings.data.model_dump())
    draws = {"offsets": jax.random.normal(jax.random.key(0), (1, 12, 6, 21)), "soc_scale": jnp.full((1, 12, 6), 0.3)}
    origin = {"seed": 0, "data_fingerprint": bp.data.fingerprint(sites)}
    made = Fit(bp.inference.VI(), bp.models.SiteModel(), sites, None, draws, jax.random.key(1), 10.0, attributes=origin)
    storage.save(made.posterior(), folder / "posterior_vi.nc")
    return folder


@pytest.fixture(scope="module")
def first(folder: Path) -> Fit:
    return first_stage(folder)


@pytest.fixture(scope="module")
def split() -> Split:
    return bp.data.split(bp.data.load("synthetic", sites=6, seed=0), test_fraction=0.4, seed=0)


def test_the_posterior_of_a_run_comes_back(first: Fit, folder: Path) -> None:
    saved, again = storage.load(folder / "posterior_vi.nc"), first.posterior()
    assert (first.model.name, first.method.name, again.attrs["seed"]) == ("site", "vi", 0)
    assert first.wall_seconds == saved.attrs["wall_seconds"]
    for name in ("parameters", "soc_layer", "processes", "soc_scale"):
        values = saved["posterior"][name].transpose(*again["posterior"][name].dims)
        np.testing.assert_allclose(again["posterior"][name], values, rtol=1e-6, atol=0.0)


def test_a_network_predicts_sites_that_it_has_not_seen(first: Fit, folder: Path, split: Split) -> None:
    train, test = split
    model = bp.models.BINN(hidden=(4,))
    second = bp.upscale(first, model, train, **SMALL)
    assert list(second.dataset["site"].values) == list(train["site"].values)
    assert second.wall_seconds > first.wall_seconds
    tree = second.predict(test.assign(soc=test["soc"] * np.nan, depth=test["depth"] * np.nan))
    for name in ("parameters", "soc_layer", "processes"):
        values = tree["posterior"][name]
        assert values.sizes["site"] == test.sizes["site"]
        assert np.isfinite(values).all()
        assert (values.std("draw") > 0.0).any()
    from_folder = bp.upscale(folder, model, train, **SMALL)
    for name, drawn in second.draws.items():
        np.testing.assert_array_equal(from_folder.draws[name], drawn)


def test_what_was_learnt_from_a_first_stage_that_has_not_converged_has_not_either(first: Fit, split: Split) -> None:
    second = bp.upscale(first, bp.models.BINN(hidden=(4,)), split[0], **SMALL)
    assert "first stage not converged: nothing recorded by which to tell" in second.verdict.reasons
    settled = replace(first, judged=Verdict(converged=True))
    second = bp.upscale(settled, bp.models.BINN(hidden=(4,)), split[0], **SMALL)
    assert not any("first stage" in reason for reason in second.verdict.reasons)


def test_the_second_stage_of_a_fit_at_hand_has_its_verdict(first: Fit) -> None:
    steady = {"loss": np.random.default_rng(0).normal(size=600)}
    for statistics, said in ((steady, "converged"), ({}, "not converged: nothing recorded by which to tell")):
        at_hand = replace(first, judged=None, sample_stats=statistics)
        assert bp.upscale(at_hand, "binn", **SMALL).attributes["first_stage_convergence"] == said


def test_a_model_by_its_word_is_like_that_of_the_first_stage(first: Fit) -> None:
    model = bp.models.SiteModel(fixed={"q10": 2.0}, ranges="proda")
    draws = {**first.draws, "offsets": first.draws["offsets"][..., 1:]}
    like = Fit(first.method, model, first.dataset, None, draws, first.key, 0.0)
    made = bp.upscale(like, "binn", **SMALL).model
    assert (dict(made.fixed), made.ranges, made.name) == ({"q10": 2.0}, "proda", "binn")


def test_the_second_stage_from_the_shell(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("second.yaml").write_text(SECOND)
    arguments = ["fit", "--first-stage", str(folder), "--model", "binn", "--test-fraction", "0.4"]
    command = [*arguments, "--config", "second.yaml", "--quiet", "--out", "second"]
    assert cli.main(command) == 3
    kept = {"posterior_upscaling.nc", "requirements.txt", "run.json", "settings.yaml"}
    assert {file.name for file in Path("second").iterdir()} == kept
    tree = storage.load("second/posterior_upscaling.nc")
    assert tree["posterior"].sizes["site"] + tree["held_out/posterior"].sizes["site"] == 6
    assert np.isfinite(tree["held_out/posterior/processes"]).all()
    Path("second/posterior_upscaling.nc").unlink()  # so that it is learnt again, from what the settings say
    assert cli.main(["fit", "--out", "second", "--resume", "--allow-unconverged", "--quiet"]) == 0
    again = storage.load("second/posterior_upscaling.nc")
    for part in ("posterior", "held_out/posterior"):
        xr.testing.assert_identical(again[part].to_dataset(), tree[part].to_dataset())


def test_wrong_stages_are_refused(first: Fit, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(bp.InputError, match=r"sites without a first stage, such as 6, 7"):
        bp.upscale(first, "binn", bp.data.load("synthetic", sites=8, seed=0))
    with pytest.raises(bp.InputError, match="a second stage of the model 'site'"):
        bp.upscale(first, "site")
    with pytest.raises(bp.InputError, match=r"nowhere, where there is no settings\.yaml"):
        bp.upscale("nowhere")
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    settings = (run / "settings.yaml").read_text()
    (run / "settings.yaml").write_text(settings.replace("sites: 6", "sites: 5"))
    with pytest.raises(bp.InputError, match="fitted to other data"):
        bp.upscale(run)
    (run / "posterior_vi.nc").unlink()
    with pytest.raises(bp.InputError, match=r"there is no posterior_vi\.nc"):
        bp.upscale(run)
    (run / "settings.yaml").write_text("model: {name: binn}\nmethods: {vi: {}}\n")
    with pytest.raises(bp.InputError, match="whose sites share a network"):
        bp.upscale(run)
