"""What of published sites cannot be used, by reason: left out, counted, and written into ``attrs["exclusions"]``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from binn_prob.clm5.forcing import DIMENSIONS
from binn_prob.data.observations import below_bedrock, left_packed
from binn_prob.data.schema import validate

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MAXIMUM_SOC", "usable"]

MAXIMUM_SOC = 200_000.0
"""Observations above this are taken for errors [g C m-3]: pure organic matter holds 150,000 to 200,000."""


def usable(dataset: xr.Dataset, *, observed: bool = True) -> xr.Dataset:
    """Leave out what cannot be used, reason by reason, and count it.

    Parameters
    ----------
    dataset : xarray.Dataset
        See :mod:`binn_prob.data.schema`; missing forcing and continuous covariates are NaN, missing categories -1, a
        missing bedrock layer 0.  What ``attrs["exclusions"]`` counts already is kept.
    observed : bool
        Whether the sites have observations, and must have one.

    Returns
    -------
    xarray.Dataset
        Valid: without sites that lack covariates or forcing, observations of zero SOC, above :data:`MAXIMUM_SOC` or
        below bedrock, and sites then left without observation.

    Raises
    ------
    InputError
        If what is left breaks the contract.
    """
    counts: dict[str, int] = json.loads(dataset.attrs.get("exclusions", "{}"))
    for reason, test in _SITE_REASONS.items():
        wrong = test(dataset).to_numpy()
        counts[reason] = int(wrong.sum())
        dataset = dataset.isel(site=~wrong)
    if observed:
        for reason, test in _OBSERVATION_REASONS.items():
            excluded = test(dataset)
            counts[reason] = int(excluded.sum())
            dataset = dataset.assign({name: dataset[name].where(~excluded) for name in ("soc", "depth")})
        unobserved = dataset["soc"].isnull().all("observation").to_numpy()
        counts["sites without observation"] = int(unobserved.sum())
        dataset = left_packed(dataset.isel(site=~unobserved))
    return validate(dataset.assign_attrs(exclusions=json.dumps(counts)))


def _missing_covariates(dataset: xr.Dataset) -> xr.DataArray:
    missing = dataset["continuous"].isnull().any("continuous_covariate")
    return missing | (dataset["categorical"] < 0).any("categorical_covariate")


def _missing_forcing(dataset: xr.Dataset) -> xr.DataArray:
    missing = dataset["bedrock_layer"] < 1
    for name, dimensions in DIMENSIONS.items():
        missing = missing | dataset[name].isnull().any(dimensions[1:])
    return missing


_Test = Callable[["xr.Dataset"], "xr.DataArray"]
_SITE_REASONS: dict[str, _Test] = {
    "sites with missing covariates": _missing_covariates,
    "sites with missing forcing": _missing_forcing,
}
_OBSERVATION_REASONS: dict[str, _Test] = {
    "observations of zero SOC": lambda dataset: dataset["soc"] == 0,
    f"observations of implausible SOC, above {MAXIMUM_SOC:.0f} g C m-3": lambda dataset: dataset["soc"] > MAXIMUM_SOC,
    "observations below bedrock": below_bedrock,
}
