from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from binn_prob.clm5.layers import LAYERS
from binn_prob.clm5.parameters import NAMES
from binn_prob.data import describe, fingerprint, validate
from binn_prob.data.observations import below_bedrock, left_packed
from binn_prob.data.schema import VARIABLES, attach_units
from binn_prob.errors import InputError

FORCING = ("soil_temperature", "water_scalar", "oxygen_scalar", "nitrogen_scalar", "litter_input", "active_layer_depth")


def put(name: str, value: float) -> Callable[[xr.Dataset], xr.Dataset]:
    """Write a value into the first place of a variable."""

    def change(dataset: xr.Dataset) -> xr.Dataset:
        dataset[name].to_numpy().flat[0] = value
        return dataset

    return change


def units(name: str, text: str) -> Callable[[xr.Dataset], xr.Dataset]:
    def change(dataset: xr.Dataset) -> xr.Dataset:
        dataset[name].attrs["units"] = text
        return dataset

    return change


WRONG: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    **{f"no {row.name}": (lambda d, n=row.name: d.drop_vars(n), f"{row.name} is missing") for row in VARIABLES[:12]},
    **{f"NaN {name}": (put(name, np.nan), f"{name} is missing (NaN) at 1 site (100)") for name in FORCING},
    **{
        f"negative {n}": (put(n, -0.1), f"{n} is outside [0")
        for n in (*FORCING[1:], "depth", "active_layer_depth_last_year")
    },
    **{f"{name} above 1": (put(name, 1.1), f"{name} is outside [0, 1]") for name in FORCING[1:4]},
    "infinite covariate": (put("continuous", np.inf), "continuous is outside"),
    "negative SOC": (put("soc", -5.0), "soc is outside (0, inf) at 1 site (100), e.g. -5"),
    "zero SOC": (put("soc", 0.0), "soc is outside (0, inf) at 1 site (100), e.g. 0"),
    "Celsius": (put("soil_temperature", 12.0), "soil_temperature is outside [180, 350]"),
    "no bedrock layer": (put("bedrock_layer", 0), "bedrock_layer is outside [1, 20] at 1 site (100), e.g. 0"),
    "too deep a bedrock layer": (put("bedrock_layer", 21), "bedrock_layer is outside [1, 20]"),
    "latitude": (put("latitude", 91.0), "latitude is outside [-90, 90]"),
    "mask": (put("depth", np.nan), "soc and depth are not given in the same places at 1 site (100)"),
    "units": (units("soc", "kg m-3"), "soc is in 'kg m-3' instead of 'g C m-3'"),
    "no units": (lambda d: d.drop_attrs(), "soil_temperature has no units instead of 'K'"),
    "units of a coordinate": (units("longitude", "km"), "longitude is in 'km'"),
    "dimensions": (lambda d: d.assign(bedrock_layer=d["depth"]), "bedrock_layer has dimensions (site, observation)"),
    "layers": (lambda d: d.isel(layer=slice(19)), "water_scalar has 19 layers instead of 20"),
    "months": (lambda d: d.isel(month=slice(6)), "litter_input has 6 months instead of 12"),
    "fractional categories": (
        lambda d: d.assign(categorical=d["categorical"] * 1.0),
        "categorical holds float64 instead",
    ),
    "text": (lambda d: d.assign(soc=d["soc"].astype(str)), "soc holds <U"),
    "repeated sites": (lambda d: d.assign_coords(site=[1, 1, 2, 3, 4, 4]), "site repeats 1 4"),
    "no site labels": (lambda d: d.drop_vars("site"), "site is missing"),
    "no site": (lambda d: d.isel(site=slice(0)), "there is no site"),
    "pools": (lambda d: d.isel(litter_pool=[1, 0, 2, 3]), "litter_pool is not cwd ... lignin"),
    "layers in cm": (lambda d: d.assign_coords(layer=d["layer"] * 100), "layer is not the depth of the layers' nodes"),
    "repeated covariates": (
        lambda d: d.assign_coords(continuous_covariate=["warmth", "warmth"]),
        "continuous_covariate repeats warmth",
    ),
    "no covariate units": (lambda d: d.drop_vars("continuous_unit"), "continuous_unit is missing"),
    "exclusions": (lambda d: d.assign_attrs(exclusions="three"), "exclusions is no JSON object"),
    "name": (lambda d: d.assign_attrs(name=3), "attribute name is no text"),
    "true parameters": (
        lambda d: d.assign(true_parameters=(("site", "parameter"), np.ones((6, 3)))),
        f"true_parameters has 3 parameters instead of {len(NAMES)}",
    ),
}


