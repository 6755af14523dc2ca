"""Made-up but plausible places: location, climate, soil, vegetation, and the CLM5 forcing they lead to.

Everything is vectorised over places.  The relations give temperate to boreal magnitudes and are not a fit to any data
set: temperature falls with latitude, heat is conducted into the ground (damped and delayed with depth), the ground
stays frozen below the depth that summer reaches, plants grow where it is warm and wet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from binn_prob.clm5.layers import INTERFACE_DEPTH, LAYERS, MONTHS, NODE_DEPTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = [
    "CATEGORICAL", "CONTINUOUS", "EAST", "LAND_COVERS", "NORTH", "SOUTH", "WEST", "Variates", "covariates", "distinct",
    "forcing", "places", "repeated", "soils",
]  # fmt: skip

WEST, EAST, SOUTH, NORTH = -125.0, -65.0, 40.0, 70.0
"""Where places lie [degrees]."""

CONTINUOUS: dict[str, str] = {
    "mean_temperature": "degC",
    "temperature_amplitude": "K",
    "precipitation": "mm yr-1",
    "wetness": "1",
    "elevation": "m",
    "clay": "%",
    "sand": "%",
    "bulk_density": "kg m-3",
    "acidity": "pH",
    "plant_carbon_input": "g C m-2 yr-1",
    "depth_to_bedrock": "m",
}
"""Name and unit of the continuous covariates."""

CATEGORICAL = ("land_cover", "texture_class")
"""Names of the categorical covariates."""

LAND_COVERS: dict[str, tuple[float, float, float, float]] = {
    "evergreen forest": (0.24, 0.22, 0.32, 0.22),
    "deciduous forest": (0.22, 0.28, 0.34, 0.16),
    "shrubland": (0.10, 0.28, 0.40, 0.22),
    "grassland": (0.00, 0.36, 0.46, 0.18),
    "tundra": (0.02, 0.26, 0.44, 0.28),
}
"""Shares of woody debris, metabolic, cellulose and lignin litter, by land cover; its code is its position, from 1."""

_EVERGREEN, _DECIDUOUS, _SHRUB, _GRASS, _TUNDRA = range(1, 6)
_REPEATED = 0.1  # share of the sites that stand at the place of another site
_FREEZING = 273.15  # K
_NO_PERMAFROST = 41.9984  # m, the deepest node of CLM5
_MONTH = np.arange(MONTHS) + 0.5  # the middle of each month, counted from new year
_MIDSUMMER = 6.5  # mid-July
_DEPTH = NODE_DEPTH[:LAYERS]


class Variates(Protocol):
    """What makes places differ: NumPy's random generator, or one whose numbers are alike where places are near."""

    def standard_normal(self, size: int, /) -> Array:
        """Return one number with the standard normal distribution for each place."""

    def beta(self, a: float, b: float, size: int, /) -> Array:
        """Return one number with a beta distribution for each place."""


def places(count: int, random: np.random.Generator) -> dict[str, Array]:
    """Draw ``count`` places: location, climate and soil, every value of shape (place,), see :func:`soils`."""
    longitude, latitude = random.uniform(WEST, EAST, count), random.uniform(SOUTH, NORTH, count)
    return soils(longitude, latitude, random)


