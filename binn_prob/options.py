"""Words and options that a user gives: turned into the dataclass they stand for, or refused in one line."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from binn_prob.errors import InputError

__all__ = ["build", "one_line", "written_out"]


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
        Fields of the dataclass.

    Raises
    ------
    InputError
        If the word or an option is unknown, or an option has the wrong type or value.
    """
    if word not in table:
        raise InputError(f"unknown {kind} {word!r}", f"one of {', '.join(table)}", _advice(word, table))
    _refuse_unknown(table[word], options, f"{kind} {word!r}")
    try:
        return TypeAdapter(table[word]).validate_python(dict(options))
    except ValidationError as error:
        raise one_line(error, f"option of {kind} {word!r}") from None


def _refuse_unknown(made: type, options: Mapping[str, Any], owner: str) -> None:
    """Refuse options that are no fields of a dataclass, or of a dataclass among its fields."""
    known = {field.name: field for field in dataclasses.fields(made) if field.init}
    for name, value in options.items():
        if name not in known:
            got = f"unknown option {name!r} of {owner}"
            raise InputError(got, f"one of {', '.join(known)}" if known else "no option", _advice(name, known))
        inner: Any = known[name].default_factory
        if isinstance(inner, type) and dataclasses.is_dataclass(inner) and isinstance(value, Mapping):
            _refuse_unknown(inner, value, f"{name} of {owner}")


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
        assert isinstance(annotation, type)
        section = annotation
    return list(section.model_fields)
