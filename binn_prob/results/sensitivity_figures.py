"""Which parameters matter, as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from binn_prob.clm5.sensitivity import QUANTITIES
from binn_prob.errors import InputError
from binn_prob.results.drawing import panels, styled

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["sensitivity"]

_BARS = {
    "total_order": "share of the variance of the logarithm, total order",
    "local": "change of the logarithm over the range of the parameter",
}
_SHOWN = 8
"""Parameters in a panel: those that matter most"""


@styled
def sensitivity(found: xr.Dataset) -> Figure:
    """Draw the parameters that matter most for soil organic carbon and for each process, in order.

    Parameters
    ----------
    found : xarray.Dataset
        Of :func:`binn_prob.clm5.sobol_indices` or :func:`binn_prob.clm5.sensitivity`.  Bars are means over the sites,
        of absolute values if they are slopes; lines are from the 5 % to the 95 % quantile of the sites.

    Raises
    ------
    InputError
        If the dataset is of neither.
    """
    name = next((name for name in _BARS if name in found), None)
    if name is None:
        got = f"a dataset of {', '.join(map(str, found.data_vars))}"
        raise InputError(got, f"one with {' or '.join(_BARS)}", "give what sobol_indices or sensitivity returns")
    values = abs(found[name])
    shown = [one for one in QUANTITIES if bool((values.sel(quantity=one).mean("site") > 0).any())]
    rows = -(-len(shown) // 3)
    figure, axes = panels(rows, 3, (2.9, 2.2))
    for axis, quantity in zip(axes.flat, shown, strict=False):
        of = values.sel(quantity=quantity)
        best = np.argsort(-of.mean("site").to_numpy(), kind="stable")[:_SHOWN]
        chosen = of.isel(parameter=best)
        middle, names = chosen.mean("site").to_numpy(), chosen["parameter"].to_numpy()
        low, high = chosen.quantile([0.05, 0.95], dim="site").to_numpy()
        axis.barh(range(len(best)), middle, color="#56B4E9")
        axis.hlines(range(len(best)), low, high, color="#0072B2", linewidth=1.0)
        axis.set_yticks(range(len(best)), names)
        axis.invert_yaxis()
        axis.set_xlim(left=0.0)
        axis.set_title(quantity.replace("_", " "))
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    figure.supxlabel(_BARS[name])
    return figure
