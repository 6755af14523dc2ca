"""The 21 parameters of the CLM5 soil carbon model as one table.

Ranges: ``binn`` are those of BINN (Xu et al. 2025, arXiv 2502.00672), ``proda`` those of PRODA (Tao et al. 2020,
Frontiers in Big Data 3:17; Tao et al. 2023, Nature 618:981).  Defaults: the CLM5 parameter file
``clm5_params.c190829.nc``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from binn_prob.errors import InputError

__all__ = ["DEFAULTS", "NAMES", "PARAMETERS", "RANGES", "Parameter", "index", "named", "physical", "ranges", "unit"]


class Parameter(NamedTuple):
    """One row of the parameter table."""

    name: str
    """Name in CLM5 and BINN; the coordinate value in every result."""
    symbol: str
    """LaTeX symbol for figures."""
    meaning: str
    unit: str
    low: float
    """Lower end of BINN's range."""
    high: float
    """Upper end of BINN's range."""
    default: float
    """Value of CLM5's default configuration."""
    proda_low: float
    proda_high: float
    source: str = "clm5_params.c190829.nc"
    """Where the default comes from."""


PARAMETERS: tuple[Parameter, ...] = (
    Parameter("diffus", r"D_b", "bioturbation diffusivity", "m2 yr-1", 3e-5, 5e-4, 1e-4, 3e-5, 5e-4),
    Parameter("cryo", r"D_c", "cryoturbation diffusivity", "m2 yr-1", 3e-5, 1.6e-3, 5e-4, 3e-5, 1.6e-3),
    Parameter("q10", r"Q_{10}", "temperature sensitivity of decomposition", "1", 1.2, 3.0, 1.5, 1.2, 3.0),
    Parameter("efolding", r"z_\tau", "e-folding depth of decomposition", "m", 0.1, 1.0, 10.0, 0.0, 1.0),
    Parameter("taucwd", r"\tau_{CWD}", "turnover time of coarse woody debris", "yr", 1.0, 6.0, 10 / 3, 1.0, 6.0),
    Parameter("taul1", r"\tau_{L1}", "turnover time of metabolic litter", "yr", 1e-4, 0.11, 0.0541, 0.0, 0.11),
    Parameter("taul2", r"\tau_{L2}", "turnover time of cellulose and lignin litter", "yr", 0.1, 0.3, 0.2041, 0.1, 0.3),
    Parameter("tau4s1", r"\tau_{S1}", "turnover time of fast soil organic matter", "yr", 1e-4, 0.5, 0.1370, 0.0, 1.0),
    Parameter("tau4s2", r"\tau_{S2}", "turnover time of slow soil organic matter", "yr", 1.0, 10.0, 5.0, 1.0, 50.0),
    Parameter("tau4s3", r"\tau_{S3}", "turnover time of passive soil organic matter", "yr", 20, 400, 222.22, 200, 1000),
    Parameter("fl1s1", r"f_{L1,S1}", "fraction of decomposed metabolic litter to fast", "1", 0.1, 0.8, 0.45, 0.1, 0.8),
    Parameter("fl2s1", r"f_{L2,S1}", "fraction of decomposed cellulose litter to fast", "1", 0.2, 0.8, 0.5, 0.2, 0.8),
    Parameter("fl3s2", r"f_{L3,S2}", "fraction of decomposed lignin litter to slow", "1", 0.2, 0.8, 0.5, 0.2, 0.8),
    Parameter(
        "fs1s2", r"f_{S1,S2}", "fraction of decomposed fast to slow", "1", 1e-4, 0.4, 0.486, 0.0, 0.4,
        "sand-dependent in CLM5; its value at 50 % sand",
    ),
    Parameter("fs1s3", r"f_{S1,S3}", "fraction of decomposed fast to passive", "1", 1e-4, 0.1, 0.004, 0.0, 0.05),
    Parameter("fs2s1", r"f_{S2,S1}", "fraction of decomposed slow to fast", "1", 0.1, 0.74, 0.42, 0.1, 0.74),
    Parameter("fs2s3", r"f_{S2,S3}", "fraction of decomposed slow to passive", "1", 1e-4, 0.1, 0.03, 0.0, 0.1),
    Parameter("fs3s1", r"f_{S3,S1}", "fraction of decomposed passive to fast", "1", 1e-4, 0.9, 0.45, 0.0, 0.9),
    Parameter("fcwdl2", r"f_{CWD,L2}", "fraction of decomposed debris to cellulose", "1", 0.5, 1.0, 0.76, 0.5, 1.0),
    Parameter(
        "w-scaling", r"w", "multiplier of the moisture scalar", "1", 1e-4, 5.0, 1.0, 0.0, 5.0, "no scaling in CLM5"
    ),
    Parameter(
        "beta", r"\beta", "shape of the root profile", "1", 0.5, 0.9999, 0.95, 0.5, 0.9999, "default run of PRODA"
    ),
)  # fmt: skip
"""The 21 parameters in BINN's order."""

NAMES: tuple[str, ...] = tuple(row.name for row in PARAMETERS)
"""Names in the order of the last axis of every parameter array."""

DEFAULTS = np.array([row.default for row in PARAMETERS])
"""CLM5's default values, shape (parameter,).  ``efolding`` and ``fs1s2`` lie outside both published ranges."""
DEFAULTS.flags.writeable = False

RANGES: Mapping[str, np.ndarray] = {
    "binn": np.array([(row.low, row.high) for row in PARAMETERS]),
    "proda": np.array([(row.proda_low, row.proda_high) for row in PARAMETERS]),
}
"""Published ranges by name, each of shape (parameter, 2)."""


def index(name: str) -> int:
    """Return the position of a parameter on the last axis of a parameter array.

    Raises
    ------
    InputError
        If there is no parameter of that name.
    """
    if name not in NAMES:
        raise InputError(f"parameter {name!r}", f"one of {', '.join(NAMES)}", "correct the name")
    return NAMES.index(name)


def ranges(name: str = "binn") -> np.ndarray:
    """Return the published ranges of that name, shape (parameter, 2), in physical units.

    Raises
    ------
    InputError
        If there are no ranges of that name.
    """
    if name not in RANGES:
        raise InputError(f"parameter ranges {name!r}", " or ".join(map(repr, RANGES)), "choose one of them")
    return RANGES[name]


def physical(unit: ArrayLike, ranges_name: str = "binn") -> Array:
    """Map unit-cube parameters to physical ones: ``low + unit * (high - low)``.

    Parameters
    ----------
    unit : array of shape (..., parameter)
        Values in [0, 1].
    ranges_name : {"binn", "proda"}
        Whose ranges.

    Returns
    -------
    array of shape (..., parameter)
        In the units of :data:`PARAMETERS`.
    """
    low, high = ranges(ranges_name).T
    return low + jnp.asarray(unit) * (high - low)


def unit(physical: ArrayLike, ranges_name: str = "binn") -> Array:
    """Map physical parameters, shape (..., parameter), to the unit cube; the inverse of :func:`physical`."""
    low, high = ranges(ranges_name).T
    return (jnp.asarray(physical) - low) / (high - low)


def named(parameters: ArrayLike) -> dict[str, Array]:
    """Split parameters of shape (..., parameter) into one array of shape (...,) per name."""
    return dict(zip(NAMES, jnp.moveaxis(jnp.asarray(parameters), -1, 0), strict=True))
