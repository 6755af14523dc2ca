"""Draws of a posterior as one tree with the same names, dimensions and coordinates whatever the method.

This is the only place that builds such a tree.  The groups carry ArviZ's names, so every tool for Markov chain Monte
Carlo reads them.  A child ``held_out`` is a tree of the same form for sites that the fit has not seen.

====================  ==========================================  =======  ==========================================
group                 variable                                    unit     meaning
====================  ==========================================  =======  ==========================================
posterior             parameters (chain, draw, site, parameter)   by name  physical parameters of CLM5
posterior             soc_layer (chain, draw, site, layer)        g C m-3  modelled soil organic carbon
posterior             processes (chain, draw, site, process)      by name  the six processes
posterior             soc_at_depth (…, site, observation)         g C m-3  modelled carbon at the observed depths
posterior             any scalar (chain, draw) or (…, site)       1        such as the scale of the likelihood
posterior_predictive  soc (chain, draw, site, observation)        g C m-3  with the noise of an observation
log_likelihood        soc (chain, draw, site, observation)        1        log density of each observation, given a draw
unconstrained_…       latent sites of the model (chain, draw, …)  1        what was sampled, such as a network's weights
sample_stats          by method (chain, draw) or (step,)                   diagnostics of the sampler or the training
observed_data         soc (site, observation)                     g C m-3  what was observed
constant_data         depth (site, observation)                   m        where; also bedrock_layer and, of synthetic
                                                                           sites, true_parameters and true_processes
====================  ==========================================  =======  ==========================================

The group of the latent sites is called ``unconstrained_posterior``; from it :func:`binn_prob.load_fit` predicts other
sites.  Arrays with the dimension ``observation`` are NaN where a site has fewer observations than the longest profile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from binn_prob.clm5.layers import LAYERS, NODE_DEPTH
from binn_prob.clm5.parameters import NAMES, PARAMETERS, ranges
from binn_prob.clm5.processes import PROCESS_NAMES, PROCESSES
from binn_prob.errors import InputError
from binn_prob.results.storage import load, save

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "ATTRIBUTES", "HELD_OUT", "LATENTS", "PROCESS_NAMES", "build", "decoded", "group", "is_markov_chain", "load",
    "parameter_ranges", "parts", "pooled", "save", "scalar_names", "to_arviz", "with_held_out",
]  # fmt: skip

HELD_OUT = "held_out"
"""Name of the child that holds the tree of the held-out sites."""

LATENTS = "unconstrained_posterior"
"""Name of the group of the latent sites, as ArviZ calls what is sampled before it is transformed."""


ATTRIBUTES = (
    "method", "model", "settings", "seed", "versions", "device", "precision", "wall_seconds", "git_commit", "created",
    "binn_prob_version", "markov_chain", "data_fingerprint", "gradients", "peak_memory", "prediction",
)  # fmt: skip
"""Attributes of the root.  ``method`` and ``markov_chain`` are required; the rest is reported where it is there."""

_DRAWN = ("chain", "draw")
_OBSERVED = ("site", "observation")
_POSTERIOR = {
    "parameters": ("site", "parameter"),
    "soc_layer": ("site", "layer"),
    "processes": ("site", "process"),
    "soc_at_depth": _OBSERVED,
}
_CONSTANTS = {
    "depth": _OBSERVED, "bedrock_layer": ("site",), "true_parameters": ("site", "parameter"),
    "true_processes": ("site", "process"),
}  # fmt: skip
_SOC = {"units": "g C m-3"}


def build(
    *,
    parameters: ArrayLike,
    soc_layer: ArrayLike,
    processes: ArrayLike,
    soc_at_depth: ArrayLike,
    soc_predictive: ArrayLike,
    log_likelihood: ArrayLike,
    scalars: Mapping[str, ArrayLike],
    sample_stats: Mapping[str, ArrayLike],
    dataset: xr.Dataset,
    attrs: Mapping[str, Any],
    latents: Mapping[str, xr.DataArray] | None = None,
) -> xr.DataTree:
    """Build the tree of a posterior from its draws.

    Parameters
    ----------
    parameters : array of shape (chain, draw, site, parameter)
        Physical parameters, in the units of :data:`binn_prob.clm5.parameters.PARAMETERS`.
    soc_layer : array of shape (chain, draw, site, layer)
        Soil organic carbon of each layer [g C m-3].
    processes : array of shape (chain, draw, site, process)
        In the units of :data:`binn_prob.clm5.processes.PROCESSES`.
    soc_at_depth : array of shape (chain, draw, site, observation)
        Soil organic carbon at the observed depths, without noise [g C m-3].
    soc_predictive : array of shape (chain, draw, site, observation)
        The same with the noise of an observation [g C m-3].
    log_likelihood : array of shape (chain, draw, site, observation)
        Log density of each observation in the predictive distribution given a draw [log of 1 / (g C m-3)].
    scalars : mapping of arrays of shape (chain, draw) or (chain, draw, site)
        Parameters that all sites share, or one number per site, such as ``soc_scale``.
    sample_stats : mapping of arrays of shape (chain, draw), (chain, draw, site), (site,) or (step,)
        Diagnostics by draw (``diverging``, …), where sites have chains of their own also by site, or by training step
        (``loss``).  Empty: the group is left out.
    dataset : xarray.Dataset
        The sites: ``soc``, ``depth``, ``bedrock_layer``, the coordinates of ``site``; if known ``true_parameters`` and
        ``true_processes``.
    attrs : mapping
        Attributes of the root, see :data:`ATTRIBUTES`: text and numbers only.
    latents : mapping of xarray.DataArray, optional
        Latent sites of the model, each (chain, draw, …), with the dimension ``site`` if it has one row per site.  None:
        the group is left out.

    Returns
    -------
    xarray.DataTree
        As in the table at the top of this module.

    Raises
    ------
    InputError
        If an array has another shape, a variable or a required attribute is missing, or an attribute is neither text
        nor a number.
    """
    sizes = _sizes(np.asarray(parameters), dataset)
    vectors = {"parameters": parameters, "soc_layer": soc_layer, "processes": processes, "soc_at_depth": soc_at_depth}
    for name in set(scalars) & set(vectors):
        raise InputError(f"a scalar called {name!r}", "names of their own", "rename the scalar")
    posterior = {name: _variable(name, array, _DRAWN + _POSTERIOR[name], sizes) for name, array in vectors.items()}
    for name, array in scalars.items():
        per_site = np.ndim(array) == len(_DRAWN) + 1
        posterior[name] = _variable(name, array, (*_DRAWN, "site") if per_site else _DRAWN, sizes)
    predictive = _variable("soc_predictive", soc_predictive, _DRAWN + _OBSERVED, sizes)
    likely = _variable("log_likelihood", log_likelihood, _DRAWN + _OBSERVED, sizes)
    observed = dataset["depth"].transpose(*_OBSERVED).notnull().to_numpy()
    measured = dataset["soc"].transpose(*_OBSERVED).notnull().to_numpy()
    posterior["soc_at_depth"] = posterior["soc_at_depth"].where(observed)
    groups = {
        "posterior": posterior,
        "posterior_predictive": {"soc": predictive.where(observed)},
        "log_likelihood": {"soc": likely.where(measured)},
        LATENTS: dict(latents or {}),
        "sample_stats": {name: _statistic(name, array, sizes) for name, array in sample_stats.items()},
        "observed_data": {"soc": _taken(dataset, "soc", _OBSERVED)},
        "constant_data": {name: _taken(dataset, name, dims) for name, dims in _CONSTANTS.items() if name in dataset},
    }
    labels = _coordinates(dataset, sizes)
    tree = xr.DataTree.from_dict({name: _labelled(held, labels) for name, held in groups.items() if held})
    # Where the data come from and what was left out belongs beside the observations, for whoever reads the file alone.
    tree.children["observed_data"].attrs = {
        name: str(dataset.attrs[name]) for name in ("name", "source", "exclusions") if name in dataset.attrs
    }
    tree.attrs = _plain(attrs)
    return tree


def with_held_out(tree: xr.DataTree, held_out: xr.DataTree) -> xr.DataTree:
    """Return a copy of ``tree`` with the tree of the held-out sites as its child, without its latents and sample_stats.

    Raises
    ------
    InputError
        If a held-out site is also a site of the fit.
    """
    shared = set(group(tree, "posterior")["site"].values) & set(group(held_out, "posterior")["site"].values)
    if shared:
        got = f"{len(shared)} held-out sites that the fit has seen, such as {min(map(str, shared))}"
        raise InputError(got, "sites of which none was fitted", "split the dataset with binn_prob.data.split")
    combined = tree.copy()
    combined[HELD_OUT] = _without(held_out, "sample_stats", LATENTS)
    return combined


def parts(tree: xr.DataTree) -> dict[str, xr.DataTree]:
    """Return the tree of the fitted sites as ``train`` and, where there is one, that of the others as ``held_out``."""
    return {"train": tree} | ({HELD_OUT: tree.children[HELD_OUT]} if HELD_OUT in tree.children else {})


def group(tree: xr.DataTree, name: str) -> xr.Dataset:
    """Return one group as a Dataset.

    Raises
    ------
    InputError
        If the tree has no such group.
    """
    if name not in tree.children:
        raise InputError(f"a tree without the group {name!r}", "a tree made by binn_prob", "fit or load it again")
    return tree.children[name].to_dataset()


def decoded(attribute: object) -> dict[str, Any]:
    """Return what an attribute such as ``settings`` holds as JSON; empty if it holds no JSON object."""
    try:
        value = json.loads(str(attribute))
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def is_markov_chain(tree: xr.DataTree) -> bool:
    """Say whether the draws form Markov chains; those of variational inference and dropout are independent."""
    return bool(tree.attrs["markov_chain"])


def scalar_names(tree: xr.DataTree) -> list[str]:
    """Return the names of the posterior's variables with one value per draw, or one per draw and site."""
    shapes = (_DRAWN, (*_DRAWN, "site"))
    return [str(name) for name, values in group(tree, "posterior").items() if values.dims in shapes]


