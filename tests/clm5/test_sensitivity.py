"""Which parameters matter: against finite differences, and a function whose indices are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jax import Array

from binn_prob import InputError
from binn_prob.clm5 import (
    LAYERS,
    NAMES,
    QUANTITIES,
    RANGES,
    Forcing,
    physical,
    processes,
    sensitivity,
    sobol_indices,
    soil_organic_carbon,
    steady_state,
)

SITES = 4
MakeForcing = Callable[..., Forcing]


@pytest.fixture(scope="module")
def forcing(make_forcing: MakeForcing) -> Forcing:
    """Every parameter counts: two sites mix by bioturbation, two by cryoturbation."""
    thaw = np.repeat([[42.0], [42.0], [0.5], [0.5]], 12, axis=1)
    return make_forcing(SITES, seed=1, active_layer_depth=thaw, active_layer_depth_last_year=thaw)


@pytest.fixture(scope="module")
def units() -> Array:
    return jnp.asarray(np.random.default_rng(2).uniform(0.2, 0.8, (SITES, len(NAMES))))


@pytest.fixture(scope="module")
def local(units: Array, forcing: Forcing) -> xr.Dataset:
    return sensitivity(physical(units), forcing)


@pytest.mark.parametrize("name", ["diffus", "cryo", "q10", "efolding", "tau4s3", "fs1s3", "beta"])
def test_local_slopes_against_finite_differences(name: str, units: Array, forcing: Forcing, local: xr.Dataset) -> None:
    step = 1e-5

    def logarithms(size: float) -> tuple[Array, Array]:
        parameters = physical(units.at[:, NAMES.index(name)].add(size))
        soc = soil_organic_carbon(steady_state(parameters, forcing))
        return jnp.log(processes(parameters, forcing)), jnp.log(soc)

    (above, soc_above), (under, soc_under) = logarithms(step), logarithms(-step)
    of = local.sel(parameter=name)
    got = of["local"].sel(quantity=list(QUANTITIES[1:]))
    np.testing.assert_allclose(got, (above - under) / (2 * step), rtol=1e-5, atol=1e-6)
    soil = np.isfinite(of["soc_layer"].to_numpy())
    assert (soil == (np.arange(LAYERS) < np.asarray(forcing.bedrock_layer)[:, None])).all()
    expected = np.asarray((soc_above - soc_under) / (2 * step))
    np.testing.assert_allclose(of["soc_layer"].to_numpy()[soil], expected[soil], rtol=1e-4, atol=1e-5)


def test_slopes_refer_to_the_ranges(units: Array, forcing: Forcing, local: xr.Dataset) -> None:
    of_proda = sensitivity(physical(units), forcing, ranges_name="proda")
    wider = np.ptp(RANGES["proda"], axis=1) / np.ptp(RANGES["binn"], axis=1)
    np.testing.assert_allclose(of_proda["local"], local["local"] * wider, rtol=1e-10, atol=1e-12)


def test_carbon_is_counted_down_to_a_depth(units: Array, forcing: Forcing, local: xr.Dataset) -> None:
    """The uppermost layer ends at 0.02 m."""
    shallow = sensitivity(physical(units), forcing, depth=0.02)
    np.testing.assert_allclose(
        shallow["local"].sel(quantity="soil_organic_carbon"), local["soc_layer"].isel(layer=0), rtol=1e-10, atol=1e-12
    )
    xr.testing.assert_allclose(sensitivity(physical(units), forcing, depth=8.6), local)


@pytest.fixture(scope="module")
def indices(forcing: Forcing) -> xr.Dataset:
    return sobol_indices(forcing, samples=64, repeats=2)


def test_variance_has_known_owners(indices: xr.Dataset) -> None:
    """What a process does not depend on has no share; what it depends on alone has all of it."""
    total = indices["total_order"]
    error = indices["total_order_error"]
    allocation = total.sel(quantity="carbon_input_allocation")
    assert (allocation.drop_sel(parameter="beta") == 0).all()
    alone = allocation.sel(parameter="beta")
    assert (abs(alone - 1) < 5 * error.sel(quantity="carbon_input_allocation", parameter="beta") + 1e-3).all()
    assert total.sel(quantity="plant_carbon_input").isnull().all()
    # debris is passed on whole: XLA's rounding is all that is left of its turnover time
    assert (total.sel(quantity="soil_organic_carbon", parameter="taucwd") < 1e-20).all()
    idle = total.sel(quantity="soil_organic_carbon", parameter=["cryo", "diffus"]).to_numpy()
    assert (idle[:2, 0] == 0).all()
    assert (idle[2:, 1] == 0).all()


def test_first_order_is_no_more_than_total(indices: xr.Dataset) -> None:
    slack = 4 * (indices["first_order_error"] + indices["total_order_error"]) + 0.1
    assert (
        (indices["first_order"] <= indices["total_order"] + slack).where(indices["total_order"].notnull(), True).all()
    )
    assert (indices["total_order"].sum("parameter") > 0.8).sel(quantity="soil_organic_carbon").all()


def test_the_same_seed_gives_the_same_indices(forcing: Forcing, indices: xr.Dataset) -> None:
    xr.testing.assert_equal(sobol_indices(forcing, samples=64, repeats=2), indices)


def test_what_is_zero_has_no_logarithm(make_forcing: MakeForcing, units: Array) -> None:
    """Nothing mixes in a single layer; what else there is to say is said."""
    forcing = make_forcing(SITES, seed=1, bedrock_layer=np.ones(SITES, int))
    slopes = sensitivity(physical(units), forcing)["local"]
    total = sobol_indices(forcing, samples=16, repeats=2)["total_order"]
    for found in (slopes, total):
        assert found.sel(quantity="vertical_transport_rate").isnull().all()
        assert np.isfinite(found.sel(quantity=["soil_organic_carbon", "environmental_modifier"])).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"samples": 100}, "samples 100; expected a power of two"),
        ({"repeats": 1}, "repeats 1"),
        ({"depth": 0.0}, "depth 0.0"),
        ({"column": "open"}, "column 'open'"),
        ({"ranges_name": "clm6"}, "parameter ranges 'clm6'"),
    ],
)
def test_bad_input_is_refused(options: dict[str, Any], match: str, forcing: Forcing) -> None:
    with pytest.raises(InputError, match=match):
        sobol_indices(forcing, **options)