def test_a_valid_dataset_passes_unchanged(dataset: xr.Dataset) -> None:
    xr.testing.assert_identical(validate(dataset), dataset)


def test_dimensions_come_back_in_the_contracts_order(dataset: xr.Dataset) -> None:
    xr.testing.assert_identical(validate(dataset.transpose("month", "observation", "layer", ...)), dataset)


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, dataset: xr.Dataset) -> None:
    change, problem = WRONG[case]
    with pytest.raises(InputError) as caught:
        validate(change(dataset))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_problems_come_in_one_line(dataset: xr.Dataset) -> None:
    broken = put("soc", -5.0)(units("depth", "cm")(dataset.drop_vars("water_scalar")))
    with pytest.raises(InputError, match="3 problems") as caught:
        validate(broken)
    for problem in ("soc is outside", "depth is in 'cm'", "water_scalar is missing"):
        assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [put("continuous", np.nan), put("categorical", -1)])
def test_unknown_covariates_are_the_models_affair(change: Callable, dataset: xr.Dataset) -> None:
    assert describe(validate(change(dataset))).loc["sites with unknown covariates", "value"] == 1


def test_units_are_attached(dataset: xr.Dataset) -> None:
    xr.testing.assert_equal(validate(attach_units(dataset.drop_attrs())), dataset)


def test_observations_below_the_last_soil_layer_are_below_bedrock(dataset: xr.Dataset) -> None:
    dataset["bedrock_layer"][:] = [7, 6, 7, 0, 1, 20]  # lower interfaces 0.68, 0.48, 0.68, unknown, 0.02 and 8.6 m
    below = below_bedrock(dataset)
    np.testing.assert_array_equal(below.any("observation"), [False, False, False, False, True, False])
    np.testing.assert_array_equal(below[4], [True, True, True])


def test_observations_are_packed_to_the_left(dataset: xr.Dataset) -> None:
    for name in ("soc", "depth"):
        dataset[name][:, 1] = np.nan
    packed = left_packed(dataset)
    assert packed.sizes["observation"] == 2
    np.testing.assert_array_equal(packed["depth"][:2], [[0.05, 0.6], [0.05, np.nan]])
    assert packed["soc"].attrs == dataset["soc"].attrs


def test_sites_without_observation_keep_one_empty_column(dataset: xr.Dataset) -> None:
    empty = dataset.assign({name: dataset[name] * np.nan for name in ("soc", "depth")})
    assert left_packed(empty).sizes["observation"] == 1


class TestFingerprint:
    def test_survives_a_file(self, dataset: xr.Dataset, tmp_path: Path) -> None:
        dataset.to_netcdf(tmp_path / "sites.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "sites.nc", engine="h5netcdf") as stored:
            assert fingerprint(stored) == fingerprint(dataset)

    def test_does_not_see_order(self, dataset: xr.Dataset) -> None:
        turned = dataset.transpose("month", "observation", "layer", ...)[sorted(dataset.data_vars)]
        assert fingerprint(turned) == fingerprint(dataset)

    @pytest.mark.parametrize(
        "change",
        [
            put("soc", 1.0),
            put("depth", np.nan),
            lambda d: d.isel(site=slice(5)),
            lambda d: d.isel(site=[1, 0, 2, 3, 4, 5]),
            lambda d: d.rename(soc="carbon"),
            lambda d: d.assign_coords(continuous_covariate=["warmth", "width"]),
        ],
    )
    def test_sees_any_other_change(self, change: Callable, make: Callable) -> None:
        assert fingerprint(change(make())) != fingerprint(make())

    def test_is_a_sha256(self, dataset: xr.Dataset) -> None:
        assert len(bytes.fromhex(fingerprint(dataset))) == 32


def test_describe_counts(dataset: xr.Dataset) -> None:
    table = describe(dataset)["value"]
    assert table["sites"] == 6
    assert table["distinct locations"] == 3
    assert table["observations"] == 15
    assert table["most observations at a site"] == 3
    assert table["deepest observation"] == 0.6
    assert table["excluded sites without soil"] == 2
    assert table["SOC, 50 % quantile"] == np.nanmedian(dataset["soc"])


def test_describe_needs_no_observation(dataset: xr.Dataset) -> None:
    empty = dataset.assign({name: dataset[name] * np.nan for name in ("soc", "depth")})
    assert describe(empty).loc["sites without observation", "value"] == 6


def test_importing_the_package_is_light() -> None:
    program = "import sys, binn_prob.data; print(*(name in sys.modules for name in ('jax', 'xarray')))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.split() == ["False", "False"]


def test_the_contract_has_the_models_layers(dataset: xr.Dataset) -> None:
    assert dataset.sizes["layer"] == LAYERS
