from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from binn_prob.clm5.forcing import Forcing
from binn_prob.clm5.layers import INTERFACE_DEPTH
from binn_prob.clm5.parameters import NAMES, RANGES, physical
from binn_prob.clm5.profile import at_depth, soil_organic_carbon
from binn_prob.clm5.steady_state import steady_state
from binn_prob.data import fingerprint, synthetic, validate
from binn_prob.data.synthetic_sites import CONTINUOUS, LAND_COVERS
from binn_prob.errors import InputError

MANY = 1500


@pytest.fixture(scope="module")
def sites() -> xr.Dataset:
    return synthetic.generate()


@pytest.fixture(scope="module")
def many() -> xr.Dataset:
    return synthetic.generate(sites=MANY, seed=1)


def test_the_default_is_valid(sites: xr.Dataset) -> None:
    assert sites.sizes["site"] == 64
    xr.testing.assert_identical(validate(sites), sites)


def test_the_seed_decides_everything(sites: xr.Dataset) -> None:
    assert fingerprint(synthetic.generate(seed=0)) == fingerprint(sites)
    assert fingerprint(synthetic.generate(seed=1)) != fingerprint(sites)


def test_one_site_is_enough() -> None:
    assert validate(synthetic.generate(sites=1)).sizes["site"] == 1


def test_the_truth_follows_from_the_covariates(sites: xr.Dataset) -> None:
    unit = synthetic.true_unit_parameters(sites["continuous"], sites["categorical"])
    np.testing.assert_allclose(sites["true_parameters"], physical(unit), rtol=1e-12)
    assert sites["parameter"].to_numpy().tolist() == list(NAMES)
    assert set(synthetic.SCALES) == set(CONTINUOUS)
    assert set(synthetic.DEPENDENCE) == set(NAMES)


def test_the_truth_is_the_same_function_for_every_seed(sites: xr.Dataset) -> None:
    row = synthetic.true_unit_parameters(sites["continuous"][:1], sites["categorical"][:1])
    together = synthetic.true_unit_parameters(sites["continuous"], sites["categorical"])
    np.testing.assert_allclose(row, together[:1], rtol=1e-12)
    at_centre = np.array([[centre for centre, _ in synthetic.SCALES.values()]])
    grassland = np.array([[1 + list(LAND_COVERS).index("grassland"), 5]])
    unit = synthetic.true_unit_parameters(at_centre, grassland)[0]
    assert unit[NAMES.index("q10")] == pytest.approx(synthetic.DEPENDENCE["q10"].centre)


def test_the_parameters_vary_and_stay_inside_their_ranges(many: xr.Dataset) -> None:
    low, high = RANGES["binn"].T
    unit = (many["true_parameters"].to_numpy() - low) / (high - low)
    assert (unit > 0).all()
    assert (unit < 1).all()
    assert (unit.std(axis=0) > 0.03).all()


def test_carbon_is_that_of_the_closed_column(sites: xr.Dataset) -> None:
    pools = steady_state(sites["true_parameters"].to_numpy(), Forcing.from_dataset(sites), column="closed")
    np.testing.assert_allclose(sites["true_soc_layer"], soil_organic_carbon(pools), rtol=1e-9)
    below = np.arange(20) >= sites["bedrock_layer"].to_numpy()[:, None]
    assert (sites["true_soc_layer"].to_numpy()[below] == 0).all()


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_noise_is_log_normal(noise: float) -> None:
    dataset = synthetic.generate(sites=400, seed=3, noise=noise)
    truth = at_depth(
        dataset["true_soc_layer"].to_numpy(), dataset["depth"].to_numpy(), dataset["bedrock_layer"].to_numpy()
    )
    ratio = np.log(dataset["soc"].to_numpy() / np.asarray(truth))
    ratio = ratio[np.isfinite(ratio)]
    error = noise / np.sqrt(ratio.size)
    assert abs(ratio.mean()) <= 4 * error + 1e-12
    assert abs(ratio.std() - noise) <= 4 * error + 1e-12


def test_magnitudes_are_plausible(many: xr.Dataset) -> None:
    soc, depth = many["soc"].to_numpy(), many["depth"].to_numpy()
    assert 2_000 < np.nanmedian(soc) < 10_000
    assert np.nanmax(soc) < 200_000
    assert np.nanmedian(soc[depth < 0.1]) > 2 * np.nanmedian(soc[depth > 0.8])
    layers = np.log(many["true_soc_layer"].to_numpy()[:, :8])
    assert (layers[:, 0] > layers[:, -1]).mean() > 0.95
    litter = many["litter_input"].sum(["litter_pool", "month"])
    assert 30 <= litter.min() < litter.max() <= 600 + 1e-9
    np.testing.assert_allclose(litter, many["continuous"].sel(continuous_covariate="plant_carbon_input"))
    surface = many["soil_temperature"].isel(layer=0)
    assert surface.mean("site").argmax("month") in (6, 7)
    assert (surface.std("month") > 3 * many["soil_temperature"].isel(layer=19).std("month")).all()


def test_climates_range_from_temperate_to_frozen_ground(many: xr.Dataset) -> None:
    thaw = many["active_layer_depth"].to_numpy()[:, 0]
    assert 0.02 < (thaw < 2).mean() < 0.2
    assert (thaw > 40).mean() > 0.5
    assert ((thaw > 40) == (many["soil_temperature"].isel(layer=19).mean("month") >= 273.15)).mean() > 0.99
    assert (many["oxygen_scalar"] == 1).mean() > 0.5
    assert set(np.unique(many["bedrock_layer"])) == set(range(8, 21))


def test_the_default_sites_see_cryoturbation(sites: xr.Dataset) -> None:
    assert (sites["active_layer_depth"] < 2).any()


def test_observations_lie_in_the_soil(many: xr.Dataset) -> None:
    count = np.isfinite(many["depth"]).sum("observation")
    assert (count.min(), count.max()) == (3, 12)
    bottom = INTERFACE_DEPTH[many["bedrock_layer"].to_numpy() - 1]
    assert (many["depth"].max("observation") < bottom).all()
    depth = many["depth"].to_numpy()
    gaps = np.diff(depth, axis=1)
    assert (gaps[np.isfinite(gaps)] > 0).all()


def test_a_place_that_is_repeated_has_one_soil(many: xr.Dataset) -> None:
    pair = np.column_stack([many["longitude"], many["latitude"]])
    _, first, inverse = np.unique(pair, axis=0, return_index=True, return_inverse=True)
    assert len(first) == round(0.9 * MANY)
    for name in ("continuous", "categorical", "true_parameters", "soil_temperature", "bedrock_layer"):
        values = many[name].to_numpy()
        np.testing.assert_array_equal(values, values[first][inverse.ravel()])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sites": 0}, "sites 0"),
        ({"sites": 1.5}, "sites 1.5"),
        ({"seed": -1}, "seed -1"),
        ({"noise": -0.1}, "noise -0.1"),
        ({"noise": float("nan")}, "noise nan"),
    ],
)
def test_bad_arguments_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        synthetic.generate(**wrong)  # type: ignore[arg-type]
