"""Checks of the options of a method, made when it is created."""

from __future__ import annotations

from typing import Any

from binn_prob.errors import InputError

__all__ = ["check_positive"]


def check_positive(method: Any, *fields: str) -> None:
    """Refuse options that are not positive.

    Raises
    ------
    InputError
        Naming the method, the option and its value.
    """
    for field in fields:
        value = getattr(method, field)
        if not value > 0:
            raise InputError(f"{method.name} {field} {value}", "a positive number", "correct it")
