"""What drives a soil column: temperature, water, oxygen, nitrogen, litter, active layer, bedrock."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from binn_prob.clm5.layers import LAYERS, MONTHS
from binn_prob.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DIMENSIONS", "LITTER_POOLS", "Forcing"]

LITTER_POOLS = ("cwd", "metabolic", "cellulose", "lignin")
"""Names of the pools that receive litter, in order."""

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "soil_temperature": ("site", "layer", "month"),
    "water_scalar": ("site", "layer", "month"),
    "oxygen_scalar": ("site", "layer", "month"),
    "nitrogen_scalar": ("site", "layer", "month"),
    "litter_input": ("site", "litter_pool", "month"),
    "active_layer_depth": ("site", "month"),
    "active_layer_depth_last_year": ("site", "month"),
    "bedrock_layer": ("site",),
}
"""Dimensions of every forcing variable in a Dataset."""

_SIZES = {"layer": LAYERS, "month": MONTHS, "litter_pool": len(LITTER_POOLS)}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Forcing:
    """Forcing of a batch of sites: a pytree of arrays whose first axis is the site.

    Build it with :meth:`from_dataset`.  It passes through ``jit``, ``vmap`` over sites and ``grad``.
    """

    soil_temperature: Array
    """(site, layer, month) [K]"""
    water_scalar: Array
    """(site, layer, month) CLM's W_SCALAR [1]"""
    oxygen_scalar: Array
    """(site, layer, month) [1]"""
    nitrogen_scalar: Array
    """(site, layer, month) CLM's FPI_vr, acts on the litter pools only [1]"""
    litter_input: Array
    """(site, litter_pool, month) [g C m-2 month-1]"""
    active_layer_depth: Array
    """(site, month) deepest thaw of the current year [m]"""
    active_layer_depth_last_year: Array
    """(site, month) deepest thaw of the year before [m]"""
    bedrock_layer: Array
    """(site,) number of soil layers above bedrock, 1 to 20"""

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Forcing:
        """Take the forcing variables out of a Dataset.

        Parameters
        ----------
        dataset : xarray.Dataset
            With the variables and dimensions of :data:`DIMENSIONS`, in the units given above.

        Raises
        ------
        InputError
            If a variable is missing, has other dimensions, or holds values that are not finite, or if bedrock lies
            outside the layers.
        """
        return cls(**{field.name: _array(dataset, field.name) for field in fields(cls)})


def _array(dataset: xr.Dataset, name: str) -> Array:
    """Return one forcing variable as an array with its axes in the contract's order."""
    dimensions = DIMENSIONS[name]
    if name not in dataset:
        raise InputError(f"a dataset without {name!r}", f"{name}{dimensions}", "add the variable")
    if set(dataset[name].dims) != set(dimensions):
        raise InputError(f"{name}{dataset[name].dims}", f"{name}{dimensions}", "rename or transpose its dimensions")
    values = dataset[name].transpose(*dimensions).to_numpy()
    expected = tuple(_SIZES.get(dimension, dataset.sizes[dimension]) for dimension in dimensions)
    if values.shape != expected:
        raise InputError(f"{name} of shape {values.shape}", f"shape {expected}", "provide all layers, months and pools")
    if not np.isfinite(values).all():
        sites = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())
        got = f"{name} with values that are not finite at {sites} sites"
        raise InputError(got, "finite values", "drop those sites")
    if name == "bedrock_layer" and not ((values >= 1) & (values <= LAYERS)).all():
        got = f"{name} from {values.min()} to {values.max()}"
        raise InputError(got, f"1 to {LAYERS}", "count the soil layers above bedrock, from 1")
    return jnp.asarray(values, dtype=jnp.int32 if name == "bedrock_layer" else jnp.result_type(float))