def parameter_ranges(tree: xr.DataTree) -> np.ndarray:
    """Return the ranges of the parameters in the model that was fitted, (parameter, 2), in their own units."""
    model = decoded(tree.attrs.get("settings")).get("model", {})
    return ranges(model.get("ranges", "binn"))


def pooled(draws: xr.DataArray) -> np.ndarray:
    """Return the draws of all chains together, shape (draws, …)."""
    values = draws.transpose(*_DRAWN, ...).to_numpy()
    return values.reshape(-1, *values.shape[2:])


def to_arviz(tree: xr.DataTree) -> Any:
    """Return the fitted sites in the container of the installed ArviZ: InferenceData before 1.0, else a DataTree."""
    import arviz

    fitted = _without(tree, HELD_OUT)
    return arviz.from_datatree(fitted) if arviz.__version__.startswith("0.") else fitted


def _without(tree: xr.DataTree, *names: str) -> xr.DataTree:
    """Return a tree of the same groups and attributes but some."""
    kept = xr.DataTree.from_dict({key: one.to_dataset() for key, one in tree.children.items() if key not in names})
    kept.attrs = dict(tree.attrs)
    return kept


def _sizes(parameters: np.ndarray, dataset: xr.Dataset) -> dict[str, int]:
    """Return the length of every dimension, as the dataset and the parameters have them."""
    for name in ("soc", "depth", "bedrock_layer"):
        if name not in dataset:
            raise InputError(
                f"a dataset without {name!r}", "soc, depth and bedrock_layer", "validate the dataset first"
            )
    if parameters.ndim != 4:
        expected = "4 dimensions (chain, draw, site, parameter)"
        raise InputError(f"parameters of shape {parameters.shape}", expected, "keep chains and draws apart")
    sizes = {"chain": parameters.shape[0], "draw": parameters.shape[1]}
    sizes |= {dimension: dataset.sizes[dimension] for dimension in _OBSERVED}
    return sizes | {"parameter": len(NAMES), "process": len(PROCESS_NAMES), "layer": LAYERS}


