"""The published soil profiles of New York State: 1,406 WoSIS profiles with their covariates and CLM5 forcing.

The files are those of the BINN demonstration (Xu et al. 2025, arXiv 2502.00672), read as they stand: units are not
converted, columns keep their published names.  :func:`fetch` downloads them; :func:`read` returns the profiles and
:func:`read_grid` the 132 half-degree cells of the state for maps.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import xarray as xr

from binn_prob.data.download import cache_folder, download
from binn_prob.data.exclusions import MAXIMUM_SOC, usable
from binn_prob.data.new_york_tables import GRID, PROFILES, Files, read_sites, read_table
from binn_prob.data.observations import left_packed
from binn_prob.data.schema import attach_units

__all__ = ["ENVIRONMENT_VARIABLE", "MAXIMUM_SOC", "REGISTRY", "URL", "data_folder", "fetch", "read", "read_grid"]

_COMMIT = "a1c5e0e0383f23bb344c77e693a99c68c4bc1abe"
URL = f"https://raw.githubusercontent.com/Hardyxu8067/BINN_Demo/{_COMMIT}/Input_Data/"
"""Where the published files are downloaded from."""

REGISTRY = Path(__file__).with_name("new_york_registry.txt")
"""Relative path and SHA-256 of each published file."""

ENVIRONMENT_VARIABLE = "BINN_PROB_DATA"
"""Names the folder that holds ``Training_Data/`` and ``Prediction_Data/``, in place of the cache folder."""


def data_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the published files: ``folder``, else ``BINN_PROB_DATA``, else the cache folder."""
    chosen = folder or os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(chosen).expanduser() if chosen else cache_folder() / "new_york"


def fetch(
    folder: str | os.PathLike[str] | None = None, base_url: str = URL, *, retries: int = 3, progressbar: bool = True
) -> Path:
    """Download the published files (22 MB), each checked against its SHA-256.

    Parameters
    ----------
    folder : path, optional
        Where they go; see :func:`data_folder`.  Files that are there already and right are not downloaded again.
    base_url : str
        The address of the folder that holds ``Training_Data/``.
    retries : int
        How many times a failed download of a file is tried again.
    progressbar : bool
        Whether to show one on the terminal.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        See :func:`binn_prob.data.download.download`.
    """
    return download(REGISTRY, base_url, data_folder(folder), retries=retries, progressbar=progressbar)


def read(folder: str | os.PathLike[str] | None = None, *, exclude: bool = True) -> xr.Dataset:
    """Read the published profiles.

    Parameters
    ----------
    folder : path, optional
        The folder that holds ``Training_Data/``; see :func:`data_folder`.
    exclude : bool
        Leave out what cannot be used: sites with missing covariates or forcing; observations of zero SOC, above
        :data:`MAXIMUM_SOC` or below bedrock; sites then left without observation.  ``attrs["exclusions"]`` counts each
        under the first reason that applies.  Without it all 1,406 profiles come in published order, missing forcing and
        continuous covariates as NaN, missing categories as -1 and a missing bedrock layer as 0; such a Dataset is not
        valid, and :func:`binn_prob.data.validate` names the sites whose forcing or SOC is not.

    Returns
    -------
    xarray.Dataset
        See :mod:`binn_prob.data.schema`; ``site`` is the published profile id.

    Raises
    ------
    InputError
        If a file is missing, truncated or unreadable.
    """
    dataset = _sites(folder, PROFILES, "new-york")
    shape = (dataset.sizes["site"], 200)
    for name, file in (("soc", "obs_soc_NY.txt"), ("depth", "obs_soc_depth.txt")):
        dataset[name] = ("site", "observation"), read_table(data_folder(folder) / PROFILES.folder / file, shape)
    dataset = attach_units(left_packed(dataset))
    return usable(dataset) if exclude else dataset


def read_grid(folder: str | os.PathLike[str] | None = None, *, exclude: bool = True) -> xr.Dataset:
    """Read the half-degree cells of the state, which have no observation: 132, of which 128 are usable.

    Parameters
    ----------
    folder : path, optional
        The folder that holds ``Prediction_Data/``; see :func:`data_folder`.
    exclude : bool
        Leave out cells with missing covariates or forcing, as :func:`read` does.

    Returns
    -------
    xarray.Dataset
        See :mod:`binn_prob.data.schema`; ``site`` is the published cell number, and ``soc`` and ``depth`` hold one
        observation per cell, which is NaN.  Some categories do not occur among the profiles.

    Raises
    ------
    InputError
        If a file is missing, truncated or unreadable.
    """
    dataset = _sites(folder, GRID, "new-york-grid")
    for name in ("soc", "depth"):
        dataset[name] = ("site", "observation"), np.full((dataset.sizes["site"], 1), np.nan)
    dataset = attach_units(dataset)
    return usable(dataset, observed=False) if exclude else dataset


def _sites(folder: str | os.PathLike[str] | None, files: Files, name: str) -> xr.Dataset:
    """Read one set of sites and say what it is."""
    source = f"BINN demonstration data, {URL}{files.folder}"
    return read_sites(data_folder(folder), files).assign_attrs(name=name, source=source, exclusions="{}")