def soils(longitude: Array, latitude: Array, random: Variates) -> dict[str, Array]:
    """Make up climate and soil of places, every value of shape (place,).

    The keys are ``longitude`` and ``latitude`` [degrees], the covariates of :data:`CONTINUOUS`, the codes of
    :data:`CATEGORICAL`, ``bedrock_layer``, and ``nitrogen`` and ``thaw_change``, which have no covariate of their own.
    """
    count = len(longitude)

    def normal() -> Array:
        return random.standard_normal(count)

    elevation = 900.0 * random.beta(1.2, 3.0, count)
    north, inland = (latitude - 40) / 30, 1 - np.abs(longitude + 95) / 30
    temperature = 13.0 - 20.0 * north - 0.006 * elevation + 2.0 * normal()
    amplitude = 9.0 + 6.0 * north + 4.0 * inland + normal()
    precipitation = 1000.0 * np.exp(-0.6 * north - 0.4 * inland + 0.25 * normal())
    # Wetness: precipitation against a potential evaporation that grows with temperature.
    wetness = 1 / (1 + (np.maximum(temperature + 8.0, 2.0) * 45.0 / precipitation) ** 1.5 * np.exp(0.3 * normal()))
    clay = 5.0 + 45.0 * random.beta(1.8, 3.5, count)
    sand = (100.0 - clay) * random.beta(2.5, 2.5, count)
    growth = 1 / (1 + np.exp(-(temperature - 3.0) / 4.0)) * (1 - np.exp(-precipitation / 600.0))
    bedrock = np.minimum(8 + np.floor(16 * random.beta(1.6, 1.0, count)), LAYERS)
    return {
        "longitude": longitude,
        "latitude": latitude,
        "mean_temperature": temperature,
        "temperature_amplitude": amplitude,
        "precipitation": precipitation,
        "wetness": wetness,
        "elevation": elevation,
        "clay": clay,
        "sand": sand,
        "bulk_density": 1450.0 - 5.0 * clay - 150.0 * wetness + 60.0 * normal(),
        "acidity": 7.6 - 2.6 * wetness + 0.3 * normal(),
        "plant_carbon_input": np.clip(30.0 + 680.0 * growth * np.exp(0.2 * normal()), 30.0, 600.0),
        "depth_to_bedrock": INTERFACE_DEPTH[bedrock.astype(int) - 1],
        "land_cover": _land_cover(temperature + 1.0 * normal(), wetness + 0.1 * normal()),
        "texture_class": 1 + 3 * np.digitize(clay, (20.0, 35.0)) + np.digitize(sand, (35.0, 55.0)),
        "bedrock_layer": bedrock,
        "nitrogen": np.clip(0.85 + 0.08 * normal(), 0.5, 1.0),
        "thaw_change": np.exp(0.03 * normal()),
    }


def distinct(sites: int) -> int:
    """Return how many places there are for so many sites."""
    return max(1, round((1 - _REPEATED) * sites))


def repeated(place: Mapping[str, Array], sites: int, random: np.random.Generator) -> dict[str, Array]:
    """Put a site at every place, and the others at places drawn at random."""
    count = len(place["longitude"])
    at = np.concatenate([np.arange(count), random.integers(count, size=sites - count)])
    return {name: values[at] for name, values in place.items()}


def covariates(place: Mapping[str, Array]) -> tuple[Array, NDArray[np.int64]]:
    """Return the continuous (place, covariate) and categorical (place, covariate) covariates."""
    continuous = np.stack([place[name] for name in CONTINUOUS], axis=1)
    return continuous, np.stack([place[name] for name in CATEGORICAL], axis=1).astype(np.int64)


def forcing(place: Mapping[str, Array]) -> dict[str, NDArray[np.generic]]:
    """Return the forcing variables of a Dataset at every place, with the dimensions and units of the contract."""
    temperature, mean, amplitude, damping = _soil_temperature(place)
    thaw = _thaw_depth(mean, amplitude, damping)
    thaw_last_year = np.where(thaw < _NO_PERMAFROST, np.minimum(thaw * place["thaw_change"], _NO_PERMAFROST), thaw)
    months = np.ones(MONTHS)
    waterlogged = np.clip((place["wetness"] - 0.8) / 0.2, 0.0, 1.0)
    summer = 0.5 + 0.5 * np.cos(2 * np.pi * (_MONTH - _MIDSUMMER) / MONTHS)
    return {
        "soil_temperature": temperature,
        "water_scalar": _water_scalar(place["wetness"], temperature, summer),
        "oxygen_scalar": 1 - 0.5 * waterlogged[:, None, None] * (1 - np.exp(-_DEPTH))[None, :, None] * months,
        "nitrogen_scalar": 1
        - (1 - place["nitrogen"])[:, None, None] * np.exp(-_DEPTH / 0.5)[None, :, None] * (0.5 + 0.5 * summer),
        "litter_input": _litter_input(place["plant_carbon_input"], place["land_cover"].astype(int)),
        "active_layer_depth": thaw[:, None] * months,
        "active_layer_depth_last_year": thaw_last_year[:, None] * months,
        "bedrock_layer": place["bedrock_layer"].astype(np.int64),
    }