def _variable(name: str, array: ArrayLike, dimensions: tuple[str, ...], sizes: Mapping[str, int]) -> xr.DataArray:
    """Return an array with its dimensions and unit, once its shape is right."""
    values = np.asarray(array)
    expected = tuple(sizes[dimension] for dimension in dimensions)
    if values.shape != expected:
        wanted = f"({', '.join(dimensions)}) = {expected}"
        raise InputError(f"{name} of shape {values.shape}", wanted, "give one value for each of them")
    carbon = name in ("soc_layer", "soc_at_depth", "soc_predictive")
    return xr.DataArray(values, dims=dimensions, attrs=_SOC if carbon else {})


def _statistic(name: str, array: ArrayLike, sizes: Mapping[str, int]) -> xr.DataArray:
    """Return a diagnostic by draw, by draw and site, by site, or, if it is the ``loss``, by training step."""
    values = np.asarray(array)
    if name == "loss":
        return xr.DataArray(values, dims="step", coords={"step": np.arange(len(values))})
    dimensions = {1: ("site",), 3: (*_DRAWN, "site")}.get(values.ndim, _DRAWN)
    return _variable(name, values, dimensions, sizes)


def _taken(dataset: xr.Dataset, name: str, dimensions: tuple[str, ...]) -> xr.DataArray:
    """Return a variable of the dataset without its coordinates, which the tree has of its own."""
    values = dataset[name].transpose(*dimensions)
    return xr.DataArray(values.to_numpy(), dims=dimensions, attrs=dict(values.attrs))


