"""Figures: they show what they say, for every kind of posterior, and leave the session's matplotlib alone."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from binn_prob.errors import InputError
from binn_prob.results import convergence, plots


@pytest.fixture(scope="module")
def figures(trees):
    return plots.every(trees, "nuts", {"nuts": convergence.summarise(trees["nuts"]).worst})


def test_every_figure_is_there_and_holds_data(figures):
    assert set(figures) == {
        "observed_predicted", "coverage", "profiles", "marginals", "processes", "chains_nuts", "losses"
    }  # fmt: skip
    for name, figure in figures.items():
        shown = [axis for axis in figure.axes if axis.axison]
        assert shown, name
        assert all(axis.has_data() for axis in shown), name
        picture = plots.png(figure, 60)
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 5000


def test_every_figure_has_a_caption(figures):
    for name in figures:
        assert any(name.startswith(key) for key in plots.CAPTIONS)


def test_observed_predicted_has_methods_across_and_parts_down(figures):
    titles = [axis.get_title() for axis in figures["observed_predicted"].axes]
    assert [title.split("\n")[0] for title in titles] == [
        "MC dropout, fitted sites", "VI, fitted sites", "NUTS, fitted sites",
        "MC dropout, held-out sites", "VI, held-out sites", "NUTS, held-out sites",
    ]  # fmt: skip
    assert all("NSE 0." in title for title in titles)
    for axis in figures["observed_predicted"].axes:
        assert axis.get_xscale() == axis.get_yscale() == "log"
        assert axis.get_xlim() == axis.get_ylim()


def test_depth_points_down(figures):
    low, high = figures["profiles"].axes[0].get_ylim()
    assert high == 0 < low


def test_profiles_end_at_bedrock(tree_of):
    tree = tree_of(sites=3, draws=10)
    tree.children["constant_data"]["bedrock_layer"][:] = 5
    line = plots.profiles({"vi": tree}).axes[0].lines[0]
    assert len(line.get_ydata()) == 5


def test_marginals_show_all_parameters_and_the_density_integrates_to_one(trees, figures):
    axes = figures["marginals"].axes
    assert len(axes) == 21
    for axis in axes:
        for patch in axis.patches:
            heights, edges, _ = patch.get_data()
            assert np.sum(heights) / len(heights) == pytest.approx(1.0)
            np.testing.assert_allclose(edges[[0, -1]], axis.get_xlim())
    with pytest.raises(InputError, match="site 7"):
        plots.marginals(trees, site=7)
    assert "1003" in plots.marginals(trees, site=1003).get_suptitle()


def test_marginals_cover_the_ranges_of_the_model(tree_of):
    tree = tree_of(draws=10)
    tree.attrs["settings"] = json.dumps({"model": {"ranges": "proda"}})
    axis = plots.marginals({"vi": tree}).axes[9]  # turnover time of passive soil organic matter
    np.testing.assert_allclose(axis.get_xlim(), (200, 1000))
    other = tree_of(draws=10)
    other.attrs["settings"] = "not JSON"
    axis = plots.marginals({"vi": tree, "nuts": other}).axes[9]
    np.testing.assert_allclose(axis.get_xlim(), (20, 1000))


def test_profiles_are_shown_where_there_are_observations(tree_of):
    tree = tree_of(held_out=3, draws=10)
    tree.children["held_out"].children["observed_data"]["soc"][:] = np.nan
    assert "fitted sites" in plots.profiles({"vi": tree}).get_suptitle()
    assert plots.every({"vi": tree})
    tree.children["observed_data"]["soc"][:] = np.nan
    with pytest.raises(InputError, match="without observations"):
        plots.profiles({"vi": tree})


def test_the_axis_of_carbon_is_that_of_the_depths_shown(tree_of):
    tree = tree_of(sites=3, draws=10)
    tree.children["posterior"]["soc_layer"][..., 12:] = 1e-20  # below every observation
    low, high = plots.profiles({"vi": tree}).axes[0].get_xlim()
    assert low > 10
    assert high < 1e6


def test_processes_leave_out_what_does_not_vary(figures):
    titles = " ".join(axis.get_title() for axis in figures["processes"].axes)
    assert len(figures["processes"].axes) == 2 * 5
    assert "plant carbon input" not in titles
    assert "vertical transport rate (yr$^{-1}$)" in titles


def test_processes_need_something_to_compare(trees):
    with pytest.raises(InputError, match="cannot be compared"):
        plots.processes_against_reference({"nuts": trees["nuts"]}, "nuts")
    assert "processes" not in plots.every({"nuts": trees["nuts"]}, "nuts")


def test_chains_are_shown_of_markov_chains_alone(trees):
    with pytest.raises(InputError, match="Markov chains"):
        plots.chains(trees["vi"], [])
    figure = plots.chains(trees["nuts"], ["tau4s3[site 1001]"], "nuts")
    assert [axis.get_title(loc="left") for axis in figure.axes[::2]] == ["tau4s3[site 1001] (yr)", "soc_scale"]
    assert len(figure.axes[0].lines) == 2


def test_losses_are_shown_where_there_are_any(trees):
    with pytest.raises(InputError, match="without a loss"):
        plots.losses({"nuts": trees["nuts"]})
    assert [axis.get_title() for axis in plots.losses(trees).axes] == ["MC dropout", "VI"]


def test_colours_are_the_methods_own():
    alone, together = plots.colours(["vi"]), plots.colours(["nuts", "long", "vi", "short"])
    assert alone["vi"] == together["vi"]
    assert len(set(together.values())) == 4


def test_small_comparisons_can_be_drawn(tree_of):
    for sites in (1, 2):
        for figure in plots.every({"other": tree_of("other", sites=sites, draws=5)}).values():
            assert plots.png(figure, 40)


def test_the_session_keeps_its_style(trees):
    import matplotlib as mpl

    before = dict(mpl.rcParams.copy())
    loaded = "matplotlib.pyplot" in sys.modules
    plots.png(plots.coverage_curves(trees), 40)
    assert dict(mpl.rcParams.copy()) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded
