"""Fits as runs have left them, made anew to predict other sites."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from binn_prob.errors import InputError

if TYPE_CHECKING:
    import jax
    import numpy as np
    import xarray as xr

    from binn_prob.inference import Fit, Model
    from binn_prob.results.convergence import Verdict

__all__ = ["from_tree", "load_fit", "run_file"]


def load_fit(folder: str | Path, method: str | None = None) -> Fit:
    """Return a fit that a run has left, made anew from its draws, ready to predict other sites.

    Parameters
    ----------
    folder : path
        Of a run: its ``settings.yaml`` and ``posterior_<method>.nc``.
    method : str, optional
        Word of the method.  Default: the reference of the run, else its first method.

    Returns
    -------
    Fit
        With the draws as they were saved, and the verdict on them, as the run has recorded it if it has; what it
        predicts is what the fit would have predicted, to the last bit on the same machine.

    Raises
    ------
    InputError
        If a file is missing or damaged, there is no such method, or the data have changed since.
    """
    from binn_prob import data
    from binn_prob.record import recorded_verdict
    from binn_prob.results import storage
    from binn_prob.results.convergence import verdict
    from binn_prob.results.posterior import decoded
    from binn_prob.settings import Settings
    from binn_prob.sites import chosen

    settings = Settings.from_yaml(run_file(folder, "settings.yaml"))
    model, methods = settings.build_model(), settings.build_methods()
    word = method or settings.reference or next(iter(methods))
    if word not in methods:
        raise InputError(f"method {word!r} of {folder}", f"one of {', '.join(methods)}", "choose one of them")
    path = run_file(folder, f"posterior_{word}.nc")
    tree, train = storage.load(path), chosen(settings).train
    if tree.attrs.get("data_fingerprint") != data.fingerprint(train):
        cure = "bring the data back as they were, or run the fit again"
        raise InputError(f"{path}, fitted to other data", "a posterior of the data that are there now", cure)
    if not decoded(tree.attrs.get("prediction", "")):
        raise InputError(f"{path}, from which nothing can be predicted", "a posterior written by a run", "fit it again")
    judged = recorded_verdict(folder, word) or verdict(tree)  # thousands of sites take minutes to judge
    return from_tree(tree, model, methods[word], train, judged)


def from_tree(tree: xr.DataTree, model: Any, method: Any, train: xr.Dataset, judged: Verdict) -> Fit:
    """Return the fit that has left a posterior.

    Parameters
    ----------
    tree : xarray.DataTree
        The posterior; what follows from the latent sites is not read.
    model, method
        With which it was fitted.
    train : xarray.Dataset
        The sites to which it was fitted.
    judged : Verdict
        On the posterior.
    """
    import jax
    import jax.numpy as jnp

    from binn_prob import data
    from binn_prob.inference import Fit
    from binn_prob.results.posterior import LATENTS, decoded, group, is_markov_chain

    how = decoded(tree.attrs.get("prediction", ""))
    return Fit(
        method=method,
        model=model,
        dataset=train,
        encoding=model.encode(train),
        draws=_draws(group(tree, LATENTS), model, train),
        key=jax.random.wrap_key_data(jnp.asarray(how["key"], dtype=jnp.uint32)),
        wall_seconds=float(tree.attrs.get("wall_seconds", math.nan)),
        gradients=float(tree.attrs.get("gradients", math.nan)),
        markov_chain=is_markov_chain(tree),
        sample_stats=_statistics(tree, train),  # type: ignore[arg-type]
        options=how["options"],
        attributes={str(name): value for name, value in tree.attrs.items()},  # those of the fit itself
        check=data.validate,
        judged=judged,
    )


def run_file(folder: str | Path, name: str) -> Path:
    """Return the path of a file in the folder of a run.

    Raises
    ------
    InputError
        If it is not there.
    """
    path = Path(folder) / name
    if not path.is_file():
        expected = "the folder of a run, such as 'binn-prob fit --out run' leaves"
        raise InputError(f"{folder}, where there is no {name}", expected, "correct the folder, or finish that run")
    return path


def _statistics(tree: xr.DataTree, train: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the diagnostics as a fit holds them."""
    if "sample_stats" not in tree.children:
        return {}
    held = tree.children["sample_stats"].to_dataset()
    held = held.sel(site=train["site"]) if "site" in held.dims else held
    ordered = held.transpose("chain", "draw", ..., missing_dims="ignore")
    return {str(name): values.to_numpy() for name, values in ordered.items()}


def _draws(latents: xr.Dataset, model: Model, train: xr.Dataset) -> dict[str, jax.Array]:
    """Return the latent sites as a fit holds them, their rows in the order of the fitted sites."""
    import jax.numpy as jnp

    rows = {name: {"site": train["site"]} if name in model.site_latents else {} for name in latents.data_vars}
    ordered = {str(name): latents[name].sel(rows[name]) for name in latents.data_vars}
    return {name: jnp.asarray(values.transpose("chain", "draw", ...).to_numpy()) for name, values in ordered.items()}
