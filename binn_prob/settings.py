"""The settings of a run: typed, checked key by key, to and from YAML.

A run is fully described by its settings, so that ``binn-prob compare --config settings.yaml`` repeats it.  What stands
in ``model.options`` and ``methods.<method>`` are fields of the model's and the method's dataclass; they are checked by
:meth:`Settings.build_model` and :meth:`Settings.build_methods`, which load JAX.  All else is checked at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from binn_prob.data.sources import absolute
from binn_prob.data.splits import Rule
from binn_prob.data_settings import DataSettings, Section, Seed
from binn_prob.devices import Device, Shared
from binn_prob.errors import InputError
from binn_prob.farm.clusters import ClusterSettings
from binn_prob.options import build, one_line, read_yaml, written_out
from binn_prob.precision import Precision, chosen_precision

if TYPE_CHECKING:
    from typing import Self

__all__ = ["UPSCALING", "WHERE", "ModelSettings", "Settings", "SimulationSettings", "SplitSettings"]

_COMPARED = {True: ("mc_dropout", "vi", "nuts"), False: ("vi", "site_nuts")}
"""The methods of a comparison by default: for models with a network, and for those of independent sites."""

_REFERENCES = ("site_nuts", "nuts")
"""The method that the others are compared with, by default the first of these that there is."""

UPSCALING = "upscaling"
"""Word of the method that learns from a first stage: :class:`binn_prob.inference.Upscaling`."""

WHERE = ("device", "devices", "distributed", "cluster")
"""Settings that say where a run computes, and nothing of what comes out but its rounding; of a cluster see
:mod:`binn_prob.farm.units`."""

Options = dict[str, Any]


class SplitSettings(Section):
    """Which sites are held out."""

    by: Rule = "location"
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """0: none is held out"""
    block_size: Annotated[float, Field(gt=0)] = 1.0
    """edge of a spatial block [degrees]"""
    seed: Seed = 0


class SimulationSettings(Section):
    """Observations drawn from the model's prior in the place of the measured ones: see :func:`binn_prob.simulate`."""

    seed: Seed = 0
    noise: Annotated[float, Field(ge=0)] | None = None
    """standard deviation of the logarithm of an observation; default: that of the model's likelihood"""


class ModelSettings(Section):
    """Which probabilistic model."""

    name: str = "binn"
    """a word of ``binn_prob.models.MODELS``"""
    options: Options = Field(default_factory=dict)
    """fields of the model's dataclass"""


