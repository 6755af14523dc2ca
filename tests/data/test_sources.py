from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from binn_prob.data import describe, load, validate
from binn_prob.errors import InputError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "texas"}, "'synthetic', 'new-york', 'new-york-grid', 'national', or a netCDF file"),
        ({"name": "synthetic", "sites": 0}, "sites 0"),
        ({"name": "synthetic", "sites": 2.5}, "sites 2.5"),
        ({"name": "synthetic", "folder": "somewhere"}, "leave the folder out"),
        ({"name": "synthetic", "seed": -1}, "seed -1"),
        ({"name": "synthetic", "screening": "binn"}, "screening for 'synthetic'; expected neither, but for 'national'"),
        ({"name": "sites.nc", "proda_counts_from": 0}, "proda_counts_from for 'sites.nc'"),
        ({"name": "national", "screening": "ohio"}, "screening 'ohio'"),
        ({"name": "national", "proda_counts_from": 2}, "proda_counts_from 2; expected 0 or 1"),
        ({"name": "new-york", "folder": "/nowhere"}, "binn-prob data fetch new-york"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_synthetic_sites_are_loaded_by_name() -> None:
    dataset = load("synthetic", sites=5, seed=2)
    assert dataset.sizes["site"] == 5
    assert dataset.attrs["name"] == "synthetic"


def test_a_subset_of_the_profiles_is_drawn_by_seed(published: Path) -> None:
    whole = load("new-york", folder=published)
    chosen = {seed: validate(load("new-york", sites=3, seed=seed, folder=published)) for seed in range(6)}
    for dataset in chosen.values():
        assert dataset.sizes["site"] == 3
        assert set(dataset["site"].to_numpy()) <= set(whole["site"].to_numpy())
        assert (np.diff(dataset["site"]) > 0).all()
    assert len({tuple(dataset["site"].to_numpy()) for dataset in chosen.values()}) > 1
    assert chosen[0].identical(load("new-york", sites=3, seed=0, folder=published))


def test_more_profiles_than_there_are_are_refused(published: Path) -> None:
    with pytest.raises(InputError, match="at most 5"):
        load("new-york", sites=6, folder=published)


def test_a_bad_seed_is_refused(published: Path) -> None:
    with pytest.raises(InputError, match="seed -1"):
        load("new-york", sites=2, seed=-1, folder=published)


def test_a_subset_of_the_real_profiles(new_york_folder: Path) -> None:
    dataset = validate(load("new-york", sites=64, seed=0, folder=new_york_folder))
    table = describe(dataset)["value"]
    assert table["sites"] == 64
    assert table["sites without observation"] == 0
    assert table["most observations at a site"] == dataset.sizes["observation"]


def test_sites_are_chosen_by_their_ids() -> None:
    dataset = validate(load("synthetic", sites=[7, 3]))
    assert list(dataset["site"].values) == [7, 3]
    assert float(dataset["latitude"][1]) == float(load("synthetic")["latitude"].sel(site=3))


@pytest.mark.parametrize(
    ("sites", "words"), [([3, 99], "no site 99"), ([3, 3], "each site once"), ([3, -1], "sites -1")]
)
def test_ids_that_cannot_be_chosen_are_named(sites: list[int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load("synthetic", sites=sites)
