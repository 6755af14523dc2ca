"""The Dataset contract: what a table of soil profiles must hold, checked once, at the edge.

A Dataset is an :class:`xarray.Dataset` with one soil profile per ``site``.  :data:`VARIABLES` says which variables it
holds, on which dimensions, in which units and within which range; :func:`validate` checks all of it at once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from binn_prob.clm5.forcing import LITTER_POOLS
from binn_prob.clm5.layers import LAYERS, MONTHS, NODE_DEPTH
from binn_prob.clm5.parameters import NAMES
from binn_prob.clm5.processes import PROCESS_NAMES
from binn_prob.errors import InputError

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["COORDINATES", "SIZES", "VARIABLES", "Variable", "attach_units", "validate"]

_LAYER_VARIABLE = ("site", "layer", "month")


class Variable(NamedTuple):
    """One row of the contract."""

    name: str
    dimensions: tuple[str, ...]
    units: str | None
    """Text of ``attrs["units"]``; ``None``: the units stand in a coordinate, or there are none."""
    low: float = -np.inf
    """Smallest value allowed."""
    high: float = np.inf
    """Largest value allowed."""
    above: bool = False
    """Whether ``low`` itself is refused."""
    gaps: bool = False
    """Whether NaN is allowed: padding after the last observation of a site, or a covariate that is not known."""
    integer: bool = False
    optional: bool = False


VARIABLES: tuple[Variable, ...] = (
    # A logarithm is taken of SOC, so zero is no observation: it must be left out (NaN), counted and named.
    Variable("soc", ("site", "observation"), "g C m-3", low=0, above=True, gaps=True),
    Variable("depth", ("site", "observation"), "m", low=0, gaps=True),
    Variable("soil_temperature", _LAYER_VARIABLE, "K", low=180, high=350),
    Variable("water_scalar", _LAYER_VARIABLE, "1", low=0, high=1),
    Variable("oxygen_scalar", _LAYER_VARIABLE, "1", low=0, high=1),
    Variable("nitrogen_scalar", _LAYER_VARIABLE, "1", low=0, high=1),
    Variable("litter_input", ("site", "litter_pool", "month"), "g C m-2 month-1", low=0),
    Variable("active_layer_depth", ("site", "month"), "m", low=0),
    Variable("active_layer_depth_last_year", ("site", "month"), "m", low=0),
    Variable("bedrock_layer", ("site",), "1", low=1, high=LAYERS, integer=True),
    Variable("continuous", ("site", "continuous_covariate"), None, gaps=True),
    Variable("categorical", ("site", "categorical_covariate"), None, low=-1, integer=True),
    Variable("true_parameters", ("site", "parameter"), None, optional=True),
    Variable("true_processes", ("site", "process"), None, optional=True),
    Variable("true_soc_layer", ("site", "layer"), "g C m-3", low=0, optional=True),
)
"""The variables of a Dataset.

