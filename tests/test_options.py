"""Models, their likelihoods and their fixed parameters from settings, and back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import yaml

from binn_prob import InputError, Settings
from binn_prob.models import LogNormalSOC, ProdaLikelihood, SiteModel, StudentTLogSOC, at_defaults
from binn_prob.options import build, written_out

CHOSEN: dict[str, tuple[dict[str, Any], SiteModel]] = {
    "nothing": ({}, SiteModel()),
    "likelihood by its word": ({"likelihood": "proda"}, SiteModel(likelihood=ProdaLikelihood())),
    "likelihood by its name": ({"likelihood": {"name": "proda"}}, SiteModel(likelihood=ProdaLikelihood())),
    "likelihood with options": (
        {"likelihood": {"name": "log_normal", "scale_median": 0.3}},
        SiteModel(likelihood=LogNormalSOC(scale_median=0.3)),
    ),
    "options of the default likelihood": (
        {"likelihood": {"degrees_of_freedom": 5}},
        SiteModel(likelihood=StudentTLogSOC(degrees_of_freedom=5.0)),
    ),
    "likelihood as it is made": ({"likelihood": ProdaLikelihood()}, SiteModel(likelihood=ProdaLikelihood())),
    "fixed parameters": ({"fixed": {"q10": 2, "tau4s3": 100}}, SiteModel(fixed={"q10": 2.0, "tau4s3": 100.0})),
    "all but one at their defaults": (
        {"fixed": at_defaults(("q10",)), "likelihood": "proda"},
        SiteModel(fixed=at_defaults(("q10",)), likelihood=ProdaLikelihood()),
    ),
}

REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown likelihood": ({"likelihood": "prodda"}, ("likelihood 'prodda'", "log_normal", "did you mean 'proda'?")),
    "unknown name": ({"likelihood": {"name": 3}}, ("likelihood 3", "student_t, log_normal, proda")),
    "neither word nor options": ({"likelihood": 3}, ("likelihood 3", "student_t, log_normal, proda")),
    "option of another likelihood": (
        {"likelihood": {"name": "proda", "degrees_of_freedom": 4}},
        ("'degrees_of_freedom' of likelihood 'proda'", "relative_error"),
    ),
    "option out of range": ({"likelihood": {"name": "proda", "relative_error": -1}}, ("relative_error -1", "positive")),
    "option of the wrong type": ({"likelihood": {"scale_median": "big"}}, ("scale_median = 'big'", "number")),
    "parameter that is not known": ({"fixed": {"q11": 2.0}}, ("'q11'", "q10")),
    "value outside its range": ({"fixed": {"q10": 9.0}}, ("q10 = 9.0", "1.2 to 3")),
    "value that is no number": ({"fixed": {"q10": "two"}}, ("q10 = 'two'", "number")),
    "names without values": ({"fixed": ["q10"]}, ("fixed ['q10']", "values")),
}


def made(options: dict[str, Any]) -> Any:
    return build("model", {"site": SiteModel}, "site", options)


@pytest.mark.parametrize("case", CHOSEN)
def test_options_choose_the_parts_of_a_model(case: str) -> None:
    options, expected = CHOSEN[case]
    assert made(options) == expected


@pytest.mark.parametrize("case", CHOSEN)
def test_a_model_survives_a_file(case: str) -> None:
    _, model = CHOSEN[case]
    written = yaml.safe_load(yaml.safe_dump(written_out(model)))
    assert made(written) == model
    assert written["likelihood"]["name"] == model.likelihood.name
    assert written["fixed"] == dict(model.fixed)


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_options_are_named_in_one_line(case: str) -> None:
    options, words = REFUSED[case]
    with pytest.raises(InputError) as caught:
        made(options)
    assert "\n" not in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == []


def test_settings_reproduce_the_run() -> None:
    fixed = {"q10": 2.0}
    settings = Settings(model={"name": "site", "options": {"likelihood": "proda", "fixed": fixed}}, methods=["vi"])
    written = settings.written_out()
    assert written.model.options["likelihood"] == {"name": "proda", "relative_error": 0.6}
    assert written.model.options["fixed"] == fixed
    again = Settings(**written.model_dump())
    assert again.build_model() == settings.build_model()


def test_results_say_which_likelihood() -> None:
    described = json.loads(json.dumps(dataclasses.asdict(SiteModel(likelihood=ProdaLikelihood()))))
    assert described["likelihood"] == {"name": "proda", "relative_error": 0.6}