class Settings(Section):
    """Everything that determines a run.

    Raises
    ------
    InputError
        If a key is unknown or its value is not what it must be; all of them are named in one line.
    """

    name: str = "comparison"
    """ends the name of the run folder"""
    seed: Seed = 0
    """of the fits; the data and the split have their own, so that fits can be repeated on the same sites"""
    device: Device = "auto"
    devices: Shared | None = None
    """among how many devices the sites of a model are shared out, or ``all``; default: they are not, and with
    ``distributed`` among all"""
    distributed: bool = False
    """whether this is one of many processes, which share the sites out among all their devices"""
    precision: Precision | None = None
    """default: the environment variable ``BINN_PROB_PRECISION``, else float64"""
    cluster: ClusterSettings | None = None
    """whose workers fit the sites of ``site_nuts``, see :mod:`binn_prob.farm`; default: this process fits them"""
    data: DataSettings = DataSettings()
    simulation: SimulationSettings | None = None
    """default: none, the observations are those of the data"""
    split: SplitSettings = SplitSettings()
    model: ModelSettings = ModelSettings()
    methods: Annotated[dict[str, Options], Field(min_length=1)] | None = None
    """method → its options, see ``binn_prob.inference.METHODS``; default: ``_COMPARED``, also ``upscaling``"""
    reference: str | None = None
    """method that the others are compared with; default: ``site_nuts`` or ``nuts``, where one of them runs"""
    first_stage: str | None = None
    """folder of a run of independent sites, from whose posterior ``upscaling`` learns: see :func:`binn_prob.upscale`"""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise one_line(error, section=type(self)) from None

    @model_validator(mode="before")
    @classmethod
    def _options_may_be_empty(cls, values: Any) -> Any:
        """Read ``vi:`` with nothing behind it, and a plain list of methods, as methods with their default options."""
        methods = values.get("methods") if isinstance(values, dict) else None
        if isinstance(methods, list) and all(isinstance(name, str) for name in methods):
            return values | {"methods": {name: {} for name in methods}}
        if isinstance(methods, dict):
            return values | {"methods": {name: {} if given is None else given for name, given in methods.items()}}
        return values

    @model_validator(mode="after")
    def _what_is_named_is_there(self) -> Self:
        if self.methods is not None and self.reference not in (None, *self.methods):
            got, expected = f"reference {self.reference!r}", f"one of the methods that run, {', '.join(self.methods)}"
            raise InputError(got, expected, "name one of them, or leave reference out")
        if UPSCALING in (self.methods or {}) and self.first_stage is None:
            expected = "the folder of a run of independent sites, such as that of 'fit --model site --method site_nuts'"
            raise InputError(f"method {UPSCALING!r} without a first stage", expected, "name it as --first-stage")
        return self

    @field_validator("devices", mode="before")
    @classmethod
    def _devices_are_some(cls, devices: Any) -> Any:
        whole = isinstance(devices, int) and not isinstance(devices, bool) and devices >= 1
        if not (devices is None or devices == "all" or whole):
            raise InputError(f"devices = {devices!r}", "'all' or an integer of at least 1", "correct devices")
        return devices

    @field_validator("name")
    @classmethod
    def _name_fits_a_folder(cls, name: str) -> str:
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is None:
            cure = "choose such a name for the run folder"
            raise InputError(f"name {name!r}", "letters, digits, '.', '_' and '-'", cure)
        return name

    @classmethod
    def from_yaml(
        cls, path: str | Path | None = None, *, defaults: Mapping[str, Any] | None = None, **overrides: Any
    ) -> Settings:
        """Read settings from a YAML file.

        Parameters
        ----------
        path : path, optional
            Default: no file, all settings have their defaults.
        defaults : mapping, optional
            Defaults that differ from those of this class, a section key by key.
        **overrides
            Take the place of what the file says: a section is merged key by key, ``None`` leaves the file's value,
            and a list of ``methods`` keeps the options that the file gives them.

        Raises
        ------
        InputError
            If the file is missing, is not YAML, or holds an unknown key or a wrong value.
        """
        values = dict(defaults or {})
        for key, one in (read_yaml(path) if path is not None else {}).items():
            section = key != "methods" and isinstance(one, dict) and isinstance(values.get(key), dict)
            values[key] = values[key] | one if section else one  # methods are a choice: a file adds none to the default
        given = {key: one for key, one in overrides.items() if one is not None}
        return cls(**values | {key: _override(values.get(key, {}), one) for key, one in given.items()})

    def to_yaml(self, path: str | Path) -> Path:
        """Write the settings to a YAML file, which appears under its name only when it is complete."""
        import yaml

        from binn_prob.files import replacing

        with replacing(path) as temporary:
            temporary.write_text(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        return Path(path)

    def written_out(self) -> Settings:
        """Return the settings with every default spelled out, so that they mean the same in any later version."""
        methods = {word: written_out(method) for word, method in self.build_methods().items()}
        return Settings(
            **self.model_dump(include={"name", "seed", *WHERE, "simulation", "split"}),
            data=self.data.model_dump()
            | {"name": absolute(self.data.name), "folder": self.data.absolute_folder(), **self.data.passing()},
            first_stage=None if self.first_stage is None else str(Path(self.first_stage).absolute()),
            precision=chosen_precision(self.precision),
            model={"name": self.model.name, "options": written_out(self.build_model())},
            methods=methods,
            reference=self.reference or _reference(methods),
        )

    def of_one_method(self) -> Settings:
        """Return the settings with the one method that is of most use, where none is named.

        That is the second stage, where there is a first, and else the reference of a comparison.
        """
        if self.methods is not None:
            return self
        word = UPSCALING if self.first_stage is not None else _reference(self.build_methods())
        return self.model_copy(update={"methods": {word: {}}})

    def build_model(self) -> Any:
        """Return the model with its options.

        Raises
        ------
        InputError
            If there is no such model, or it has no such option.
        """
        from binn_prob.models import MODELS

        return build("model", MODELS, self.model.name, self.model.options)

    def build_methods(self) -> dict[str, Any]:
        """Return the methods with their options.

        Raises
        ------
        InputError
            If there is no such method, it has no such option, or it cannot serve the model.
        """
        from binn_prob.inference import METHODS, Upscaling

        second: dict[str, type] = {} if self.first_stage is None else {UPSCALING: Upscaling}
        known, model = {**METHODS, **second}, self.build_model()
        serving = [word for word, method in known.items() if _serves(method, model)]
        usual = (*_COMPARED[model.has_network], *second)
        compared: Mapping[str, Options] = {word: {} for word in usual if word in serving}
        wanted: Mapping[str, Options] = compared if self.methods is None else self.methods
        built = {word: build("method", known, word, options) for word, options in wanted.items()}
        for word in built:
            if word not in serving:
                got, expected = f"method {word!r} for model {self.model.name!r}", f"one of {', '.join(serving)}"
                raise InputError(got, expected, "choose one of them, or another model")
        return built


def _reference(methods: Mapping[str, Any]) -> str | None:
    """Return which of some methods the others are compared with, unless another is named."""
    return next((word for word in _REFERENCES if word in methods), None)


def _serves(method: Any, model: Any) -> bool:
    """Say whether a method can fit a model."""
    if method.name == UPSCALING:
        return bool(model.has_network)
    if method.needs_hidden_units and not model.has_hidden_units:
        return False
    return not (method.needs_independent_sites and model.has_network)


def _override(value: Any, given: Any) -> Any:
    """Return ``given`` in the place of ``value``, a section key by key."""
    if isinstance(given, dict):
        named = {key: one for key, one in given.items() if one is not None}
        if value is None:
            return named
        return value | named if isinstance(value, dict) else named or value
    if isinstance(given, list) and isinstance(value, dict):
        return {name: value.get(name) for name in given}
    return given
