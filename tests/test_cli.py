"""The command line: every kind of wrong input, and what a run leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import binn_prob
from binn_prob import cli, cli_options, data
from binn_prob.devices import useful_devices
from binn_prob.inference import Fit, FitError, Laplace, MCDropout
from binn_prob.models import BINN
from binn_prob.results import storage
from binn_prob.settings import UPSCALING, Settings

pytestmark = pytest.mark.usefixtures("soil_that_costs_nothing")

WRONG_ARGUMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    # what is wrong: the arguments, and words of the message
    "unknown command": ("compute", ("compute", "--help")),
    "unknown option": ("compare --sed 1", ("--sed", "--seed")),
    "unknown method": ("compare --method hmc", ("unknown method 'hmc'", "mc_dropout, vi, nuts")),
    "unknown method among others": ("compare --method vi,hmc", ("unknown method 'hmc'",)),
    "unknown model": ("compare --model forest", ("unknown model 'forest'", "binn,", "site")),
    "unknown dataset": (
        "compare --data ohio",
        ("'ohio'", "'synthetic', 'new-york',", "a netCDF file"),
    ),
    "no such file of data": ("compare --data sites.nc", ("no file", "sites.nc")),
    "unknown split": ("compare --split country", ("'country'", "'location'")),
    "unknown device": ("compare --device abacus", ("'abacus'", "'gpu'")),
    "unknown precision": ("compare --precision float16", ("'float16'", "'float32'")),
    "sites in words": ("compare --sites ten", ("--sites", "integer")),
    "no site": ("compare --sites 0", ("data.sites = 0",)),
    "no such site": ("compare --sites 3,99", ("no site 99",)),
    "fraction above 1": ("compare --test-fraction 2", ("split.test_fraction = 2",)),
    "unknown method of a fit": ("fit --method hmc", ("unknown method 'hmc'",)),
    "second stage without a first": ("fit --method upscaling", ("without a first stage", "--first-stage")),
    "no such first stage": ("fit --first-stage nowhere", ("nowhere", "settings.yaml")),
    "fit with a reference": ("fit --reference nuts", ("--reference",)),
    "negative seed": ("compare --seed -1", ("seed = -1",)),
    "reference that is not run": ("compare --method vi --reference nuts", ("reference 'nuts'", "vi")),
    "name that leaves the folder": ("compare --name ../up", ("name '../up'",)),
    "no such configuration": ("compare --config nowhere.yaml", ("no file nowhere.yaml",)),
    "no such folder of data": ("data describe new-york --folder nowhere", ("nowhere",)),
    "nothing to fetch": ("data fetch synthetic", ("'synthetic'", "new-york")),
    "nothing to describe": ("data describe ohio", ("'ohio'", "'synthetic', 'new-york'")),
    "simulation of nothing": ("simulate --noise -1 --out sites.nc", ("simulation.noise = -1",)),
    "simulation into nothing": ("simulate", ("--out",)),
    "simulation into another file": ("simulate --sites 2 --out sites.csv", ("sites.csv", ".nc")),
    "simulation over a file": ("simulate --sites 2 --out there.nc", ("there.nc", "there already")),
    "prediction from nowhere": ("predict nowhere", ("nowhere", "settings.yaml")),
}

WRONG_CONFIGURATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "unknown key": ("methodz: {vi: }", ("unknown key 'methodz'", "did you mean 'methods'?")),
    "unknown option": ("methods: {vi: {stepz: 3}}", ("'stepz' of method 'vi'", "did you mean 'steps'?")),
    "option of the wrong type": ("methods: {vi: {steps: many}}", ("steps = 'many'", "integer")),
    "no YAML": ("methods: [vi", ("not YAML",)),
    "no keys": ("vi", ("without keys",)),
    "no such folder of data": ("data: {name: new-york, folder: nowhere}", ("nowhere",)),
}


def _negative_soc(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(soc=-dataset["soc"])


def _missing_forcing(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(soil_temperature=dataset["soil_temperature"] * np.nan)


def _wrong_unit(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(soc=dataset["soc"].assign_attrs(units="kg m-3"))


BROKEN: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "missing variable": (lambda dataset: dataset.drop_vars("litter_input"), "litter_input"),
    "wrong unit": (_wrong_unit, "soc"),
    "wrong shape": (lambda dataset: dataset.isel(layer=slice(0, 7)), "layer"),
    "negative SOC": (_negative_soc, "soc"),
    "NaN forcing": (_missing_forcing, "soil_temperature"),
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Run arguments that must be refused: status 2, one line with these words, nothing written."""

    def run(arguments: list[str], *words: str) -> None:
        before = sorted(Path().rglob("*"))
        assert cli.main(arguments) == 2
        answer = capsys.readouterr()
        assert answer.out == ""
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
        assert [word for word in words if word not in answer.err] == []
        assert sorted(Path().rglob("*")) == before

    return run


