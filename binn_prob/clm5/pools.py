"""The seven carbon pools of CLM5.

Source: Koven et al. 2013 (Biogeosciences 10:7109), figure 1.
"""

from __future__ import annotations

__all__ = ["LITTER", "POOLS", "SOIL", "WOODY"]

POOLS = (
    "coarse_woody_debris",
    "metabolic_litter",
    "cellulose_litter",
    "lignin_litter",
    "fast_soil",
    "slow_soil",
    "passive_soil",
)
"""The seven pools in order."""

WOODY, LITTER, SOIL = slice(0, 1), slice(1, 4), slice(4, 7)
"""Where woody debris, litter and soil stand among the pools."""
