"""What every model does with parameters: solve the soil columns and say what they hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array

from binn_prob.clm5 import (
    INTERFACE_DEPTH,
    Forcing,
    SoilColumn,
    at_depth,
    prepare,
    processes_of,
    soil_organic_carbon,
    solve,
)
from binn_prob.models.encoding import Covariates
from binn_prob.sharding import over_sites

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.clm5.transport import Column

__all__ = ["Profiles", "soil_organic_carbon_profiles"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Profiles:
    """Sites as a model reads them: a pytree of arrays, made once per Dataset."""

    soil: SoilColumn
    depth: Array
    """(site, observation) depth of the observations, any depth in the padding [m]"""
    mask: Array
    """(site, observation) whether there is an observation, in the column and not below it"""
    bedrock_layer: Array
    """(site,) number of soil layers to which depths are confined"""
    soc: Array | None
    """(site, observation) observed carbon, 1 in the padding; None when it is to be predicted [g C m-3]"""
    covariates: Covariates | None = None
    weights: Array | None = None
    """(site, observation) what the likelihood makes of each observation before any fit, see
    :mod:`binn_prob.models.likelihoods`; None where all count alike"""

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset, column: Column, covariates: Covariates | None = None) -> Profiles:
        """Prepare a Dataset.

        Raises
        ------
        InputError
            If the forcing is incomplete or there is no such column.
        """
        forcing = Forcing.from_dataset(dataset)
        depth = dataset["depth"].transpose("site", "observation").to_numpy()
        soc = dataset["soc"].transpose("site", "observation").to_numpy()
        soil = prepare(forcing, column)
        layers = np.asarray(soil.active).sum(axis=0)
        in_column = depth <= INTERFACE_DEPTH[layers - 1, None]
        return cls(
            soil=soil,
            depth=jnp.asarray(np.nan_to_num(depth, nan=0.0)),
            mask=jnp.asarray(in_column & np.isfinite(soc)),
            bedrock_layer=jnp.asarray(layers),
            soc=jnp.asarray(np.nan_to_num(soc, nan=1.0)),
            covariates=covariates,
        )

    @property
    def sites(self) -> int:
        """Number of sites."""
        return int(self.depth.shape[0])

    def take(self, sites: Array) -> Profiles:
        """Return some of the sites, by their positions (site,), which may be traced."""
        rest = jax.tree.map(lambda leaf: jnp.take(leaf, sites, axis=0), {**vars(self), "soil": None})
        soil = jax.tree.map(lambda leaf: jnp.take(leaf, sites, axis=-1), self.soil)  # the site is its last axis
        return Profiles(**{**rest, "soil": soil})

    def without_observations(self) -> Profiles:
        """Return the same sites with their carbon to be predicted."""
        return replace(self, soc=None)


def soil_organic_carbon_profiles(parameters: Array, profiles: Profiles) -> Array:
    """Solve the columns and record what every model reports.

    The deterministic sites are ``parameters`` (site, parameter) in physical units, ``soc_layer`` (site, layer)
    [g C m-3], ``processes`` (site, process) and ``soc_at_depth`` (site, observation) [g C m-3].

    Returns
    -------
    array (site, observation) [g C m-3]
    """
    parameters = numpyro.deterministic("parameters", parameters)
    soc_layer, processes, soc_at_depth = _soil(parameters, profiles.depth, profiles.bedrock_layer, profiles.soil)
    numpyro.deterministic("soc_layer", soc_layer)
    numpyro.deterministic("processes", processes)
    return numpyro.deterministic("soc_at_depth", soc_at_depth)


@jax.jit  # where NumPyro runs a model step by step, this is one step
@partial(over_sites, axes=(0, 0, 0, -1))
def _soil(parameters: Array, depth: Array, bedrock_layer: Array, soil: SoilColumn) -> tuple[Array, Array, Array]:
    """Return carbon by layer, processes and carbon at the depths of the observations."""
    pools = solve(parameters, soil)
    soc = soil_organic_carbon(pools)
    return soc, processes_of(parameters, pools, soil), at_depth(soc, depth, bedrock_layer)