``bedrock_layer`` counts the soil layers above bedrock.  Unknown covariates are NaN or, if categorical, the code -1;
what becomes of them is the model's choice.
"""

COORDINATES: tuple[Variable, ...] = (
    Variable("site", ("site",), None),
    Variable("longitude", ("site",), "degrees_east", low=-180, high=360),
    Variable("latitude", ("site",), "degrees_north", low=-90, high=90),
    Variable("layer", ("layer",), "m"),
    Variable("month", ("month",), None),
    Variable("litter_pool", ("litter_pool",), None),
    Variable("continuous_covariate", ("continuous_covariate",), None),
    Variable("continuous_unit", ("continuous_covariate",), None),
    Variable("categorical_covariate", ("categorical_covariate",), None),
    Variable("parameter", ("parameter",), None, optional=True),
    Variable("process", ("process",), None, optional=True),
)
"""The coordinates of a Dataset; their units may be left out."""

SIZES = {
    "layer": LAYERS,
    "month": MONTHS,
    "litter_pool": len(LITTER_POOLS),
    "parameter": len(NAMES),
    "process": len(PROCESS_NAMES),
}
"""Lengths of the dimensions that are the same in every Dataset."""

_NAMED: dict[str, list[Any]] = {
    "month": list(range(1, MONTHS + 1)),
    "litter_pool": list(LITTER_POOLS),
    "parameter": list(NAMES),
    "process": list(PROCESS_NAMES),
}
_UNIQUE = ("site", "continuous_covariate", "categorical_covariate")


def validate(dataset: xr.Dataset) -> xr.Dataset:
    """Check a Dataset against the contract and name everything that is wrong with it.

    Parameters
    ----------
    dataset : xarray.Dataset
        With the variables of :data:`VARIABLES` and the coordinates of :data:`COORDINATES`.

    Returns
    -------
    xarray.Dataset
        The same values, every variable of the contract with its dimensions in the contract's order.

    Raises
    ------
    InputError
        One line that names every variable which is missing, has other dimensions, sizes or units, or holds values
        outside its range.
    """
    import xarray as xr

    if not isinstance(dataset, xr.Dataset):
        raise InputError(
            f"a {type(dataset).__name__}", "an xarray.Dataset of sites", "load one with binn_prob.data.load"
        )
    rows = [row for row in VARIABLES + COORDINATES if not (row.optional and row.name not in dataset.variables)]
    problems = [problem for row in rows for problem in _problems(dataset, row)]
    problems += _mask_problems(dataset) + _name_problems(dataset) + _attribute_problems(dataset)
    if problems:
        listed = ", ".join(f"({number}) {problem}" for number, problem in enumerate(problems, start=1))
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise InputError(
            f"a dataset with {count}: {listed}",
            "the variables, dimensions, units and ranges of binn_prob.data.schema.VARIABLES",
            "correct what is named, or drop the sites it concerns",
        )
    return dataset.assign({row.name: dataset[row.name].transpose(*row.dimensions) for row in rows if row in VARIABLES})


def _problems(dataset: xr.Dataset, row: Variable) -> list[str]:
    """Return what is wrong with one variable or coordinate: presence, dimensions and sizes, units, values."""
    if row.name not in dataset.variables:
        return [f"{row.name} is missing"]
    variable = dataset[row.name]
    if set(variable.dims) != set(row.dimensions):
        return [f"{row.name} has dimensions {_text(variable.dims)} instead of {_text(row.dimensions)}"]
    problems = [
        f"{row.name} has {variable.sizes[name]} {name}s instead of {SIZES[name]}"
        for name in row.dimensions
        if name in SIZES and variable.sizes[name] != SIZES[name]
    ]
    if row.name == "site" and not variable.size:
        problems.append("there is no site")
    units = variable.attrs.get("units", row.units if row in COORDINATES else None)
    if row.units is not None and units != row.units:
        found = "has no units" if units is None else f"is in {units!r}"
        problems.append(f"{row.name} {found} instead of {row.units!r}")
    if "site" in row.dimensions and row.name != "site":
        problems += _value_problems(dataset, row)
    return problems


def _value_problems(dataset: xr.Dataset, row: Variable) -> list[str]:
    """Return what is wrong with the values of one variable: type, missing values, range."""
    variable = dataset[row.name].transpose(*row.dimensions)
    values = variable.to_numpy()
    if values.dtype.kind not in ("iu" if row.integer else "iuf"):
        return [f"{row.name} holds {values.dtype} instead of {'integers' if row.integer else 'numbers'}"]
    missing = np.isnan(values)
    too_low = values <= row.low if row.above else values < row.low
    outside = np.isinf(values) | too_low | (values > row.high)
    problems = []
    if missing.any() and not row.gaps:
        problems.append(f"{row.name} is missing (NaN) {_where(dataset, missing)}")
    if outside.any():
        worst = values[outside].flat[0]
        problems.append(f"{row.name} is outside {_range(row)} {_where(dataset, outside)}, e.g. {worst:g}")
    return problems


def _mask_problems(dataset: xr.Dataset) -> list[str]:
    """Say whether SOC and depth have their values in the same places."""
    axes = ("site", "observation")
    if any(name not in dataset or set(dataset[name].dims) != set(axes) for name in ("soc", "depth")):
        return []
    soc, depth = (np.isnan(dataset[name].transpose(*axes).to_numpy().astype(float)) for name in ("soc", "depth"))
    differ = soc != depth
    return [f"soc and depth are not given in the same places {_where(dataset, differ)}"] if differ.any() else []


def _name_problems(dataset: xr.Dataset) -> list[str]:
    """Return what is wrong with the names on the axes: repeated ones, other ones than the contract's."""
    problems = []
    for name in _UNIQUE:
        labels = dataset[name].to_numpy().ravel() if name in dataset.variables else np.array([])
        unique, counts = np.unique(labels, return_counts=True)
        repeated = unique[counts > 1]
        if repeated.size:
            problems.append(f"{name} repeats {_some(repeated)}")
    for name, expected in _NAMED.items():
        right_size = dataset.sizes.get(name) == len(expected) and name in dataset.coords
        if right_size and dataset[name].to_numpy().tolist() != expected:
            problems.append(f"{name} is not {expected[0]} ... {expected[-1]} in the contract's order")
    if "layer" in dataset.coords and dataset.sizes["layer"] == LAYERS:
        layers = dataset["layer"].to_numpy()
        if layers.dtype.kind not in "iuf" or not np.allclose(layers, NODE_DEPTH[:LAYERS], atol=1e-6):
            problems.append("layer is not the depth of the layers' nodes in m")
    return problems


def _attribute_problems(dataset: xr.Dataset) -> list[str]:
    """Return what is wrong with the attributes that describe a Dataset; they may be left out."""
    problems = [
        f"attribute {name} is no text"
        for name in ("name", "source", "exclusions")
        if not isinstance(dataset.attrs.get(name, ""), str)
    ]
    try:
        if not problems and not isinstance(json.loads(dataset.attrs.get("exclusions", "{}")), dict):
            problems.append("attribute exclusions is no JSON object")
    except json.JSONDecodeError:
        problems.append("attribute exclusions is no JSON object")
    return problems


def _where(dataset: xr.Dataset, wrong: NDArray[np.bool_]) -> str:
    """Say at which sites values are wrong."""
    sites = wrong.reshape(len(wrong), -1).any(axis=1)
    labels = dataset["site"].to_numpy() if "site" in dataset.coords else np.arange(len(wrong))
    return f"at {int(sites.sum())} site{'s' if sites.sum() > 1 else ''} ({_some(labels[sites])})"


def _some(labels: NDArray[Any], most: int = 3) -> str:
    """List the first few labels."""
    return " ".join(map(str, labels[:most])) + (" ..." if len(labels) > most else "")


def _text(dimensions: tuple[object, ...]) -> str:
    return f"({', '.join(map(str, dimensions))})"


def _range(row: Variable) -> str:
    return f"{'(' if row.above else '['}{row.low:g}, {row.high:g}{']' if np.isfinite(row.high) else ')'}"


def attach_units(dataset: xr.Dataset) -> xr.Dataset:
    """Write the contract's units into the attributes of every variable that has units."""
    for row in VARIABLES + COORDINATES:
        if row.units is not None and row.name in dataset.variables:
            dataset[row.name].attrs["units"] = row.units
    return dataset
