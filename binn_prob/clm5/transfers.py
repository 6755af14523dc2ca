"""Transfers of carbon between pools (the matrix A) as a table.

Source: the CENTURY cascade of CLM5, Koven et al. 2013 (Biogeosciences 10:7109), figure 1 and table 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from binn_prob.clm5.pools import POOLS

__all__ = ["TRANSFERS", "Transfer", "fraction", "inflows", "respired_fractions"]


class Transfer(NamedTuple):
    """A share of the carbon decomposed in one pool goes to another; what goes nowhere is respired."""

    donor: int
    receiver: int
    parameter: str
    complement: bool = False
    """Whether the share is one minus the parameter."""


TRANSFERS: tuple[Transfer, ...] = (
    Transfer(0, 2, "fcwdl2"),
    Transfer(0, 3, "fcwdl2", complement=True),
    Transfer(1, 4, "fl1s1"),
    Transfer(2, 4, "fl2s1"),
    Transfer(3, 5, "fl3s2"),
    Transfer(4, 5, "fs1s2"),
    Transfer(4, 6, "fs1s3"),
    Transfer(5, 4, "fs2s1"),
    Transfer(5, 6, "fs2s3"),
    Transfer(6, 4, "fs3s1"),
)
"""Every transfer of the cascade; the same in all layers."""


def fraction(parameters: Mapping[str, Array], transfer: Transfer) -> Array:
    """Share of the donor's decomposed carbon that reaches the receiver [1], (site,)."""
    value = parameters[transfer.parameter]
    return 1.0 - value if transfer.complement else value


def respired_fractions(parameters: Mapping[str, Array]) -> Array:
    """Share of each pool's decomposed carbon that is respired [1], (pool, site); exactly 0 for woody debris."""
    zero = jnp.zeros_like(parameters["fcwdl2"])
    respired = [zero] + [jnp.ones_like(zero)] * (len(POOLS) - 1)
    for transfer in TRANSFERS:
        if not any(row.complement for row in TRANSFERS if row.donor == transfer.donor):
            respired[transfer.donor] = respired[transfer.donor] - fraction(parameters, transfer)
    return jnp.stack(respired)


def inflows(parameters: Mapping[str, Array], decomposed: Array, donors: slice, receivers: slice) -> Array:
    """Carbon that ``receivers`` get from what ``donors`` decompose.

    Parameters
    ----------
    parameters : mapping of name to (site,)
    decomposed : array (pool, layer, site)
        Carbon decomposed in each pool [g C m-3 day-1]; read at ``donors`` only.
    donors, receivers : slice
        Of the pools, such as :data:`binn_prob.clm5.pools.LITTER`.

    Returns
    -------
    array (receiver, layer, site) [g C m-3 day-1]
    """
    flows = {receiver: jnp.zeros_like(decomposed[0]) for receiver in range(len(POOLS))[receivers]}
    giving = range(len(POOLS))[donors]
    for transfer in TRANSFERS:
        if transfer.donor in giving and transfer.receiver in flows:
            flows[transfer.receiver] += fraction(parameters, transfer) * decomposed[transfer.donor]
    return jnp.stack(list(flows.values()))
