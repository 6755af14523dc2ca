"""What the worker processes of the tests of farms load before they begin: a quick soil, and the commit of the farm.

It leaves their process ids.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def dask_setup(worker: Any) -> None:
    from quick_soil import replace_the_soil

    patched = pytest.MonkeyPatch()
    replace_the_soil(patched)
    # Another one may be made while the tests run, and the workers would refuse to compute.
    patched.setattr("binn_prob.farm.software.git_commit", lambda: os.environ["FARM_COMMIT"])
    Path(os.environ["FARM_WORKERS"], str(os.getpid())).touch()
