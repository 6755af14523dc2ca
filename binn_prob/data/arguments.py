"""Checks of plain arguments that several functions share."""

from __future__ import annotations

import numpy as np

from binn_prob.errors import InputError

__all__ = ["checked_noise", "generator", "whole_number"]


def whole_number(name: str, value: int, least: int) -> int:
    """Return ``value`` if it is a whole number of at least ``least``.

    Raises
    ------
    InputError
        If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name} {value!r}", f"a whole number of at least {least}", f"correct {name}")
    return int(value)


def generator(seed: int) -> np.random.Generator:
    """Return a random generator of its own for a seed, which must be a whole number of at least 0."""
    return np.random.default_rng(whole_number("seed", seed, 0))


def checked_noise(noise: float) -> float:
    """Return a standard deviation of the noise if it is a number of at least 0.

    Raises
    ------
    InputError
        If it is not.
    """
    if not (np.isfinite(noise) and noise >= 0):
        raise InputError(f"noise {noise!r}", "a number of at least 0", "ask for e.g. noise=0.3")
    return noise
