"""Agreement with a reference, on posteriors whose relation is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from binn_prob.clm5.parameters import NAMES
from binn_prob.errors import InputError
from binn_prob.results import distance


def values(measure, tree, reference):
    """Return a measure of the processes but the first, which is forcing."""
    agreement = distance.agreement(tree, reference)
    return np.array([scores[measure].value for scores in agreement.values()])[1:]


def test_a_posterior_agrees_with_itself(tree_of):
    tree = tree_of(draws=30)
    np.testing.assert_allclose(values("correlation", tree, tree), 1.0)
    np.testing.assert_array_equal(values("mean_difference", tree, tree), 0.0)
    np.testing.assert_array_equal(values("sd_ratio", tree, tree), 1.0)


def test_the_process_that_is_forcing_is_blank(tree_of):
    agreement = distance.agreement(tree_of(draws=30, seed=1), tree_of(draws=30))
    assert all(math.isnan(score.value) for score in agreement["plant_carbon_input"].values())
    assert not any(math.isnan(score.value) for score in agreement["environmental_modifier"].values())


def test_rounding_is_no_spread(tree_of):
    tree = tree_of(draws=30)
    values = tree.children["posterior"]["processes"]
    values[..., 0] = 210.123456789 + 3e-14 * values[..., 1]
    _, deviation = distance.spread(tree)
    np.testing.assert_array_equal(deviation.sel(process="plant_carbon_input"), 0.0)
    assert (deviation[:, 1:] > 0).all()


def test_half_the_width(tree_of):
    # The processes of these trees are linear in the unit parameters: the same draws at half the scatter.
    tree, reference = tree_of(draws=50, sd=0.02), tree_of(draws=50, sd=0.04)
    np.testing.assert_allclose(values("sd_ratio", tree, reference), 0.5, rtol=1e-6)
    assert (values("correlation", tree, reference) > 0.99).all()


def test_opposite_means(tree_of):
    tree, reference = tree_of(draws=50), tree_of(draws=50)
    tree.children["posterior"]["processes"][:] *= -2
    np.testing.assert_allclose(values("correlation", tree, reference), -1.0)
    np.testing.assert_allclose(values("sd_ratio", tree, reference), 2.0)


def test_order_of_the_sites_does_not_matter(tree_of):
    tree, reference = tree_of(draws=50, seed=1), tree_of(draws=50)
    turned = tree.copy()
    turned["posterior"] = tree["posterior"].isel(site=slice(None, None, -1))
    for measure in distance.MEASURES:
        np.testing.assert_allclose(values(measure, turned, reference), values(measure, tree, reference))


def test_a_method_without_spread_has_ratio_zero(tree_of):
    np.testing.assert_array_equal(values("sd_ratio", tree_of(draws=20, sd=0.0), tree_of(draws=20)), 0.0)


def test_other_sites_are_refused(tree_of):
    with pytest.raises(InputError, match="6 and 5 sites, where site 1005 is not in both"):
        distance.agreement(tree_of(draws=5), tree_of(sites=5, draws=5))


def test_two_sites_have_no_correlation(tree_of):
    tree, reference = tree_of(sites=2, draws=20, seed=1), tree_of(sites=2, draws=20)
    for measure in distance.MEASURES:
        assert np.isnan(values(measure, tree, reference)).all()
    assert all(math.isnan(score.value) for score in distance.overall(tree, reference).values())


def test_one_draw_has_no_spread(tree_of):
    tree, reference = tree_of(draws=1), tree_of(draws=20)
    assert (values("correlation", tree, reference) > 0.9).all()
    assert np.isnan(values("sd_ratio", tree, reference)).all()


def test_parameters_are_compared_like_processes(tree_of):
    agreement = distance.agreement(tree_of(draws=50, sd=0.02), tree_of(draws=50, sd=0.04), "parameters")
    assert list(agreement) == list(NAMES)
    # Draws beyond the range are turned back, which narrows some of them.
    np.testing.assert_allclose([scores["sd_ratio"].value for scores in agreement.values()], 0.5, rtol=0.02)


def test_site_by_site(tree_of):
    tree, reference = tree_of(draws=50, seed=1), tree_of(draws=50)
    sites = distance.by_site(tree, reference)
    assert sites["sd_ratio"].dims == sites["mean_difference"].dims == ("site", "process")
    ours, theirs = (each.children["posterior"]["processes"][0, :, 2, 3].to_numpy() for each in (tree, reference))
    assert float(sites["sd_ratio"][2, 3]) == pytest.approx(ours.std() / theirs.std(), rel=1e-12)
    expected = (ours.mean() - theirs.mean()) / theirs.std(ddof=1)
    assert float(sites["mean_difference"][2, 3]) == pytest.approx(expected, rel=1e-9)


def test_overall_leaves_out_what_is_known(tree_of):
    tree, reference = tree_of(draws=50, sd=0.02), tree_of(draws=50, sd=0.04)
    overall = distance.overall(tree, reference)
    assert overall["sd_ratio"].value == pytest.approx(0.5, rel=1e-6)
    assert overall["correlation"].value == pytest.approx(values("correlation", tree, reference).mean(), rel=1e-12)


def test_another_kind_is_refused(tree_of):
    with pytest.raises(InputError, match="'soil'"):
        distance.agreement(tree_of(draws=5), tree_of(draws=5), "soil")
