"""What the worker processes of the tests of farms load before they begin: a quick soil; it leaves their process ids."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def dask_setup(worker: Any) -> None:
    from quick_soil import replace_the_soil

    replace_the_soil(pytest.MonkeyPatch())
    Path(os.environ["FARM_WORKERS"], str(os.getpid())).touch()
