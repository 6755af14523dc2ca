"""Checks of the fields of a model or a method, made when it is created."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from binn_prob.errors import InputError

__all__ = ["one_of", "positive", "whole"]


def one_of(owner: Any, field: str, choices: Collection[str]) -> None:
    """Refuse a field that is not one of some words.

    Raises
    ------
    InputError
        Naming the owner, the field, its value and the words.
    """
    value = getattr(owner, field)
    if not isinstance(value, str) or value not in choices:
        expected = f"one of {', '.join(choices)}"
        raise InputError(f"{_name(owner)} {field} {value!r}", expected, "choose one of them")


def positive(owner: Any, *fields: str) -> None:
    """Refuse fields that are not positive finite numbers.

    Raises
    ------
    InputError
        Naming the owner, the field and its value.
    """
    for field in fields:
        value = getattr(owner, field)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0.0 < value < math.inf:
            raise InputError(f"{_name(owner)} {field} {value!r}", "a positive number", f"correct {field}")


def whole(owner: Any, *fields: str, least: int = 1) -> None:
    """Refuse fields that are not whole numbers of at least ``least``.

    Raises
    ------
    InputError
        Naming the owner, the field and its value.
    """
    for field in fields:
        value = getattr(owner, field)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            expected = f"a whole number of at least {least}"
            raise InputError(f"{_name(owner)} {field} {value!r}", expected, f"correct {field}")


def _name(owner: Any) -> str:
    """Return the word by which the user knows the owner."""
    return str(getattr(owner, "name", type(owner).__name__))
