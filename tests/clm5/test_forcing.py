"""Taking the forcing out of a Dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import jax
import numpy as np
import pytest
import xarray as xr

from binn_prob.clm5 import Forcing
from binn_prob.clm5.forcing import DIMENSIONS
from binn_prob.errors import InputError


@pytest.fixture
def dataset(make_forcing: Callable[..., Forcing]) -> xr.Dataset:
    forcing = make_forcing(5)
    return xr.Dataset({name: (dims, np.asarray(getattr(forcing, name))) for name, dims in DIMENSIONS.items()})


def test_variables_come_in_the_order_of_the_axes(dataset: xr.Dataset, make_forcing: Callable[..., Forcing]) -> None:
    got = Forcing.from_dataset(dataset.transpose("month", "layer", "litter_pool", "site"))
    for field in fields(Forcing):
        np.testing.assert_array_equal(getattr(got, field.name), getattr(make_forcing(5), field.name))
    assert got.soil_temperature.dtype == np.float64
    assert got.bedrock_layer.dtype == np.int32


def test_is_a_pytree(dataset: xr.Dataset) -> None:
    forcing = Forcing.from_dataset(dataset)
    assert len(jax.tree.leaves(forcing)) == len(DIMENSIONS)
    first = jax.tree.map(lambda array: array[:2], forcing)
    assert isinstance(first, Forcing)
    assert first.litter_input.shape == (2, 4, 12)


@pytest.mark.parametrize("name", DIMENSIONS)
def test_missing_variable(name: str, dataset: xr.Dataset) -> None:
    with pytest.raises(InputError, match=rf"a dataset without '{name}'; expected {name}\('site'.*; add the variable"):
        Forcing.from_dataset(dataset.drop_vars(name))


@pytest.mark.parametrize("name", DIMENSIONS)
def test_wrong_dimensions(name: str, dataset: xr.Dataset) -> None:
    last = DIMENSIONS[name][-1]
    renamed = dataset.assign({name: dataset[name].rename({last: "hour"})})
    with pytest.raises(InputError, match=rf"{name}\(.*'hour'.*; expected {name}\('site'.*rename or transpose"):
        Forcing.from_dataset(renamed)


@pytest.mark.parametrize(("dimension", "size"), [("layer", 19), ("month", 11), ("litter_pool", 3)])
def test_wrong_sizes(dimension: str, size: int, dataset: xr.Dataset) -> None:
    with pytest.raises(InputError, match=rf"of shape \(5, .*{size}.*provide all layers, months and pools"):
        Forcing.from_dataset(dataset.isel({dimension: slice(size)}))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", DIMENSIONS)
def test_values_that_are_not_finite(name: str, bad: float, dataset: xr.Dataset) -> None:
    values = dataset[name].to_numpy().astype(float)
    values[[1, 3]] = bad
    with pytest.raises(InputError, match=f"got {name} with values that are not finite at 2 sites; expected finite"):
        Forcing.from_dataset(dataset.assign({name: (DIMENSIONS[name], values)}))


@pytest.mark.parametrize("bedrock", [0, 21])
def test_bedrock_outside_the_layers(bedrock: int, dataset: xr.Dataset) -> None:
    values = np.array([1, 5, bedrock, 20, 8])
    with pytest.raises(InputError, match=r"got bedrock_layer from \d+ to \d+; expected 1 to 20; count the soil layers"):
        Forcing.from_dataset(dataset.assign(bedrock_layer=("site", values)))