def _coordinates(dataset: xr.Dataset, sizes: Mapping[str, int]) -> dict[str, xr.DataArray]:
    """Return the coordinates of every dimension, and where the sites lie."""
    labels: dict[str, ArrayLike] = {name: np.arange(sizes[name]) for name in ("chain", "draw", "observation")}
    labels |= {"site": dataset["site"].to_numpy(), "layer": NODE_DEPTH[:LAYERS]}
    labels |= {"parameter": np.array(NAMES), "process": np.array(PROCESS_NAMES)}
    arrays = {name: xr.DataArray(values, dims=name) for name, values in labels.items()}
    arrays["layer"].attrs["units"] = "m"
    arrays["parameter_unit"] = xr.DataArray([row.unit for row in PARAMETERS], dims="parameter")
    arrays["process_unit"] = xr.DataArray([row.unit for row in PROCESSES], dims="process")
    return arrays | {
        name: _taken(dataset, name, ("site",)) for name in ("longitude", "latitude") if name in dataset.coords
    }


def _labelled(variables: Mapping[str, xr.DataArray], labels: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Return the variables of a group with the coordinates of the dimensions that they have."""
    data = xr.Dataset(dict(variables))
    return data.assign_coords({name: label for name, label in labels.items() if set(label.dims) <= set(data.dims)})


def _plain(attrs: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Return attributes as text and numbers, which every reader of netCDF understands."""
    for name in ("method", "markov_chain"):
        if name not in attrs:
            raise InputError(f"a tree without the attribute {name!r}", "method and markov_chain", "add it to attrs")
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in attrs.items()}
    for name, value in plain.items():
        if not isinstance(value, str | int | float):
            raise InputError(
                f"attribute {name!r} of type {type(value).__name__}", "text or a number", "write it as JSON"
            )
    return {name: int(value) if isinstance(value, bool) else value for name, value in plain.items()}
