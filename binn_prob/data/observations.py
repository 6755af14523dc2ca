"""The observations of a Dataset: which lie in the soil, and how they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from binn_prob.clm5.layers import INTERFACE_DEPTH, LAYERS

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["below_bedrock", "left_packed"]


def below_bedrock(dataset: xr.Dataset) -> xr.DataArray:
    """Say which observations lie below the lower interface of the deepest soil layer, shape (site, observation)."""
    layer = dataset["bedrock_layer"]
    bottom = layer.copy(data=INTERFACE_DEPTH[np.clip(layer.to_numpy(), 1, LAYERS) - 1])
    return (layer >= 1) & (dataset["depth"] > bottom)


def left_packed(dataset: xr.Dataset) -> xr.Dataset:
    """Move the observations of each site together, in their order, and cut off the columns that hold none."""
    soc = dataset["soc"].to_numpy()
    most = max(1, int(np.isfinite(soc).sum(axis=1).max(initial=0)))
    order = np.argsort(np.isnan(soc), axis=1, kind="stable")[:, :most]
    packed = {name: np.take_along_axis(dataset[name].to_numpy(), order, axis=1) for name in ("soc", "depth")}
    attrs = {name: dataset[name].attrs for name in packed}
    dataset = dataset.drop_vars(packed)
    return dataset.assign({name: (("site", "observation"), values, attrs[name]) for name, values in packed.items()})
