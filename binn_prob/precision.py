"""Floating-point precision: the one place where it is chosen.

The steady state of a soil column spans thirty orders of magnitude, so binn_prob computes in float64 unless told
otherwise.  JAX makes the choice for a whole process; it is made when :mod:`binn_prob.clm5` is first imported, from the
environment variable ``BINN_PROB_PRECISION`` (``float64`` or ``float32``), and can be changed before any array exists.
"""

from __future__ import annotations

import os
from typing import Literal, cast

from binn_prob.errors import InputError

__all__ = ["ENVIRONMENT_VARIABLE", "Precision", "chosen_precision", "use_precision"]

Precision = Literal["float64", "float32"]
ENVIRONMENT_VARIABLE = "BINN_PROB_PRECISION"


def use_precision(precision: Precision | None = None) -> Precision:
    """Make JAX compute in ``precision``.

    Parameters
    ----------
    precision : {"float64", "float32"}, optional
        Default: the environment variable ``BINN_PROB_PRECISION``, else ``"float64"``.

    Returns
    -------
    str
        The precision now in force.

    Raises
    ------
    InputError
        If the precision is neither of the two.
    """
    import jax

    chosen = chosen_precision(precision)
    if jax.config.jax_enable_x64 != (chosen == "float64"):
        jax.clear_caches()  # programs compiled for the other precision
    jax.config.update("jax_enable_x64", chosen == "float64")
    return chosen


def chosen_precision(precision: Precision | None = None) -> Precision:
    """Return ``precision``, else that of the environment variable ``BINN_PROB_PRECISION``, else float64.

    Raises
    ------
    InputError
        If it is neither float64 nor float32.
    """
    chosen = precision or os.environ.get(ENVIRONMENT_VARIABLE) or "float64"
    if chosen not in ("float64", "float32"):
        raise InputError(
            f"precision {chosen!r}",
            "'float64' or 'float32'",
            f"set --precision or {ENVIRONMENT_VARIABLE} to one of them",
        )
    return cast(Precision, chosen)
