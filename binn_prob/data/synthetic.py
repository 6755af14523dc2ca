"""Synthetic sites: soil profiles made by the CLM5 soil carbon model from known parameters.

The embedded default: it needs no download, and the truth is known.  At every place the 21 parameters follow from the
covariates by one smooth function, :func:`true_unit_parameters`; the closed column is solved with them, and soil organic
carbon is observed at a few depths with log-normal noise.  A model that learns parameters from covariates can be held
against ``true_parameters``, and its posterior against the noise that was put in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
import xarray as xr

from binn_prob.clm5.forcing import DIMENSIONS, LITTER_POOLS, Forcing
from binn_prob.clm5.layers import INTERFACE_DEPTH, LAYERS, MONTHS, NODE_DEPTH
from binn_prob.clm5.parameters import NAMES, physical
from binn_prob.clm5.processes import PROCESS_NAMES, processes_of
from binn_prob.clm5.profile import at_depth, soil_organic_carbon
from binn_prob.clm5.steady_state import prepare, solve
from binn_prob.data.arguments import checked_noise, generator, whole_number
from binn_prob.data.schema import attach_units
from binn_prob.data.synthetic_sites import (
    CATEGORICAL,
    CONTINUOUS,
    covariates,
    distinct,
    forcing,
    places,
    repeated,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jax import Array
    from numpy.typing import ArrayLike, NDArray

__all__ = ["BATCH", "DEPENDENCE", "SCALES", "Dependence", "generate", "observed", "true_unit_parameters"]

SCALES: dict[str, tuple[float, float]] = {
    "mean_temperature": (3.0, 6.0),
    "temperature_amplitude": (14.0, 3.0),
    "precipitation": (650.0, 250.0),
    "wetness": (0.6, 0.2),
    "elevation": (250.0, 200.0),
    "clay": (20.0, 10.0),
    "sand": (40.0, 15.0),
    "bulk_density": (1250.0, 90.0),
    "acidity": (6.0, 0.6),
    "plant_carbon_input": (300.0, 150.0),
    "depth_to_bedrock": (5.0, 2.5),
}
"""Centre and scale by which each continuous covariate enters the true parameters; the same for every set of sites."""


class Dependence(NamedTuple):
    """How one parameter follows from the covariates."""

    centre: float
    """Its unit-cube value where every covariate is at its centre."""
    slopes: dict[str, float]
    """What each covariate, or product of two (``"a*b"``), adds to its logit, per unit of the squashed covariate."""
    land_cover: tuple[float, float, float, float, float] = (0, 0, 0, 0, 0)
    """What each land cover adds to its logit."""


DEPENDENCE: dict[str, Dependence] = {
    "diffus": Dependence(0.20, {"mean_temperature": 0.8, "acidity": 0.5}),
    "cryo": Dependence(0.40, {"wetness": 0.8, "clay": 0.4}),
    "q10": Dependence(0.30, {"mean_temperature": -0.6, "wetness": 0.4}),
    "efolding": Dependence(0.70, {"sand": 0.6, "wetness": -0.7, "mean_temperature": 0.4}),
    "taucwd": Dependence(0.50, {"mean_temperature": -0.8}),
    "taul1": Dependence(0.40, {"plant_carbon_input": -0.5}),
    "taul2": Dependence(0.50, {"acidity": -0.6}),
    "tau4s1": Dependence(0.30, {"clay": 0.7}),
    "tau4s2": Dependence(0.40, {"clay": 0.7, "mean_temperature": -0.4}),
    "tau4s3": Dependence(0.35, {"clay": 0.9, "acidity": -0.5, "mean_temperature*clay": 0.5}),
    "fl1s1": Dependence(0.40, {"acidity": 0.6}),
    "fl2s1": Dependence(0.40, {"acidity": 0.6}),
    "fl3s2": Dependence(0.45, {"wetness": 0.6}),
    "fs1s2": Dependence(0.55, {"clay": 0.8, "wetness": -0.3}),
    "fs1s3": Dependence(0.12, {"clay": 0.9, "bulk_density": 0.4}),
    "fs2s1": Dependence(0.50, {"clay": -0.6}),
    "fs2s3": Dependence(0.20, {"clay": 0.8, "elevation": 0.3}),
    "fs3s1": Dependence(0.50, {"clay": -0.4}),
    "fcwdl2": Dependence(0.50, {"temperature_amplitude": 0.3}, (-0.6, -0.2, 0.0, 0.4, 0.2)),
    "w-scaling": Dependence(0.35, {"wetness": 0.6, "precipitation": 0.4, "mean_temperature*wetness": 0.4}),
    "beta": Dependence(0.88, {"mean_temperature": 0.4, "depth_to_bedrock": 0.3}, (0.3, 0.1, 0.3, 0.0, -0.5)),
}
"""The known function of every parameter."""

_FEWEST, _MOST = 3, 12  # observations per site

BATCH = 512
"""Sites that are solved at once: one compilation serves any number of sites."""


def generate(sites: int = 64, seed: int = 0, noise: float = 0.3) -> xr.Dataset:
    """Make synthetic sites.

    Parameters
    ----------
    sites : int
        How many.  About one in ten shares its place, and with it climate, soil and parameters, with another.
    seed : int
        Of everything random; the function from covariates to parameters does not depend on it.
    noise : float
        Standard deviation of the logarithm of an observation about the model's value.

    Returns
    -------
    xarray.Dataset
        See :mod:`binn_prob.data.schema`; with ``true_parameters`` (site, parameter) in the units of
        :data:`binn_prob.clm5.parameters.PARAMETERS`, ``true_processes`` (site, process) in those of
        :data:`binn_prob.clm5.processes.PROCESSES` and ``true_soc_layer`` (site, layer) [g C m-3].

    Raises
    ------
    InputError
        If an argument is outside its range.
    """
    whole_number("sites", sites, 1)
    checked_noise(noise)
    random = generator(seed)
    place = places(distinct(sites), random)
    dataset = observed(repeated(place, sites, random), random, noise)
    source = f"synthetic sites: seed {seed}, noise {noise:g}"
    return dataset.assign_attrs(name="synthetic", source=source, exclusions="{}")


def observed(place: Mapping[str, NDArray[np.float64]], random: np.random.Generator, noise: float) -> xr.Dataset:
    """Solve the column at every place with its true parameters, and observe it; see :func:`generate`."""
    dataset = _dataset(place)
    depth = _depths(INTERFACE_DEPTH[dataset["bedrock_layer"].to_numpy() - 1], random)
    unit = true_unit_parameters(dataset["continuous"], dataset["categorical"])
    soc_layer, processes, soc = _solve(unit, Forcing.from_dataset(dataset), depth)
    dataset = dataset.assign(
        soc=(("site", "observation"), soc * np.exp(noise * random.standard_normal(depth.shape))),
        depth=(("site", "observation"), depth),
        true_parameters=(("site", "parameter"), np.asarray(physical(unit))),
        true_processes=(("site", "process"), processes),
        true_soc_layer=(("site", "layer"), soc_layer),
    )
    return attach_units(dataset)


def true_unit_parameters(continuous: ArrayLike, categorical: ArrayLike) -> NDArray[np.float64]:
    """Return the true parameters of a place in the unit cube, from its covariates.

    Every covariate is centred and scaled by :data:`SCALES` and squashed by ``tanh``; the logit of a parameter is linear
    in them and in products of two, with the coefficients of :data:`DEPENDENCE`.

    Parameters
    ----------
    continuous : array (site, continuous_covariate)
        In the order and units of :data:`binn_prob.data.synthetic_sites.CONTINUOUS`.
    categorical : array (site, categorical_covariate)
        Codes of land cover (1 to 5) and texture class, which has no effect of its own.

    Returns
    -------
    array (site, parameter)
        Values in (0, 1), in the order of :data:`binn_prob.clm5.parameters.NAMES`.
    """
    values = np.asarray(continuous, dtype=float)
    land_cover = np.asarray(categorical)[:, CATEGORICAL.index("land_cover")]
    squashed = {
        name: np.tanh((values[:, position] - SCALES[name][0]) / SCALES[name][1])
        for position, name in enumerate(CONTINUOUS)
    }
    logits = np.empty((len(values), len(NAMES)))
    for position, name in enumerate(NAMES):
        centre, slopes, shifts = DEPENDENCE[name]
        terms = [
            slope * np.prod([squashed[part] for part in term.split("*")], axis=0) for term, slope in slopes.items()
        ]
        logits[:, position] = np.log(centre / (1 - centre)) + sum(terms) + np.asarray(shifts)[land_cover - 1]
    return 1 / (1 + np.exp(-logits))


def _solve(
    unit: NDArray[np.float64], forcing: Forcing, depth: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Solve the closed column.

    Returns
    -------
    tuple of arrays
        Carbon per layer (site, layer) [g C m-3], processes (site, process), and carbon at depth (site, observation).
    """
    inputs = jax.tree.map(np.asarray, (unit, forcing, depth))
    batches = []
    for first in range(0, len(unit), BATCH):
        rows = np.minimum(np.arange(first, first + BATCH), len(unit) - 1)  # the last batch is filled with the last site
        batches.append(_profiles(*jax.tree.map(lambda values, rows=rows: values[rows], inputs)))
    soc_layer, processes, soc = (np.concatenate(parts)[: len(unit)] for parts in zip(*batches, strict=True))
    return soc_layer, processes, soc


