"""Agreement with a reference, on posteriors whose relation is known."""

from __future__ import annotations

import numpy as np
import pytest

from binn_prob.errors import InputError
from binn_prob.results import distance


def test_a_posterior_agrees_with_itself(tree_of):
    tree = tree_of(draws=30)
    agreement = distance.agreement(tree, tree)
    np.testing.assert_allclose(agreement["correlation"][1:], 1.0)
    np.testing.assert_array_equal(agreement["sd_ratio"][1:], 1.0)


def test_the_process_that_is_forcing_is_blank(tree_of):
    agreement = distance.agreement(tree_of(draws=30, seed=1), tree_of(draws=30))
    blank = agreement.sel(process="plant_carbon_input")
    assert blank["correlation"].isnull()
    assert blank["sd_ratio"].isnull()


def test_rounding_is_no_spread(tree_of):
    tree = tree_of(draws=30)
    values = tree.children["posterior"]["processes"]
    values[..., 0] = 210.123456789 + 3e-14 * values[..., 1]
    _, deviation = distance.spread(tree)
    np.testing.assert_array_equal(deviation.sel(process="plant_carbon_input"), 0.0)
    assert (deviation[:, 1:] > 0).all()


def test_half_the_width(tree_of):
    # The processes of these trees are linear in the unit parameters: the same draws at half the scatter.
    agreement = distance.agreement(tree_of(draws=50, sd=0.02), tree_of(draws=50, sd=0.04))
    np.testing.assert_allclose(agreement["sd_ratio"][1:], 0.5, rtol=1e-6)
    assert (agreement["correlation"][1:] > 0.99).all()


def test_opposite_means(tree_of):
    tree, reference = tree_of(draws=50), tree_of(draws=50)
    tree.children["posterior"]["processes"][:] *= -2
    agreement = distance.agreement(tree, reference)
    np.testing.assert_allclose(agreement["correlation"][1:], -1.0)
    np.testing.assert_allclose(agreement["sd_ratio"][1:], 2.0)


def test_order_of_the_sites_does_not_matter(tree_of):
    tree, reference = tree_of(draws=50, seed=1), tree_of(draws=50)
    turned = tree.copy()
    turned["posterior"] = tree["posterior"].isel(site=slice(None, None, -1))
    np.testing.assert_allclose(
        distance.agreement(turned, reference)["correlation"], distance.agreement(tree, reference)["correlation"]
    )


def test_a_method_without_spread_has_ratio_zero(tree_of):
    agreement = distance.agreement(tree_of(draws=20, sd=0.0), tree_of(draws=20))
    np.testing.assert_allclose(agreement["sd_ratio"][1:], 0.0, atol=1e-12)


def test_other_sites_are_refused(tree_of):
    with pytest.raises(InputError, match="6 and 5 sites, where site 1005 is not in both"):
        distance.agreement(tree_of(draws=5), tree_of(sites=5, draws=5))


def test_two_sites_have_no_correlation(tree_of):
    agreement = distance.agreement(tree_of(sites=2, draws=20, seed=1), tree_of(sites=2, draws=20))
    assert agreement.isnull().all().to_array().all()


def test_one_draw_has_no_spread(tree_of):
    agreement = distance.agreement(tree_of(draws=1), tree_of(draws=20))
    assert (agreement["correlation"][1:] > 0.9).all()
    assert agreement["sd_ratio"].isnull().all()
