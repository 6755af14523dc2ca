"""Fits as runs have left them, made anew to predict other sites."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from binn_prob.errors import InputError

if TYPE_CHECKING:
    import jax
    import numpy as np
    import xarray as xr

    from binn_prob.inference import Fit, Model

__all__ = ["load_fit", "run_file"]


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
    import jax
    import jax.numpy as jnp

    from binn_prob import data
    from binn_prob.inference import Fit
    from binn_prob.record import recorded_verdict
    from binn_prob.results import storage
    from binn_prob.results.convergence import verdict
    from binn_prob.results.posterior import LATENTS, decoded, group, is_markov_chain
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
    how = decoded(tree.attrs.get("prediction", ""))
    if not how:
        raise InputError(f"{path}, from which nothing can be predicted", "a posterior written by a run", "fit it again")
    return Fit(
        method=methods[word],
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
        judged=recorded_verdict(folder, word) or verdict(tree),  # thousands of sites take minutes to judge
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
