"""Parameters that a model does not learn but holds at given values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import PlainSerializer, SkipValidation

from binn_prob.clm5.parameters import DEFAULTS, NAMES, index, physical, ranges
from binn_prob.errors import InputError

__all__ = ["Fixed", "at_defaults", "checked", "with_fixed"]

Fixed = Annotated[
    Mapping[str, float] | tuple[tuple[str, float], ...], SkipValidation(), PlainSerializer(dict, return_type=dict)
]
"""Parameter → its physical value.  A model stores it as pairs in the order of the parameters, so that it has a hash;
settings write it as a mapping."""


def at_defaults(free: Iterable[str], ranges_name: str = "binn") -> dict[str, float]:
    """Return CLM5's default values of all parameters but the free ones.

    Two defaults, those of ``efolding`` and ``fs1s2``, lie outside the published ranges; they become the nearer end.

    Parameters
    ----------
    free : names of parameters
        E.g. ``("efolding", "tau4s3", "fs1s3", "w-scaling")``, those of the published recovery experiment.
    ranges_name : {"binn", "proda"}
        Ranges of the model.

    Returns
    -------
    dict
        Parameter → value, for the field ``fixed`` of a model.

    Raises
    ------
    InputError
        If there is no parameter of such a name.
    """
    learnt = {index(name) for name in free}
    inside = np.clip(DEFAULTS, *ranges(ranges_name).T)
    return {name: float(inside[place]) for place, name in enumerate(NAMES) if place not in learnt}


def checked(fixed: Fixed, ranges_name: str) -> tuple[tuple[str, float], ...]:
    """Return fixed parameters as pairs of name and value, in the order of the parameters.

    Raises
    ------
    InputError
        If a name is no parameter, a value lies outside its range or is 0, or no parameter is left to learn.
    """
    try:
        given = dict(fixed)
    except (TypeError, ValueError):
        raise InputError(f"fixed {fixed!r}", "parameters with their values", "write for example q10: 2.0") from None
    for name, value in given.items():
        low, high = ranges(ranges_name)[index(name)]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # at 0, an end of some of PRODA's ranges, nothing decomposes or everything does at once
        if not number or not low <= value <= high or value == 0.0:
            expected = f"a number other than 0 in its range {low:g} to {high:g}"
            raise InputError(f"fixed {name} = {value!r}", expected, f"correct it, or leave {name} free")
    if len(given) == len(NAMES):
        raise InputError("all parameters fixed", "at least one that is free", "leave out those to be learnt")
    return tuple((name, float(given[name])) for name in NAMES if name in given)


def with_fixed(unit: Array, fixed: Fixed, ranges_name: str) -> Array:
    """Return physical parameters from those that are free.

    Parameters
    ----------
    unit : array (site, free parameter)
        In the unit cube of their ranges.
    fixed : name → physical value
    ranges_name : {"binn", "proda"}

    Returns
    -------
    array (site, parameter)
    """
    if not fixed:
        return physical(unit, ranges_name)
    values = dict(fixed)
    free = np.array([place for place, name in enumerate(NAMES) if name not in values])
    held = np.array([values.get(name, np.nan) for name in NAMES])
    every = jnp.zeros((*unit.shape[:-1], len(NAMES)), unit.dtype).at[..., free].set(unit)
    return jnp.where(np.isnan(held), physical(every, ranges_name), np.nan_to_num(held))
