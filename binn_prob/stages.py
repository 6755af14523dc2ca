"""From one stage to the next: fits of independent sites as runs have left them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from binn_prob.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.inference import Fit

__all__ = ["first_stage", "restricted", "run_file"]

_EDGE = 1e-9
"""Distance from the ends of its range at which a parameter is taken to lie when rounding has put it there [1]."""


def first_stage(folder: str | Path) -> Fit:
    """Return the fit of independent sites that a run has left, made anew from its draws.

    Parameters
    ----------
    folder : path
        Of a run: its ``settings.yaml`` and the posterior of its reference, or of its first method.

    Returns
    -------
    Fit
        With the parameters and the error scales as they were drawn, up to rounding, and the verdict on them.

    Raises
    ------
    InputError
        If a file is missing or damaged, the sites are not independent, or the data have changed since.
    """
    from binn_prob import data
    from binn_prob.results import storage
    from binn_prob.settings import Settings

    settings = Settings.from_yaml(run_file(folder, "settings.yaml"))
    model, methods = settings.build_model(), settings.build_methods()
    if model.has_network:
        got = f"{folder}, a run of the model {model.name!r}, whose sites share a network"
        raise InputError(got, "a run of independent sites", "run  binn-prob fit --model site --method site_nuts  first")
    word = settings.reference or next(iter(methods))
    path = run_file(folder, f"posterior_{word}.nc")
    tree = storage.load(path)
    sites = data.validate(data.load(**settings.data.model_dump()))
    if tree.attrs.get("data_fingerprint") != data.fingerprint(sites):
        cure = "bring the data back as they were, or run the first stage again"
        raise InputError(f"{path}, fitted to other data", "a posterior of the data that are there now", cure)
    return _made_anew(tree, model, methods[word], sites)


def run_file(folder: str | Path, name: str) -> Path:
    """Return the path of a file in the folder of a run.

    Raises
    ------
    InputError
        If it is not there.
    """
    path = Path(folder) / name
    if not path.is_file():
        expected = "the folder of a run, such as that of 'binn-prob fit --model site --method site_nuts'"
        raise InputError(f"first stage {folder}, where there is no {name}", expected, "correct it, or finish that run")
    return path


def restricted(first: Fit, dataset: xr.Dataset) -> Fit:
    """Return a fit of independent sites, of some of them only; the verdict remains that on all.

    Raises
    ------
    InputError
        If one of them was not fitted.
    """
    rows = first.dataset.indexes["site"].get_indexer(dataset.indexes["site"])
    if (rows < 0).any():
        missing = ", ".join(map(str, dataset["site"].to_numpy()[rows < 0][:5]))
        cure = "choose the same data in both stages"
        raise InputError(f"sites without a first stage, such as {missing}", "sites that were fitted in it", cure)
    draws = {name: values[:, :, rows] for name, values in first.draws.items()}
    return replace(first, dataset=dataset, draws=draws, sample_stats={}, judged=first.verdict)


def _made_anew(tree: xr.DataTree, model: Any, method: Any, sites: xr.Dataset) -> Fit:
    """Return the fit whose posterior a tree is."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import ndtri

    from binn_prob.clm5.parameters import NAMES, unit
    from binn_prob.inference import Fit
    from binn_prob.results.convergence import verdict
    from binn_prob.results.posterior import group, is_markov_chain

    drawn = group(tree, "posterior").sel(site=sites["site"])
    values = drawn["parameters"].transpose("chain", "draw", "site", "parameter").to_numpy()
    units = unit(values, model.ranges)[..., np.array([NAMES.index(name) for name in model.free])]
    draws = {"offsets": ndtri(jnp.clip(units, _EDGE, 1.0 - _EDGE))}
    if "soc_scale" in drawn:
        draws["soc_scale"] = jnp.asarray(drawn["soc_scale"].transpose("chain", "draw", "site").to_numpy())
    kept: dict[str, str | int | float] = {
        name: tree.attrs[name] for name in ("seed", "data_fingerprint") if name in tree.attrs
    }
    return Fit(
        method=method,
        model=model,
        dataset=sites,
        encoding=None,
        draws=draws,
        key=jax.random.key(int(kept.get("seed", 0))),
        wall_seconds=float(tree.attrs.get("wall_seconds", 0.0)),
        gradients=float(tree.attrs.get("gradients", math.nan)),
        markov_chain=is_markov_chain(tree),
        attributes=kept,
        judged=verdict(tree),
    )