@pytest.mark.parametrize("case", WRONG_ARGUMENTS)
def test_wrong_arguments(case: str, refused: Callable[..., None]) -> None:
    arguments, words = WRONG_ARGUMENTS[case]
    Path("there.nc").write_text("kept")
    refused(arguments.split(), *words)


@pytest.mark.parametrize("case", WRONG_CONFIGURATIONS)
def test_wrong_configuration(case: str, refused: Callable[..., None]) -> None:
    content, words = WRONG_CONFIGURATIONS[case]
    Path("settings.yaml").write_text(content)
    refused(["compare", "--config", "settings.yaml"], *words)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_dataset(case: str, refused: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    breaking, word = BROKEN[case]
    broken = breaking(data.load("synthetic", sites=4))
    monkeypatch.setattr(data, "load", lambda name, **options: broken)
    refused(["compare"], word)


def test_sites_without_observations_are_not_fitted(refused: Callable[..., None]) -> None:
    sites = data.load("synthetic", sites=4)
    data.save(sites.assign(soc=sites["soc"] * np.nan, depth=sites["depth"] * np.nan), "sites.nc")
    refused(["fit", "--data", "sites.nc"], "sites without observations")


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_dataset_is_not_fitted(case: str) -> None:
    breaking, word = BROKEN[case]
    broken = breaking(data.load("synthetic", sites=4))
    with pytest.raises(binn_prob.InputError, match=word):
        binn_prob.fit(binn_prob.models.BINN(), broken, method="vi")


def test_unknown_methods_and_options_are_not_fitted() -> None:
    sites = data.load("synthetic", sites=4)
    with pytest.raises(binn_prob.InputError, match="one of mc_dropout, vi, nuts"):
        binn_prob.fit(binn_prob.models.BINN(), sites, method="hmc")
    with pytest.raises(binn_prob.InputError, match="did you mean 'steps'"):
        binn_prob.fit(binn_prob.models.BINN(), sites, method="vi", stepz=3)
    with pytest.raises(binn_prob.InputError, match="put them into the method"):
        binn_prob.fit(binn_prob.models.BINN(), sites, method=binn_prob.inference.VI(), steps=3)


def test_a_truncated_file(refused: Callable[..., None], new_york_folder: Path) -> None:
    shutil.copytree(new_york_folder, "copy")
    file = max(Path("copy/Training_Data").rglob("*.*"), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused(["data", "describe", "new-york", "--folder", "copy"], file.name)


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_results_never_replace_what_is_there(kind: str, refused: Callable[..., None]) -> None:
    kept = Path("out") if kind == "file" else Path("out/kept")
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("kept")
    refused(["compare", "--out", "out"], "out", "--out")
    assert kept.read_text() == "kept"


def _program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=os.environ | environment
    )


def test_a_missing_device_has_a_cure() -> None:
    done = _program("-m", "binn_prob.cli", "compare", "--device", "gpu", CUDA_VISIBLE_DEVICES="-1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: got JAX on a cpu; expected a gpu")
    assert "--device cpu" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cpu_is_as_many_devices_as_its_methods_can_use() -> None:
    methods, cores = binn_prob.inference.METHODS, len(os.sched_getaffinity(0))
    assert useful_devices([methods["vi"](), methods["mc_dropout"]()]) == 1
    assert useful_devices([methods["vi"](), methods["nuts"](chains=3)]) == 3
    assert useful_devices([methods["site_nuts"](chains=7)]) == cores
    program = (
        "from binn_prob.devices import use_device; use_device('cpu', None, 3);"
        "import jax; print(jax.local_device_count())"
    )
    assert _program("-c", program).stdout.split() == ["3"]


def test_precision_and_device_are_chosen_before_jax_starts() -> None:
    program = (
        "from binn_prob.workflow import use_device; use_device('cpu', 'float32');"
        "import binn_prob.clm5, jax.numpy as jnp; print(jnp.ones(1).dtype, jnp.ones(1).device.platform)"
    )
    assert _program("-c", program).stdout.split() == ["float32", "cpu"]


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "compare --help",
        "fit --help",
        "data --help",
        "data fetch --help",
        "recover --help",
        "simulate --help",
        "predict --help",
    ],
)
def test_help(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments.split()) == 0
    assert capsys.readouterr().out.startswith("Usage: binn-prob")


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "compare" in capsys.readouterr().out


