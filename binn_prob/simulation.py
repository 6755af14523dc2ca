"""Observations made up by a model at real or synthetic sites, with the truth behind them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from binn_prob.errors import InputError
from binn_prob.fitting import as_model

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["simulate"]


def simulate(
    model: Any, dataset: xr.Dataset, seed: int = 0, noise: float | None = None, like: xr.Dataset | None = None
) -> xr.Dataset:
    """Draw everything that a model leaves open from its prior, and observe what follows at the depths of real profiles.

    A posterior of the same model, fitted to what was simulated, is calibrated if the method is right: over many sites
    the true parameters have uniform ranks among its draws, and its 90 % intervals hold 90 % of them.  With independent
    sites (``"site"``) one such data set is as many replicates of simulation-based calibration as it has sites (Talts et
    al. 2018, arXiv:1804.06788).  With a network (``"binn"``) the truth is a smooth function of the covariates, the same
    draw of the weights at all sites, and so one replicate.  All this holds with the noise of the model's likelihood;
    with another ``noise`` the model is wrong about it, and ranks need not be uniform.

    Parameters
    ----------
    model
        Of :mod:`binn_prob.models`, e.g. ``SiteModel()``, or its word, e.g. ``"site"``.
    dataset : xarray.Dataset
        Sites whose forcing, covariates and depths are taken; their observations only say where there are any.
    seed : int
        Determines every random number.
    noise : float, optional
        Standard deviation of the logarithm of an observation about the model's value; 0 for none.  Default: the noise
        of the model's likelihood, its scale drawn from the prior too.
    like : xarray.Dataset, optional
        Sites by which the covariates are encoded, such as those that a model will learn from: its prior is one of
        encoded covariates, and another encoding makes another prior of the same network.  Default: those of
        ``dataset``.

    Returns
    -------
    xarray.Dataset
        See :mod:`binn_prob.data.schema`; with ``true_parameters`` (site, parameter), ``true_processes`` (site, process)
        and ``true_soc_layer`` (site, layer) [g C m-3].  Depths that the model's column does not reach, and observations
        that the likelihood has made zero or less, are left out and counted among the exclusions.

    Raises
    ------
    InputError
        If the sites are not what they must be, none has a depth to observe, or an argument is outside its range.
    """
    import jax
    from numpyro import handlers

    from binn_prob.clm5.parameters import NAMES
    from binn_prob.clm5.processes import PROCESS_NAMES
    from binn_prob.data import validate
    from binn_prob.data.schema import attach_units

    if noise is not None and not (np.isfinite(noise) and noise >= 0.0):
        raise InputError(f"noise {noise!r}", "a number of at least 0", "ask for e.g. noise=0.3")
    model, sites = as_model(model), validate(dataset)
    profiles = model.prepare(sites, model.encode(sites if like is None else validate(like)))
    if not np.asarray(profiles.mask).any():
        raise InputError("sites without observations", "profiles with depths to observe", "choose other sites")
    draw_key, noise_key = jax.random.split(jax.random.key(seed))
    traced = handlers.trace(handlers.seed(model, draw_key)).get_trace(profiles.without_observations())
    drawn = {name: np.asarray(site["value"]) for name, site in traced.items()}
    soc = drawn["soc"]
    if noise is not None:
        soc = drawn["soc_at_depth"] * np.exp(noise * np.asarray(jax.random.normal(noise_key, soc.shape)))
    kept, exclusions = _kept(sites, soc, np.asarray(profiles.mask))
    truth: dict[str, Any] = {
        "true_parameters": (("site", "parameter"), drawn["parameters"]),
        "true_processes": (("site", "process"), drawn["processes"]),
        "true_soc_layer": (("site", "layer"), drawn["soc_layer"]),
    }
    scatter = "its likelihood" if noise is None else f"noise {noise:g}"
    place = sites.attrs.get("name", "sites")
    source = f"drawn from the prior of {model.name} with {scatter}, seed {seed}, at the sites of {place}"
    made_up = sites.assign(
        soc=(("site", "observation"), np.where(kept, soc, np.nan)),
        depth=(("site", "observation"), np.where(kept, sites["depth"], np.nan)),
        **truth,
    ).assign_coords(parameter=list(NAMES), process=list(PROCESS_NAMES))
    attributes = {"name": f"simulated-{place}", "source": source, "exclusions": json.dumps(exclusions)}
    return attach_units(made_up.assign_attrs(attributes))


def _kept(
    sites: xr.Dataset, soc: NDArray[np.floating], reached: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return which observations (site, observation) there are, and how many were left out for which reason."""
    observed, positive = sites["soc"].notnull().to_numpy(), soc > 0.0
    exclusions = json.loads(sites.attrs.get("exclusions", "{}"))
    left_out = {"observations below bedrock": observed & ~reached, "simulated SOC not positive": reached & ~positive}
    for reason, where in left_out.items():
        if where.any():
            exclusions[reason] = exclusions.get(reason, 0) + int(where.sum())
    return reached & positive, exclusions
