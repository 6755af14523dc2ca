"""Settings: what they accept, what they refuse and in which words, and that they survive a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from binn_prob import InputError, Settings
from binn_prob.inference import METHODS
from binn_prob.models import MODELS

WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # what is wrong: the settings, and words of the message
    "unknown key": ({"sed": 1}, ("unknown key 'sed'", "reference", "did you mean 'seed'?")),
    "unknown key in a section": ({"split": {"bye": "random"}}, ("'split.bye'", "test_fraction", "did you mean 'by'?")),
    "word that is not known": ({"split": {"by": "country"}}, ("split.by = 'country'", "'location'", "'block'")),
    "dataset that is not known": ({"data": {"name": "ohio"}}, ("data.name = 'ohio'", "'synthetic', 'new-york'")),
    "fraction above 1": ({"split": {"test_fraction": 1.5}}, ("split.test_fraction = 1.5", "less than 1")),
    "number as text": ({"data": {"sites": "ten"}}, ("data.sites = 'ten'", "integer")),
    "one site": ({"data": {"sites": 1}}, ("data.sites = 1", "at least 2")),
    "screening of other data": ({"data": {"screening": "proda"}}, ("screening for 'synthetic'", "but for 'national'")),
    "unknown screening": ({"data": {"name": "national", "screening": ["ohio"]}}, ("screening ['ohio']", "'proda'")),
    "screening as a number": ({"data": {"screening": [3]}}, ("data.screening = [3]", "a list of tests")),
    "number to count from": ({"data": {"name": "national", "proda_counts_from": 2}}, ("proda_counts_from 2", "0 or 1")),
    "truth as a number": ({"seed": True}, ("seed = True", "integer")),
    "negative seed": ({"seed": -1}, ("seed = -1", "greater than or equal to 0")),
    "device that is not known": ({"device": "abacus"}, ("device = 'abacus'", "'auto', 'cpu' or 'gpu'")),
    "precision that is not known": ({"precision": "float16"}, ("precision = 'float16'", "'float64' or 'float32'")),
    "section that is none": ({"data": 3}, ("data = 3", "keys with values")),
    "options that are none": ({"methods": {"vi": 3}}, ("methods.vi = 3", "keys with values")),
    "no method": ({"methods": {}}, ("methods = {}", "at least 1")),
    "reference that is not run": ({"methods": ["vi"], "reference": "nuts"}, ("reference 'nuts'", "vi")),
    "name that leaves the folder": ({"name": "../up"}, ("name '../up'", "letters")),
    "two at once": ({"seed": "x", "device": "y"}, ("seed = 'x'", "device = 'y'")),
}

WRONG_OPTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown model": ({"model": {"name": "bin"}}, ("unknown model 'bin'", *MODELS, "did you mean")),
    "unknown method": ({"methods": {"nut": {}}}, ("unknown method 'nut'", *METHODS, "did you mean 'nuts'?")),
    "unknown option of a model": (
        {"model": {"options": {"hiden": [8]}}},
        ("'hiden' of model 'binn'", "embedding_size", "did you mean 'hidden'?"),
    ),
    "unknown option of a method": (
        {"methods": {"vi": {"stepz": 8}}},
        ("'stepz' of method 'vi'", "learning_rate", "did you mean 'steps'?"),
    ),
    "option of the wrong type": ({"methods": {"vi": {"steps": "many"}}}, ("method 'vi' steps = 'many'", "integer")),
    "option out of range": ({"methods": {"vi": {"steps": 0}}}, ("steps", "0", "at least 1")),
    "option of an option": (
        {"model": {"options": {"likelihood": {"degres_of_freedom": 5}}}},
        ("'degres_of_freedom'", "likelihood", "did you mean 'degrees_of_freedom'?"),
    ),
    "option that is not known": ({"methods": {"vi": {"guide": "tarot"}}}, ("guide 'tarot'", "mean_field")),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_are_named_in_one_line(case: str) -> None:
    values, words = WRONG[case]
    with pytest.raises(InputError) as caught:
        Settings(**values)
    assert "\n" not in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("case", WRONG_OPTIONS)
def test_wrong_options_are_named_in_one_line(case: str) -> None:
    values, words = WRONG_OPTIONS[case]
    settings = Settings(**values)
    with pytest.raises(InputError) as caught:
        settings.written_out()
    assert "\n" not in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no file"),
        (b"a: [1", "not YAML"),
        (b"- 1\n- 2", "without keys"),
        (b"1: 2", "without keys"),
        (b"\xff\xfe\x00", "unreadable"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "settings.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        Settings.from_yaml(path)
    assert "\n" not in str(caught.value)


def test_settings_survive_a_file(tmp_path: Path) -> None:
    settings = Settings(seed=3, data={"sites": 12}, methods={"vi": {"steps": 7}}, split={"by": "block"}).written_out()
    again = Settings.from_yaml(settings.to_yaml(tmp_path / "settings.yaml"))
    assert again == settings
    assert again.written_out() == settings
    assert [file.name for file in tmp_path.iterdir()] == ["settings.yaml"]


def test_the_screening_of_the_national_profiles_survives_a_file(tmp_path: Path) -> None:
    for given, spelled_out in (
        ({}, ("binn", 0)),
        ({"screening": "proda", "proda_counts_from": 1}, ("proda", 1)),
        ({"screening": []}, ([], 0)),
    ):
        settings = Settings(data={"name": "national", **given}, methods=["vi"]).written_out()
        again = Settings.from_yaml(settings.to_yaml(tmp_path / "settings.yaml"))
        assert (again.data.screening, again.data.proda_counts_from) == spelled_out
    assert Settings(methods=["vi"]).written_out().data.screening is None


def test_written_out_settings_leave_no_default_to_a_later_version() -> None:
    written_out = Settings(seed=5, methods=["vi"]).written_out()
    assert (written_out.seed, written_out.data.seed, written_out.split.seed) == (5, 0, 0)
    assert set(written_out.methods["vi"]) == {field.name for field in dataclasses.fields(METHODS["vi"])}
    assert written_out.model.options["likelihood"]["degrees_of_freedom"] > 0
    assert all(yaml.safe_load(yaml.safe_dump(option)) == option for option in written_out.model.options.values())


def test_options_reach_the_model_and_the_methods() -> None:
    settings = Settings(
        model={"options": {"hidden": [4, 3], "likelihood": {"degrees_of_freedom": 5}}}, methods={"vi": {"steps": 7}}
    )
    assert settings.build_model() == MODELS["binn"](
        hidden=(4, 3), likelihood=type(settings.build_model().likelihood)(degrees_of_freedom=5.0)
    )
    assert settings.build_methods() == {"vi": METHODS["vi"](steps=7)}


def test_the_methods_of_a_comparison_by_default_serve_the_model() -> None:
    assert list(Settings().build_methods()) == ["mc_dropout", "vi", "nuts"]
    assert list(Settings(model={"name": "binn", "options": {"hidden": []}}).build_methods()) == ["vi", "nuts"]
    assert list(Settings(model={"name": "site"}).build_methods()) == ["vi", "site_nuts"]


@pytest.mark.parametrize(
    ("given", "methods"),
    [
        ({}, ["nuts"]),
        ({"model": {"name": "site"}}, ["site_nuts"]),
        ({"first_stage": "folder"}, ["upscaling"]),
        ({"methods": ["vi"]}, ["vi"]),
    ],
)
def test_a_fit_by_default_is_by_the_method_of_most_use(given: dict[str, Any], methods: list[str]) -> None:
    assert list(Settings(**given).of_one_method().build_methods()) == methods


def test_the_reference_by_default_is_the_method_that_samples_the_posterior() -> None:
    assert Settings().written_out().reference == "nuts"
    assert Settings(model={"name": "site"}).written_out().reference == "site_nuts"
    assert Settings(methods=["vi"]).written_out().reference is None


def test_a_method_that_cannot_serve_the_model_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match="mc_dropout"):
        Settings(model={"name": "site"}, methods=["vi", "mc_dropout"]).build_methods()


def test_overrides_take_the_place_of_what_a_file_says(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("seed: 1\ndata: {sites: 5, seed: 2}\nmethods: {vi: {steps: 7}, nuts: }\n")
    settings = Settings.from_yaml(
        path, seed=9, name=None, data={"sites": 6, "name": None}, methods=["vi", "mc_dropout"]
    )
    assert settings.seed == 9
    assert settings.name == Settings().name
    assert (settings.data.sites, settings.data.seed) == (6, 2)
    assert settings.methods == {"vi": {"steps": 7}, "mc_dropout": {}}


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("# nothing\n")
    assert Settings.from_yaml(tmp_path / "settings.yaml") == Settings()