@jax.jit
def _profiles(unit: Array, forcing: Forcing, depth: Array) -> tuple[Array, Array, Array]:
    parameters, soil = physical(unit), prepare(forcing)
    pools = solve(parameters, soil)
    soc_layer = soil_organic_carbon(pools)
    processes = processes_of(parameters, pools, soil)
    return soc_layer, processes, at_depth(soc_layer, depth, forcing.bedrock_layer)


def _dataset(place: Mapping[str, NDArray[np.float64]]) -> xr.Dataset:
    """Return forcing, covariates and coordinates of the sites."""
    continuous, categorical = covariates(place)
    variables = {name: (DIMENSIONS[name], values) for name, values in forcing(place).items()}
    return xr.Dataset(
        {
            **variables,
            "continuous": (("site", "continuous_covariate"), continuous),
            "categorical": (("site", "categorical_covariate"), categorical),
        },
        coords={
            "site": np.arange(len(continuous)),
            "longitude": ("site", place["longitude"]),
            "latitude": ("site", place["latitude"]),
            "layer": NODE_DEPTH[:LAYERS],
            "month": np.arange(1, MONTHS + 1),
            "litter_pool": list(LITTER_POOLS),
            "continuous_covariate": list(CONTINUOUS),
            "continuous_unit": ("continuous_covariate", list(CONTINUOUS.values())),
            "categorical_covariate": list(CATEGORICAL),
            "parameter": list(NAMES),
            "process": list(PROCESS_NAMES),
        },
    )


def _depths(bottom: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Draw the depths of observation [m], shape (site, observation): denser near the surface, all in the soil."""
    count = random.integers(_FEWEST, _MOST + 1, size=len(bottom))
    deepest = np.minimum(np.clip(1.2 * np.exp(0.4 * random.standard_normal(len(bottom))), 0.4, 2.5), 0.95 * bottom)
    number = np.arange(_MOST)
    fraction = (number + random.uniform(0.2, 0.8, size=(len(bottom), _MOST))) / count[:, None]
    return np.where(number < count[:, None], deepest[:, None] * np.minimum(fraction, 1) ** 1.5, np.nan)