def test_the_words_of_the_help_are_those_of_the_tables() -> None:
    assert (*binn_prob.inference.METHODS, UPSCALING) == cli_options.METHOD_WORDS
    assert tuple(binn_prob.models.MODELS) == cli_options.MODEL_WORDS


@pytest.mark.parametrize("command", ["compare", "recover", "fit", "config show"])
def test_commands_that_run_have_the_same_settings(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    options = ("data", "sites", "model", "method", "seed", "split", "test-fraction", "device", "precision", "config")
    assert [name for name in options if f"  --{name} " not in shown] == []


def test_a_shell_completes_words() -> None:
    environment = {
        "COMP_WORDS": "binn-prob fit --method pro",
        "COMP_CWORD": "3",
        "_BINN_PROB_COMPLETE": "complete_bash",
    }
    assert _program("-m", "binn_prob.cli", **environment).stdout.split() == ["proda_metropolis"]


def test_files_that_are_there_are_checked(new_york_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "fetch", "new-york", "--folder", str(new_york_folder)]) == 0
    answer = capsys.readouterr()
    assert answer.out.split() == [str(new_york_folder)]
    assert "registered SHA-256" in answer.err


def test_describe(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "describe", "synthetic", "--sites", "4"]) == 0
    assert "observations" in capsys.readouterr().out


class _Fitted:
    """Stands for a fit, to test what happens around it."""

    def tree(self, held_out: xr.Dataset | None) -> xr.DataTree:
        return xr.DataTree(xr.Dataset({"held_out": held_out is not None}))


