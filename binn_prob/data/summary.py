"""What a Dataset is in one line, and in one table."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["describe", "fingerprint"]


def fingerprint(dataset: xr.Dataset) -> str:
    """Return the SHA-256 of a Dataset's names, dimensions and values, as 64 hexadecimal digits.

    Neither the order of the variables or dimensions nor the width of the numbers matters, nor do attributes: a Dataset
    written to a file and read again has the same fingerprint.
    """
    digest = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset[name]
        dimensions = sorted(map(str, variable.dims))
        values = variable.transpose(*dimensions).to_numpy()
        digest.update(json.dumps([name, dimensions, list(values.shape)]).encode())
        digest.update(_canonical(values))
    return digest.hexdigest()


def _canonical(values: NDArray[np.generic]) -> bytes:
    """Return the same bytes for the same values whatever their type: numbers as float64, all else as text."""
    if values.dtype.kind not in "biuf":
        return json.dumps([str(value) for value in values.ravel()]).encode()
    numbers = np.ascontiguousarray(values, dtype="<f8") + 0.0  # the sum turns -0 into 0
    return np.where(np.isnan(numbers), np.nan, numbers).tobytes()


def describe(dataset: xr.Dataset) -> pd.DataFrame:
    """Summarise a Dataset: sites, observations, distribution of SOC and depth, exclusions.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``quantity``, with the columns ``value`` and ``unit``.
    """
    import pandas as pd

    soc, depth = dataset["soc"].to_numpy(), dataset["depth"].to_numpy()
    observed = np.isfinite(soc)
    unknown = np.isnan(dataset["continuous"].to_numpy()).any(axis=1)
    unknown |= (dataset["categorical"].to_numpy() < 0).any(axis=1)
    locations = np.unique(np.column_stack([dataset["longitude"], dataset["latitude"]]), axis=0)
    rows: list[tuple[str, float, str]] = [
        ("sites", dataset.sizes["site"], ""),
        ("distinct locations", len(locations), ""),
        ("observations", int(observed.sum()), ""),
        ("sites without observation", int((~observed.any(axis=1)).sum()), ""),
        ("most observations at a site", int(observed.sum(axis=1).max(initial=0)), ""),
        ("sites with unknown covariates", int(unknown.sum()), ""),
        ("continuous covariates", dataset.sizes["continuous_covariate"], ""),
        ("categorical covariates", dataset.sizes["categorical_covariate"], ""),
    ]
    if observed.any():
        rows += [("deepest observation", float(depth[observed].max()), "m")]
        quantiles = {percent: float(np.percentile(soc[observed], percent)) for percent in (5, 25, 50, 75, 95)}
        rows += [(f"SOC, {percent} % quantile", value, "g C m-3") for percent, value in quantiles.items()]
    exclusions = json.loads(dataset.attrs.get("exclusions", "{}"))
    rows += [(f"excluded {reason}", count, "") for reason, count in exclusions.items()]
    return pd.DataFrame(rows, columns=["quantity", "value", "unit"]).set_index("quantity")
