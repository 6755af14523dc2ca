"""Figures: they show what they say, for every kind of posterior, and leave the session's matplotlib alone."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import xarray as xr

from binn_prob.clm5 import NAMES, QUANTITIES
from binn_prob.clm5.processes import PROCESS_NAMES
from binn_prob.errors import InputError
from binn_prob.results import convergence, plots, prediction_figures
from binn_prob.results.compare import compare
from binn_prob.results.drawing import legend, lines, panels


@pytest.fixture(scope="module")
def figures(trees):
    return plots.every(trees, "nuts", {"nuts": convergence.summarise(trees["nuts"]).worst})


def test_every_figure_is_there_and_holds_data(figures):
    assert set(figures) == {
        "observed_predicted", "coverage", "transforms", "profiles", "forest", "marginals", "correlations", "processes",
        "deviations", "recovered", "ranks", "maps_mc_dropout", "maps_vi", "maps_nuts", "chains_nuts", "losses",
    }  # fmt: skip
    for name, figure in figures.items():
        shown = [axis for axis in figure.axes if axis.axison]
        assert shown, name
        assert all(axis.has_data() or axis.texts for axis in shown), name


@pytest.mark.slow
def test_every_figure_can_be_drawn(figures):
    for figure in figures.values():
        picture = plots.png(figure, 60)
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 5000


def test_every_figure_has_a_caption(figures):
    for name in figures:
        assert any(name.startswith(key) for key in plots.CAPTIONS)


def test_a_method_that_has_not_converged_is_marked_in_its_figures(tree_of):
    figures = plots.every({"vi": tree_of(sites=3, draws=10)}, unconverged=["vi"])
    assert "maps_vi" in figures
    assert figures["maps_vi"].get_suptitle() == "VI (not converged)"
    entries = {text.get_text() for text in figures["coverage"].legends[0].get_texts()}
    assert "VI (not converged)" in entries


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
    assert "fitted sites" in plots.profiles({"vi": tree}).get_supxlabel()
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


def test_every_method_can_be_told_from_the_others_in_grey():
    methods = ["vi", "nuts", "mc_dropout", "site_nuts", "sghmc", "laplace", "upscaling"]
    drawn = lines(methods)
    for key in ("color", "linestyle"):
        assert len({str(style[key]) for style in drawn.values()}) == len(methods)


def test_what_is_forced_has_no_ranks(trees):
    titles = [axis.get_title() for axis in plots.ranks(trees, "processes").axes]
    assert "vertical transport rate" in titles
    assert "plant carbon input" not in titles


def test_colours_are_the_methods_own():
    alone, together = plots.colours(["vi"]), plots.colours(["nuts", "long", "vi", "short"])
    assert alone["vi"] == together["vi"]
    assert len(set(together.values())) == 4


def test_a_remark_keeps_the_name_of_the_method():
    assert plots.label("nuts (short)") == "NUTS (short)"
    together = plots.colours(["nuts", "nuts (short)"])
    assert together["nuts"] == plots.colours(["nuts"])["nuts"] != together["nuts (short)"]
    assert plots.colours(["nuts (short)"])["nuts (short)"] == together["nuts"]


def test_distribution_functions_are_held_against_the_uniform_one():
    places = np.array([0.1, 0.2, 0.9, np.nan])
    found = prediction_figures.from_uniform(places)
    expected = [np.mean(places[:3] <= point) - point for point in prediction_figures.GRID]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_band_holds_uniform_numbers_as_often_as_it_says():
    figure, axes = panels(1, 1, (2, 2))
    prediction_figures.uniform_band(axes[0, 0], 50, "0.8")
    low, high = np.split(axes[0, 0].collections[0].get_paths()[0].vertices[1:-2], 2)
    grid = prediction_figures.GRID
    low, high = np.interp(grid, *low.T), np.interp(grid, *high[::-1].T)
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(2000):
        line = prediction_figures.from_uniform(rng.uniform(size=50))
        inside += bool(((line >= low - 1e-9) & (line <= high + 1e-9)).all())
    assert inside / 2000 >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / 2000)
    assert figure.axes


def test_the_forest_shows_the_mean_over_sites(trees):
    figure = plots.forest(trees)
    assert [axis.get_title().split(" (")[0] for axis in figure.axes] == [
        "carbon transfer efficiency", "baseline decomposition", "environmental modifier", "carbon input allocation",
        "vertical transport rate",
    ]  # fmt: skip
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["MC dropout", "VI", "NUTS"]
    middle = figure.axes[0].lines[2].get_xdata()[0]  # two intervals and a median of each method
    draws = trees["mc_dropout"]["posterior/processes"].isel(process=1).mean("site")
    assert middle == pytest.approx(float(draws.median()))


def test_deviations_are_those_of_the_sites(trees, figures):
    axis = figures["deviations"].axes[0]
    sd = trees["nuts"]["posterior/processes"].isel(process=1).std(("chain", "draw"), ddof=1)
    np.testing.assert_allclose(axis.lines[0].get_xdata(), sd)
    assert axis.get_xlim() == axis.get_ylim()
    assert len(axis.get_xticks()) <= 4


def test_ranks_and_truth_need_the_truth(tree_of):
    tree = tree_of(draws=10)
    tree["constant_data"] = tree["constant_data"].to_dataset().drop_vars(["true_parameters", "true_processes"])
    for draw in (plots.ranks, plots.recovered):
        with pytest.raises(InputError, match="not known"):
            draw({"vi": tree})
    assert not {"ranks", "recovered"} & set(plots.every({"vi": tree}))


def test_the_truth_is_the_abscissa(trees, figures):
    held_out = trees["vi"].children["held_out"]
    points = figures["recovered"].axes[5].lines[0]  # second row, first process that varies
    truth = held_out["constant_data/true_processes"].isel(process=1)
    np.testing.assert_allclose(np.asarray(points.get_xdata(), float), truth)


def test_cost_is_drawn_of_scores(trees):
    scores = compare(trees, reference="nuts").scores
    figure = plots.cost(scores)
    assert [axis.get_title().split(",")[0] for axis in figure.axes] == [
        "observations", "true processes", "true parameters"
    ]  # fmt: skip
    with pytest.raises(InputError, match="without wall time"):
        plots.cost(scores[scores["measure"] != "wall_seconds"])


@pytest.mark.parametrize(("shift", "shown"), [(0.0, 2 * 75), (0.3, 94)])
def test_maps_of_very_many_sites_are_thinned(shift, shown, monkeypatch):
    """Every eighth column and row of a grid, however fine; of other sites every 64th."""
    monkeypatch.setattr("binn_prob.results.map_figures._MOST", 100)
    rows, columns = (values.ravel() for values in np.meshgrid(np.arange(10), np.arange(600), indexing="ij"))
    values, width = np.tile(np.arange(6000)[:, None] + 1.0, (1, 6)), 60 / 1415
    table = xr.Dataset(
        {"mean": (("site", "process"), values), "sd": (("site", "process"), values)},
        coords={
            "process": list(PROCESS_NAMES),
            "longitude": ("site", -100.0 + width * columns + shift * np.random.default_rng(0).uniform(size=6000)),
            "latitude": ("site", 40.0 + width * rows),
        },
    )
    figure = plots.maps_of_summaries(table, "vi")
    assert figure.get_suptitle() == f"VI: {shown} of 6,000 sites"
    if not shift:
        mesh = figure.axes[0].collections[0].get_array()
        np.testing.assert_array_equal(mesh, values[:, 0].reshape(10, 600)[::8, ::8])
    assert plots.maps_of_summaries(table.isel(site=slice(40)), "vi").get_suptitle() == "VI"


def test_maps_are_cells_on_a_grid_and_dots_elsewhere(tree_of):
    tree = tree_of(sites=6, draws=10)
    sites = tree["posterior"].to_dataset()
    tree["posterior"] = sites.assign_coords(longitude=("site", -75.0 + np.random.default_rng(0).uniform(size=6)))
    dots = plots.maps(tree, "vi")
    assert [len(axis.collections) for axis in dots.axes[:6]] == [1] * 6
    assert dots.axes[0].collections[0].get_offsets().shape == (6, 2)
    cells = {"longitude": ("site", [-75.0, -74.5, -74.0] * 2), "latitude": ("site", np.repeat([42.0, 42.5], 3))}
    tree["posterior"] = sites.assign_coords(cells)
    mesh = plots.maps(tree, "vi").axes[1].collections[0]
    means = sites["processes"].isel(process=1).mean(("chain", "draw"))
    np.testing.assert_allclose(mesh.get_array().reshape(2, 3), means.to_numpy().reshape(2, 3))
    tree["posterior"] = sites.drop_vars("longitude")
    with pytest.raises(InputError, match="unknown place"):
        plots.maps(tree)


def test_sensitivity_is_drawn_in_order():
    shares = np.random.default_rng(0).uniform(size=(3, len(QUANTITIES), len(NAMES)))
    shares[:, QUANTITIES.index("plant_carbon_input")] = np.nan
    coordinates = {"quantity": list(QUANTITIES), "parameter": list(NAMES)}
    for name in ("total_order", "local"):
        found = xr.Dataset({name: (("site", "quantity", "parameter"), shares)}, coordinates)
        figure = plots.sensitivity(found)
        titles = [axis.get_title() for axis in figure.axes]
        assert titles == [one.replace("_", " ") for one in QUANTITIES if one != "plant_carbon_input"]
        bars = [bar.get_width() for bar in figure.axes[0].patches]
        assert bars == sorted(shares[:, 0].mean(axis=0), reverse=True)[: len(bars)]
        first = figure.axes[0].get_yticklabels()[0].get_text()
        assert first == NAMES[shares[:, 0].mean(axis=0).argmax()]
    with pytest.raises(InputError, match="a dataset of other"):
        plots.sensitivity(found.rename({name: "other"}))


def test_energies_need_to_be_recorded(trees, tree_of):
    with pytest.raises(InputError, match="without energies"):
        plots.energies(trees["vi"])
    tree = tree_of("nuts", chains=2, draws=50)
    energy = np.random.default_rng(0).standard_normal((2, 50))
    tree["sample_stats"] = tree["sample_stats"].to_dataset().assign(energy=(("chain", "draw"), energy))
    title = plots.energies(tree, "nuts").axes[0].get_title()
    assert float(title.split()[-1]) == pytest.approx((np.diff(energy[0]) ** 2).mean() / energy[0].var(), abs=0.01)
    assert "energies_nuts" in plots.every({"nuts": tree})


def test_pictures_for_papers_are_vectors_and_repeat(trees):
    figure = plots.forest(trees)
    first, again = (plots.pdf(drawn) for drawn in (figure, plots.forest(trees)))
    assert first.startswith(b"%PDF")
    assert first == again == plots.pdf(figure)


@pytest.mark.slow
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


@pytest.mark.parametrize("length", [3, 30, 300])
def test_a_legend_is_no_wider_than_its_figure_if_columns_can_help(length):
    figure, axes = panels(1, 1, (5.0, 3.0))
    for number in range(7):
        axes[0, 0].plot([0, 1], [0, number], label=f"{number}" * length)
    legend(figure, axes[0, 0])
    (drawn,) = figure.legends
    assert len(drawn.get_texts()) == 7
    assert drawn.get_window_extent().width <= figure.bbox.width or drawn._ncols == 1
