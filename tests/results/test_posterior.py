"""The tree: one form for every method, on disk as in memory."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from binn_prob.clm5.layers import NODE_DEPTH
from binn_prob.clm5.parameters import NAMES
from binn_prob.clm5.processes import PROCESS_NAMES
from binn_prob.errors import InputError
from binn_prob.results import posterior


def test_names_dimensions_and_coordinates(tree_of):
    tree = tree_of("nuts", sites=5, held_out=3, chains=2, draws=10)
    draws = posterior.group(tree, "posterior")
    assert draws["parameters"].dims == ("chain", "draw", "site", "parameter")
    assert draws["parameters"].shape == (2, 10, 5, 21)
    assert draws["soc_layer"].shape == (2, 10, 5, 20)
    assert draws["processes"].shape == (2, 10, 5, 6)
    assert list(draws["parameter"].values) == list(NAMES)
    assert list(draws["process"].values) == list(PROCESS_NAMES)
    np.testing.assert_array_equal(draws["layer"], NODE_DEPTH[:20])
    assert {"longitude", "latitude"} <= set(draws.coords)
    assert posterior.scalar_names(tree) == ["soc_scale"]
    assert posterior.group(tree, "observed_data")["soc"].attrs["units"] == "g C m-3"
    assert {"depth", "bedrock_layer", "true_parameters", "true_processes"} == set(
        posterior.group(tree, "constant_data").data_vars
    )
    assert posterior.parts(tree)["held_out"].children["posterior"].sizes["site"] == 3


def test_all_methods_have_the_same_form(trees):
    forms = [
        {name: dict(node.dataset.dtypes) for name, node in tree.children.items() if name != "sample_stats"}
        for tree in trees.values()
    ]
    assert forms[0] == forms[1] == forms[2]
    assert "loss" in posterior.group(trees["vi"], "sample_stats")
    assert posterior.group(trees["vi"], "sample_stats")["loss"].dims == ("step",)


def test_padding_is_nan_and_nothing_else(tree_of, dataset_of, arrays_of, attrs_of):
    arrays = arrays_of(dataset_of(5), draws=3)
    arrays["soc_at_depth"] = np.nan_to_num(arrays["soc_at_depth"])  # a model may well compute something there
    tree = posterior.build(**arrays, attrs=attrs_of())
    padding = arrays["dataset"]["depth"].isnull().values
    for group, name in (("posterior", "soc_at_depth"), ("posterior_predictive", "soc")):
        np.testing.assert_array_equal(np.isnan(posterior.group(tree, group)[name][0, 0]), padding)


@pytest.mark.parametrize(
    "name",
    [
        "parameters",
        "soc_layer",
        "processes",
        "soc_at_depth",
        "soc_predictive",
        "log_likelihood",
        "scalars",
        "sample_stats",
    ],
)
def test_wrong_shape_is_refused(name, dataset_of, arrays_of, attrs_of):
    arrays = arrays_of(dataset_of(4), draws=3)
    wrong = np.zeros((1, 2, 4)) if name in ("scalars", "sample_stats") else arrays[name][..., :-1]
    arrays[name] = {"value": wrong} if name in ("scalars", "sample_stats") else wrong
    with pytest.raises(InputError, match="of shape") as error:
        posterior.build(**arrays, attrs=attrs_of())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["soc", "depth", "bedrock_layer"])
def test_missing_variable_is_refused(name, dataset_of, arrays_of, attrs_of):
    arrays = arrays_of(dataset_of(4), draws=3)
    arrays["dataset"] = arrays["dataset"].drop_vars(name)
    with pytest.raises(InputError, match=name):
        posterior.build(**arrays, attrs=attrs_of())


def test_draws_without_a_chain_are_refused(dataset_of, arrays_of, attrs_of):
    arrays = arrays_of(dataset_of(4), draws=3)
    arrays["parameters"] = arrays["parameters"][0]
    with pytest.raises(InputError, match="4 dimensions"):
        posterior.build(**arrays, attrs=attrs_of())


def test_scalar_with_the_name_of_a_variable_is_refused(dataset_of, arrays_of, attrs_of):
    arrays = arrays_of(dataset_of(4), draws=3)
    arrays["scalars"] = {"parameters": np.zeros((1, 3))}
    with pytest.raises(InputError, match="rename the scalar"):
        posterior.build(**arrays, attrs=attrs_of())


def test_attributes_are_plain(dataset_of, arrays_of, attrs_of):
    arrays = arrays_of(dataset_of(4), draws=3)
    attrs = attrs_of() | {"seed": np.int64(3), "markov_chain": False}
    tree = posterior.build(**arrays, attrs=attrs)
    assert [type(tree.attrs[name]) for name in ("seed", "markov_chain")] == [int, int]
    with pytest.raises(InputError, match="dict"):
        posterior.build(**arrays, attrs=attrs | {"settings": {"draws": 3}})
    with pytest.raises(InputError, match="markov_chain"):
        posterior.build(**arrays, attrs={"method": "vi"})


def test_held_out_sites_must_be_new(tree_of):
    tree = tree_of(sites=4)
    with pytest.raises(InputError, match="4 held-out sites that the fit has seen"):
        posterior.with_held_out(tree, tree)


def test_held_out_tree_has_no_sampler_statistics_but_its_attributes(tree_of):
    held_out = tree_of("nuts", held_out=3, chains=2, draws=4).children["held_out"]
    assert "sample_stats" not in held_out.children
    assert held_out.attrs["method"] == "nuts"


def test_missing_group_is_refused(tree_of):
    with pytest.raises(InputError, match="without the group 'prior'"):
        posterior.group(tree_of(draws=3), "prior")


def test_pooled_puts_chains_one_after_the_other(tree_of):
    draws = posterior.group(tree_of("nuts", chains=2, draws=4), "posterior")["processes"]
    pooled = posterior.pooled(draws.transpose("site", "process", "draw", "chain"))
    np.testing.assert_array_equal(pooled[4], draws[1, 0])


def test_round_trip(tree_of, tmp_path):
    tree = tree_of("nuts", held_out=3, chains=2, draws=10)
    path = posterior.save(tree, tmp_path / "posterior_nuts.nc")
    again = posterior.load(path)
    xr.testing.assert_identical(again, tree)
    assert [type(value) for value in again.attrs.values()] == [type(value) for value in tree.attrs.values()]
    assert [each.name for each in tmp_path.iterdir()] == ["posterior_nuts.nc"]


def test_saving_into_a_missing_folder_is_refused(tree_of, tmp_path):
    with pytest.raises(InputError, match="missing folder"):
        posterior.save(tree_of(draws=3), tmp_path / "nowhere" / "posterior.nc")


def test_a_failed_save_leaves_the_old_file(tree_of, tmp_path, monkeypatch):
    path = posterior.save(tree_of(draws=3), tmp_path / "posterior.nc")
    before = path.read_bytes()

    def fail(self, target, **_):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    with pytest.raises(OSError, match="disk full"):
        posterior.save(tree_of(draws=4), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_truncated_file_is_refused(share, tree_of, tmp_path):
    path = posterior.save(tree_of(draws=20), tmp_path / "posterior.nc")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match="unreadable file") as error:
        posterior.load(path)
    assert "\n" not in str(error.value)


def test_foreign_files_are_refused(tree_of, tmp_path):
    with pytest.raises(InputError, match="no file"):
        posterior.load(tmp_path / "missing.nc")
    (tmp_path / "text.nc").write_text("not a netCDF file")
    with pytest.raises(InputError, match="unreadable"):
        posterior.load(tmp_path / "text.nc")
    xr.Dataset({"soc": ("site", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="without posterior/parameters"):
        posterior.load(tmp_path / "other.nc")
    tree = tree_of(draws=3)
    del tree.attrs["markov_chain"]
    tree.to_netcdf(tmp_path / "unlabelled.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="markov_chain"):
        posterior.load(tmp_path / "unlabelled.nc")


def test_arviz_takes_it(tree_of):
    arviz = pytest.importorskip("arviz")
    tree = tree_of("nuts", held_out=3, chains=4, draws=50)
    container = posterior.to_arviz(tree)
    assert container.posterior["parameters"].shape == (4, 50, 6, 21)
    assert container.sample_stats["diverging"].sum() == 2
    assert "held_out" not in (getattr(container, "children", None) or container.groups())
    assert arviz.summary(container, var_names=["soc_scale"]).shape[0] == 1
    assert "held_out" in tree.children
