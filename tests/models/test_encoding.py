from __future__ import annotations

import numpy as np
import pytest

from binn_prob.errors import InputError
from binn_prob.models.encoding import Encoding


def test_training_covariates_are_standardised(sites):
    covariates = Encoding.fit(sites)(sites)
    np.testing.assert_allclose(covariates.continuous.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(covariates.continuous.std(axis=0), 1.0, rtol=1e-12)


def test_other_sites_are_scaled_by_the_training_sites(sites):
    encoding = Encoding.fit(sites)
    moved = sites.assign(continuous=sites["continuous"] + encoding.scale)
    np.testing.assert_allclose(encoding(moved).continuous, encoding(sites).continuous + 1.0, rtol=1e-9)


def test_constant_covariate_becomes_zero(sites):
    constant = sites.assign(continuous=sites["continuous"] * 0.0 + 7.0)
    np.testing.assert_array_equal(Encoding.fit(constant)(constant).continuous, 0.0)
    np.testing.assert_array_equal(Encoding.fit(constant)(sites).continuous, 0.0)  # also at sites where it differs


def test_missing_value_becomes_the_training_mean(sites):
    missing = sites.copy(deep=True)
    missing["continuous"][2, 3] = np.nan
    assert Encoding.fit(sites)(missing).continuous[2, 3] == 0.0
    assert np.isfinite(Encoding.fit(missing)(missing).continuous).all()


def test_codes_have_distinct_positions_and_unseen_ones_share_the_first(sites):
    encoding = Encoding.fit(sites)
    covariates = encoding(sites)
    for column, vocabulary in enumerate(encoding.vocabularies):
        positions = np.asarray(covariates.categorical[:, column])
        np.testing.assert_array_equal(vocabulary[positions - 1], sites["categorical"].to_numpy()[:, column])
        assert covariates.vocabulary_sizes[column] == len(vocabulary) + 1
    unseen = sites.assign(categorical=sites["categorical"] * 0 + 9999)
    np.testing.assert_array_equal(encoding(unseen).categorical, 0)


def test_covariates_are_found_by_name_in_any_order(sites):
    shuffled = sites.isel(continuous_covariate=slice(None, None, -1))
    encoding = Encoding.fit(sites)
    np.testing.assert_array_equal(encoding(shuffled).continuous, encoding(sites).continuous)


def test_a_missing_covariate_is_named(sites):
    name = str(sites["continuous_covariate"].values[1])
    with pytest.raises(InputError, match=name):
        Encoding.fit(sites)(sites.drop_sel(continuous_covariate=name))
