"""A soil in the place of CLM5, for tests of what holds for any soil."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import pytest

from binn_prob.clm5 import DEFAULTS
from binn_prob.clm5.layers import LAYERS
from binn_prob.clm5.pools import POOLS

__all__ = ["replace_the_soil"]


def replace_the_soil(patched: pytest.MonkeyPatch) -> None:
    """Let every parameter count alike, in all pools and layers: this compiles at once, CLM5 in seconds."""

    def solve(parameters: Any, soil: Any) -> Any:
        mean = (parameters / DEFAULTS).mean(axis=1)
        return 300.0 * mean[:, None, None] * jnp.ones((len(POOLS), LAYERS))

    def processes_of(parameters: Any, pools: Any, soil: Any) -> Any:
        return (parameters / DEFAULTS)[:, :6]

    patched.setattr("binn_prob.models.profiles.solve", solve)
    patched.setattr("binn_prob.models.profiles.processes_of", processes_of)
