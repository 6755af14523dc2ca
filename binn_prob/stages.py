"""From one stage to the next: fits of independent sites as runs have left them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from binn_prob.errors import InputError
from binn_prob.saved import load_fit, run_file
from binn_prob.settings import Settings

if TYPE_CHECKING:
    import xarray as xr

    from binn_prob.inference import Fit

__all__ = ["first_stage", "restricted"]


def first_stage(folder: str | Path) -> Fit:
    """Return the fit of independent sites that a run has left: that of its reference, or of its first method.

    Raises
    ------
    InputError
        As :func:`binn_prob.load_fit`; if the sites are not independent.
    """
    model = Settings.from_yaml(run_file(folder, "settings.yaml")).build_model()
    if model.has_network:
        got = f"{folder}, a run of the model {model.name!r}, whose sites share a network"
        raise InputError(got, "a run of independent sites", "run  binn-prob fit --model site --method site_nuts  first")
    return load_fit(folder)


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
