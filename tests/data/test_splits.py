from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from binn_prob.data import folds, split
from binn_prob.data.splits import Rule, groups
from binn_prob.errors import InputError

RULES = get_args(Rule)


def places(count: int, seed: int = 0, repeated: float = 0.3) -> xr.Dataset:
    """Return sites of which some share a place; nothing but coordinates and one value per site."""
    random = np.random.default_rng(seed)
    distinct = max(1, round(count * (1 - repeated)))
    at = np.concatenate([np.arange(distinct), random.integers(distinct, size=count - distinct)])
    longitude, latitude = random.uniform(-80, -71, distinct)[at], random.uniform(40, 45, distinct)[at]
    return xr.Dataset(
        {"value": ("site", np.arange(count))},
        coords={"site": 1000 + np.arange(count), "longitude": ("site", longitude), "latitude": ("site", latitude)},
    )


def labels(sites: xr.Dataset, by: str, size: float = 1.0) -> set[object]:
    """Return what must not be on both sides."""
    if by == "random":
        return set(sites["site"].to_numpy().tolist())
    pair = np.column_stack([sites["longitude"], sites["latitude"]])
    return set(map(tuple, np.floor(pair / size) if by == "block" else pair))


@pytest.mark.parametrize("by", RULES)
@given(count=st.integers(20, 120), seed=st.integers(0, 5), fraction=st.floats(0.05, 0.9))
def test_a_split_takes_every_site_once_and_no_group_apart(by: Rule, count: int, seed: int, fraction: float) -> None:
    sites = places(count, seed)
    train, test = split(sites, by=by, test_fraction=fraction, seed=seed)
    assert sorted([*train["value"].to_numpy(), *test["value"].to_numpy()]) == list(range(count))
    assert train.sizes["site"] > 0
    assert test.sizes["site"] > 0
    assert not labels(train, by) & labels(test, by)
    for side in (train, test):
        assert (np.diff(side["value"]) > 0).all()


@pytest.mark.parametrize("by", RULES)
@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 0.8])
def test_the_fraction_is_kept(by: Rule, fraction: float) -> None:
    _, test = split(places(400), by=by, test_fraction=fraction)
    assert test.sizes["site"] == pytest.approx(400 * fraction, abs=4)


@pytest.mark.parametrize("by", RULES)
def test_a_split_depends_on_its_seed_alone(by: Rule) -> None:
    sites = places(60)
    np.random.seed(1)  # noqa: NPY002  the global generator must not matter
    first = split(sites, by=by, seed=3)[1]
    np.random.seed(2)  # noqa: NPY002
    xr.testing.assert_identical(first, split(sites, by=by, seed=3)[1])
    assert not first["site"].equals(split(sites, by=by, seed=4)[1]["site"])


@pytest.mark.parametrize("by", RULES)
def test_the_order_of_the_sites_does_not_matter(by: Rule) -> None:
    sites = places(60)
    turned = sites.isel(site=np.random.default_rng(1).permutation(60))
    held_out = [set(split(each, by=by)[1]["site"].to_numpy().tolist()) for each in (sites, turned)]
    assert held_out[0] == held_out[1]


@pytest.mark.parametrize("by", RULES)
@pytest.mark.parametrize("count", [2, 5, 10])
def test_folds_hold_every_site_out_once(by: Rule, count: int) -> None:
    pairs = folds(places(200), by=by, count=count)
    assert len(pairs) == count
    assert sorted(np.concatenate([test["value"] for _, test in pairs])) == list(range(200))
    for train, test in pairs:
        assert train.sizes["site"] + test.sizes["site"] == 200
        assert not labels(train, by) & labels(test, by)
        assert test.sizes["site"] == pytest.approx(200 / count, abs=6)


def test_blocks_have_the_size_asked_for() -> None:
    sites = places(300, repeated=0)
    train, test = split(sites, by="block", block_size=2.5)
    assert not labels(train, "block", 2.5) & labels(test, "block", 2.5)
    number = groups(sites, by="block", block_size=2.5)
    assert len(np.unique(number)) == len(labels(sites, "block", 2.5))


def test_one_place_cannot_be_split_by_location() -> None:
    with pytest.raises(InputError, match="1 group"):
        split(places(5).isel(site=[0, 0, 0]), by="location")


def test_two_groups_make_two_sides(make: Callable[..., xr.Dataset]) -> None:
    train, test = split(make(4), by="location", test_fraction=0.01)
    assert (train.sizes["site"], test.sizes["site"]) == (2, 2)
    assert test["soc"].dims == ("site", "observation")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"by": "country"}, "'location' or 'random' or 'block'"),
        ({"test_fraction": 0.0}, "between 0 and 1"),
        ({"test_fraction": 1.0}, "between 0 and 1"),
        ({"test_fraction": float("nan")}, "between 0 and 1"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 0.5}, "seed 0.5"),
        ({"by": "block", "block_size": 0.0}, "block_size 0.0"),
    ],
)
def test_bad_arguments_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(places(20), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2.5, True])
def test_a_bad_number_of_folds_is_refused(count: object) -> None:
    with pytest.raises(InputError, match="a whole number of at least 2"):
        folds(places(20), count=count)  # type: ignore[arg-type]


def test_more_folds_than_places_are_refused() -> None:
    with pytest.raises(InputError, match="at least 10"):
        folds(places(8), count=10)


def test_sites_without_coordinates_are_refused() -> None:
    with pytest.raises(InputError, match="longitude"):
        split(places(8).drop_vars("longitude"))
    assert split(places(8).drop_vars("longitude"), by="random")[0].sizes["site"] == 6