def test_an_interrupted_run_keeps_what_is_finished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(model: Any, dataset: xr.Dataset, method: Any, **options: Any) -> _Fitted:
        if method.name == "vi":
            raise KeyboardInterrupt
        return _Fitted()

    monkeypatch.setattr("binn_prob.workflow.fit", fit)
    assert cli.main(["compare", "--sites", "4", "--method", "mc_dropout,vi", "--out", "out"]) == 130
    kept = {"checkpoints", "posterior_mc_dropout.nc", "requirements.txt", "run.json", "settings.yaml"}
    assert {file.name for file in Path("out").iterdir()} == kept
    assert json.loads(Path("out/run.json").read_text())["status"] == "interrupted"
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", pytest.param("compare", marks=pytest.mark.long)])
def test_a_method_that_fails_is_named_and_costs_no_other(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(model: Any, dataset: xr.Dataset, method: Any, **options: Any) -> Fit:
        if method.name == "mc_dropout":
            raise FitError("the numbers\nstopped being finite")
        return replace(_fitted(), method=method, dataset=dataset)

    monkeypatch.setattr("binn_prob.workflow.fit", fit)
    monkeypatch.setattr("binn_prob.results.compare.Comparison.save", lambda *arguments, **options: None)
    assert cli.main([command, "--sites", "4", "--method", "mc_dropout,vi", "--out", "out"]) == 1
    record = json.loads(Path("out/run.json").read_text())
    assert record["status"] == "failed"
    assert record["failures"] == {"mc_dropout": "the numbers stopped being finite"}
    assert list(record["verdicts"]) == ["vi"]
    assert [file.name for file in Path("out").glob("posterior_*")] == ["posterior_vi.nc"]
    assert "error: mc_dropout could not fit: the numbers stopped being finite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "method", "words"),
    [
        ("name: neural_prior", "vi: {batch_sites: 2}", "vi batch_sites 2 for the model 'neural_prior'"),
        ("name: neural_prior", "mc_dropout: {batch_sites: 2}", "mc_dropout batch_sites 2 for the model 'neural_prior'"),
        ("name: neural_prior", "sghmc: {batch_sites: 2}", "sghmc batch_sites 2 for the model 'neural_prior'"),
        ("name: binn", "nuts: {chain_method: parallel, chains: 64}", "64 parallel chains on"),
        ("name: binn, options: {hidden: [300]}", "laplace: {}", "latent numbers for laplace"),
        ("name: site", "laplace: {weights: last_layer}", "for a model without layers"),
    ],
)
def test_what_a_method_cannot_fit_is_said_before_any_is_fitted(
    model: str, method: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run.yaml").write_text(f"model: {{{model}}}\nmethods:\n  deep_ensemble: {{}}\n  {method}\n")
    assert cli.main(["fit", "--config", "run.yaml", "--sites", "4", "--out", "out"]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not Path("out").exists()


def test_settings_are_shown_with_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    Path("some.yaml").write_text("methods: {vi: {steps: 50}, laplace: {}}\nseed: 3\n")
    assert cli.main(["config", "show", "--config", "some.yaml", "--sites", "9"]) == 0
    shown = capsys.readouterr().out
    Path("all.yaml").write_text(shown)
    settings = Settings.from_yaml("all.yaml")
    assert (settings.seed, settings.data.sites, settings.methods["vi"]["steps"]) == (3, 9, 50)
    assert settings.methods["laplace"]["draws"] == Laplace().draws
    assert settings.written_out() == settings
    assert cli.main(["config", "show", "--config", "all.yaml"]) == 0
    assert capsys.readouterr().out == shown


@cache
def _fitted() -> Fit:
    sites = data.load("synthetic", sites=4, seed=0)
    return MCDropout(draws=4, steps=100).fit(jax.random.key(0), BINN(), sites, progress=False)


def _fake(monkeypatch: pytest.MonkeyPatch, **converged: bool) -> None:
    """Let methods be fitted at once, to posteriors that have converged or not, and no figures be drawn."""

    def fit(model: Any, dataset: xr.Dataset, method: Any, **options: Any) -> Fit:
        loss = np.linspace(0.0 if converged[method.name] else 9.0, 0.0, 600)
        losses = {"loss": loss + np.random.default_rng(0).normal(size=600)}
        return replace(_fitted(), method=method, dataset=dataset, sample_stats=losses)

    monkeypatch.setattr("binn_prob.workflow.fit", fit)
    monkeypatch.setattr("binn_prob.results.compare.Comparison.save", lambda *arguments, **options: None)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("compare --reference vi", 0),
        ("compare --reference mc_dropout", 3),
        ("compare", 0),  # no reference and no Markov chain: nothing to be trusted
        ("fit", 3),
        ("fit --allow-unconverged", 0),
        ("fit --method vi", 0),
    ],
)
def test_a_method_to_be_trusted_must_have_converged(
    arguments: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fake(monkeypatch, vi=True, mc_dropout=False)
    methods = [] if "--method" in arguments else ["--method", "mc_dropout,vi"]
    assert cli.main([*arguments.split(), *methods, "--sites", "5", "--out", "out"]) == status
    assert ("error: mc_dropout: not converged: a loss that still falls" in capsys.readouterr().err) == (status == 3)
    assert Path("out/posterior_vi.nc").exists()
    verdicts = json.loads(Path("out/run.json").read_text())["verdicts"]
    assert verdicts["vi"] == {"converged": True, "reasons": []}


@pytest.mark.slow
def test_fit_leaves_a_posterior_of_all_sites(capsys: pytest.CaptureFixture[str]) -> None:
    Path("tiny.yaml").write_text("methods: {site_nuts: {chains: 2, warmup: 20, draws: 20, thinning: 1, rounds: 1}}")
    arguments = ["fit", "--sites", "0,3", "--model", "site", "--method", "site_nuts", "--config", "tiny.yaml"]
    assert cli.main([*arguments, "--out", "run"]) == 3
    verdict, folder = capsys.readouterr().out.splitlines()
    assert verdict.startswith("site_nuts: not converged: 2 of 2 sites: R-hat up to")
    assert folder == "run"
    left = {"convergence_site_nuts.csv", "posterior_site_nuts.nc", "requirements.txt", "run.json", "settings.yaml"}
    assert {file.name for file in Path("run").iterdir()} == left
    sites = pd.read_csv("run/convergence_site_nuts.csv", index_col="site")
    assert len(sites) == 2
    assert not sites["converged"].any()
    assert sites["reason"].str.startswith("R-hat up to").all()
    tree = storage.load("run/posterior_site_nuts.nc")
    assert tree["posterior/parameters"].shape == (2, 20, 2, 21)
    assert "held_out" not in tree.children
    settings = Settings.from_yaml("run/settings.yaml")
    assert (settings.name, list(settings.methods or {}), settings.split.test_fraction) == ("fit", ["site_nuts"], 0.0)


def test_a_fit_holds_sites_out_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake(monkeypatch, vi=True)
    assert cli.main(["fit", "--sites", "5", "--method", "vi", "--test-fraction", "0.4", "--out", "out"]) == 0
    tree = storage.load("out/posterior_vi.nc")
    assert (tree["posterior"].sizes["site"], tree["held_out/posterior"].sizes["site"]) == (3, 2)
