"""Words and options that a user gives: turned into the dataclass they stand for, or refused in one line."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from binn_prob.errors import InputError

__all__ = ["build", "one_line", "read_yaml", "written_out"]


def build(kind: str, table: Mapping[str, type], word: str, options: Mapping[str, Any]) -> Any:
    """Make an instance of the dataclass that a word stands for.

    Parameters
    ----------
    kind : {"model", "method"}
        For the message.
    table : mapping of str to dataclass
        ``MODELS`` or ``METHODS``.
    word : str
        Key of the table.
    options : mapping
        Fields of the dataclass.  Where a field is itself one of several dataclasses, its value is a mapping of their
        fields with the word as ``name``, or the word alone; without a word, the fields are those of the default.

    Raises
    ------
    InputError
        If the word or an option is unknown, or an option has the wrong type or value.
    """
    if not isinstance(word, str) or word not in table:
        raise InputError(f"unknown {kind} {word!r}", f"one of {', '.join(table)}", _advice(str(word), table))
    made = table[word]
    known = {field.name: field for field in dataclasses.fields(made) if field.init}
    for name in options:
        if name not in known:
            got = f"unknown option {name!r} of {kind} {word!r}"
            raise InputError(got, f"one of {', '.join(known)}" if known else "no option", _advice(name, known))
    inner = {name: _inner(made, known[name], value) for name, value in options.items()}
    try:
        return TypeAdapter(made).validate_python(inner)
    except ValidationError as error:
        raise one_line(error, f"option of {kind} {word!r}") from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file of keys and values.

    Raises
    ------
    InputError
        If the file is missing, is not YAML, or is not a mapping.
    """
    import yaml

    cure = "give a file like the settings.yaml of a run folder"
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no file {path}", "a YAML file of settings", "correct the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"an unreadable file {path} ({error})", "a YAML file of settings", cure) from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}, which is not YAML ({' '.join(str(error).split())})", "YAML", cure) from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path} without keys", "a mapping of settings", cure)
    return content


def _inner(made: Any, field: dataclasses.Field[Any], value: Any) -> Any:
    """Return the value of a field, made from its options if the field is a dataclass or one of several."""
    hint: Any = get_type_hints(made)[field.name]
    choices: list[Any] = list(filter(dataclasses.is_dataclass, get_args(hint) or (hint,)))
    table = {one.name: one for one in choices}
    if not table or isinstance(value, tuple(table.values())):
        return value
    options = {"name": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping):
        got, expected = f"{field.name} {value!r}", f"one of {', '.join(table)}, or keys with values"
        raise InputError(got, expected, f"correct {field.name}")
    default: Any = field.default_factory
    rest = {name: one for name, one in options.items() if name != "name"}
    return build(field.name, table, options.get("name", default.name), rest)


def written_out(instance: Any) -> dict[str, Any]:
    """Return the options of a model or method, defaults included, as plain numbers, text and lists."""
    options: dict[str, Any] = TypeAdapter(type(instance)).dump_python(instance, mode="json")
    return options


def one_line(error: ValidationError, where: str = "", section: type[BaseModel] | None = None) -> InputError:
    """Say all that a validation found wrong, each with the path of its key, as one line.

    Parameters
    ----------
    error : pydantic.ValidationError
        What was found.
    where : str
        What the keys belong to.
    section : type, optional
        Settings class that was validated, to name the keys that it knows.
    """
    found = [_explain(one, where, section) for one in error.errors(include_url=False)]
    got, expected, cures = (list(dict.fromkeys(column)) for column in zip(*found, strict=True))
    return InputError(" and ".join(got), "; ".join(expected), "; ".join(cures))


def _explain(one: Mapping[str, Any], where: str, section: type[BaseModel] | None) -> tuple[str, str, str]:
    """Return what was got and expected at one key, and the cure."""
    cause = one.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return cause.got, cause.expected, cause.cure
    path = ".".join(str(part) for part in one["loc"])
    if one["type"] == "extra_forbidden" and section is not None:
        known = _keys(section, one["loc"][:-1])
        return f"unknown key {path!r}", f"one of {', '.join(known)}", _advice(str(one["loc"][-1]), known)
    got = f"{where} {path} = {one['input']!r}" if path else f"{where} {one['input']!r}"
    return got.strip(), _expected(one), f"correct {path or where}"


def _expected(one: Mapping[str, Any]) -> str:
    """Return what pydantic expected, in the words of someone who has never heard of pydantic."""
    if one["type"] in ("model_type", "dict_type", "dataclass_type"):
        return "keys with values"
    if one["type"] in ("too_short",):
        return f"at least {one['ctx']['min_length']}"
    return str(one["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")


def _advice(word: str, known: Iterable[str]) -> str:
    """Return the cure for a word that is not among the known ones."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"correct or remove {word!r}"


def _keys(section: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the section at ``path`` may have."""
    for part in path:
        annotation = section.model_fields[str(part)].annotation
        choices = (annotation, *get_args(annotation))  # a section, or none
        section = next(one for one in choices if isinstance(one, type) and issubclass(one, BaseModel))
    return list(section.model_fields)
