"""Soil geometry of CLM5: 25 tabulated layers, of which the upper 20 carry carbon.

Source: Lawrence et al. 2019, CLM5 technical note, table 2.2.3 (the 25 layers of the default ``20SL_8.5m`` structure).
All depths are in metres, positive downwards from the surface.
"""

from __future__ import annotations

import numpy as np

__all__ = ["DAYS_PER_YEAR", "INTERFACE_DEPTH", "LAYERS", "MONTHS", "NODE_DEPTH", "NODE_SPACING", "THICKNESS"]

LAYERS = 20
"""Number of layers that carry carbon."""

DAYS_PER_YEAR = 365.0
"""CLM5 has no leap years."""

MONTHS = 12
"""Number of monthly values in a forcing year."""

THICKNESS = np.concatenate(
    [
        0.02 * np.arange(1, 5),
        0.12 + 0.04 * np.arange(9),
        0.54 + 0.10 * np.arange(7),
        [2.39, 4.67553390593274, 7.63519052838329, 11.14, 15.1154248593737],
    ]
)
"""Thickness of each of the 25 layers [m]."""

INTERFACE_DEPTH = np.cumsum(THICKNESS)
"""Depth of the lower interface of each of the 25 layers [m]."""

NODE_DEPTH = INTERFACE_DEPTH - THICKNESS / 2
"""Depth of the middle of each of the 25 layers [m]."""

NODE_SPACING = np.diff(NODE_DEPTH, prepend=0.0)
"""Distance of each node from the node above, the first from the surface [m]."""

for _table in (THICKNESS, INTERFACE_DEPTH, NODE_DEPTH, NODE_SPACING):
    _table.flags.writeable = False
