from __future__ import annotations

import pytest
import xarray as xr

from binn_prob import data


@pytest.fixture(scope="session")
def split() -> tuple[xr.Dataset, xr.Dataset]:
    """Eight synthetic sites to learn from and two held out."""
    return data.split(data.load("synthetic", sites=10, seed=0), test_fraction=0.2, seed=0)
