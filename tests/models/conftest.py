from __future__ import annotations

import pytest
import xarray as xr

from binn_prob import data


@pytest.fixture(scope="session")
def sites() -> xr.Dataset:
    """Eight synthetic sites."""
    return data.load("synthetic", sites=8, seed=0)