def _land_cover(warmth: Array, wetness: Array) -> Array:
    """Return the code of the land cover that grows there."""
    forest = np.where(warmth > 6.0, _DECIDUOUS, _EVERGREEN)
    dry = np.where(wetness < 0.45, _GRASS, _SHRUB)
    return np.where(warmth < -3.5, _TUNDRA, np.where(wetness < 0.55, dry, forest)).astype(float)


def _soil_temperature(place: Mapping[str, Array]) -> tuple[Array, Array, Array, Array]:
    """Conduct the yearly wave of temperature into the ground (Carslaw & Jaeger 1959, section 2.6).

    Returns the temperature (place, layer, month) [K]; and its mean [K], amplitude at the surface [K] and damping depth
    [m], each (place,).
    """
    snow = 1 / (1 + np.exp(place["mean_temperature"] / 3.0))  # insulates in winter: warmer and steadier ground
    mean = _FREEZING + 1.0 + place["mean_temperature"] + 1.5 * snow
    amplitude = place["temperature_amplitude"] * (1.0 - 0.25 * snow)
    damping = 1.8 + 0.01 * place["sand"]
    scaled = _DEPTH / damping[:, None]
    phase = 2 * np.pi * (_MONTH - _MIDSUMMER) / MONTHS - scaled[..., None]
    wave = (amplitude[:, None] * np.exp(-scaled))[..., None] * np.cos(phase)
    return mean[:, None, None] + wave, mean, amplitude, damping


def _thaw_depth(mean: Array, amplitude: Array, damping: Array) -> Array:
    """Return the depth that summer's warmth reaches [m]: where the warmest temperature of the year is freezing."""
    deficit = np.maximum(_FREEZING - mean, 1e-9)
    depth = np.maximum(damping * np.log(amplitude / deficit), 0.05)
    return np.where(mean < _FREEZING, np.minimum(depth, _NO_PERMAFROST), _NO_PERMAFROST)


def _water_scalar(wetness: Array, temperature: Array, summer: Array) -> Array:
    """Return CLM's moisture scalar: drier in summer near the surface and with depth, and where water is frozen."""
    near = np.exp(-_DEPTH)[None, :, None]
    level = (0.15 + 0.75 * wetness)[:, None, None] * (0.5 + 0.5 * near) * (1 - 0.4 * near * summer)
    liquid = 0.2 + 0.8 / (1 + np.exp(-(temperature - _FREEZING) / 0.7))
    return np.clip(level * liquid, 0.05, 1.0)


def _litter_input(total: Array, land_cover: NDArray[np.int64]) -> Array:
    """Share the yearly input [g C m-2 yr-1] over pools and months; leaves fall in autumn."""
    shares = np.array(list(LAND_COVERS.values()))[land_cover - 1]
    autumn = np.exp(-0.5 * ((_MONTH - 9.5) / 0.9) ** 2)
    steady = np.full(MONTHS, 1 / MONTHS)
    fall = np.array([0.3, 0.8, 0.5, 0.5, 0.6])[land_cover - 1][:, None]
    leaves = (1 - fall) * steady + fall * autumn / autumn.sum()
    timing = np.stack([np.broadcast_to(steady, leaves.shape), leaves, leaves, leaves], axis=1)
    return total[:, None, None] * shares[:, :, None] * timing
