"""The posterior of every New York profile by itself, which several studies start from; made once, in 23 minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from study import Case
from ways import SMALL, worth

import binn_prob as bp
from binn_prob.results import storage
from binn_prob.workflow import run

__all__ = ["case", "folder_of"]


def case(small: bool) -> Case:
    """Return the case that makes the first stage, or finishes it, or finds it there."""
    asked = {"sites": 8 if small else None, "options": SMALL["site_nuts"] if small else {}, "seed": 0}
    return Case("first stage", _measure, {"small": small, **asked})


def folder_of(small: bool) -> Path:
    """Return the folder of the run."""
    return Path("runs") / "studies" / ("first-stage-small" if small else "first-stage")


def _measure(folder: Path, small: bool, sites: int | None, options: dict[str, Any], seed: int) -> pd.DataFrame:
    """Do what ``binn-prob fit --data new-york --model site --method site_nuts`` does; return what it cost and gave."""
    there = folder_of(small)
    if not (there / "posterior_site_nuts.nc").is_file() or (there / "checkpoints").exists():
        settings = bp.Settings(
            name="first-stage", seed=seed, data={"name": "new-york", "sites": sites, "seed": seed},
            split={"test_fraction": 0.0}, model={"name": "site"}, methods={"site_nuts": options},
        )  # fmt: skip
        run(settings, there, compared=False, resume=True, progress=False)
    return worth(storage.load(there / "posterior_site_nuts.nc"))
