"""Integrals and draws over one number per site whose density is log-concave.

A log-concave density has one mode, which bisection of its slope finds, and tails that fall at least exponentially.  The
trapezoid rule about that mode, on the scale of the curvature there, then converges exponentially in the number of nodes
(Trefethen and Weideman 2014, *SIAM Review* 56:385); nodes that are spaced as ``sinh`` reach far into the tails.  A
fixed grid would need many more: densities of different sites differ in width by a factor of ten, and lie apart by many
widths.

Everything is vectorised over sites; the densities of all sites are evaluated at all nodes at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp

__all__ = ["LogDensity", "draw", "log_integral"]

LogDensity = Callable[[Array, Any], Array]
"""Points (site, node) and the data of the density → its unnormalised logarithm (site, node)."""

_NODES = 21
"""Nodes of an integral."""

_NODES_OF_A_DRAW = 161
"""Nodes between which draws are interpolated; they inflate its variance by less than 0.1 %."""

_REACH = 5.0
"""The outermost node, before stretching [standard deviations of the Gaussian with the same curvature at the mode]."""

_STRETCH = 0.4
"""Nodes lie at ``sinh(stretch u) / stretch``: the outermost at nine standard deviations rather than five."""

_BISECTIONS = 12
"""Halvings of the interval in which the mode lies."""


def log_integral(log_density: LogDensity, data: Any, low: Array, high: Array) -> Array:
    """Return the log of the integral of a log-concave density over the real line, for every site.

    Differentiable in ``data``.

    Parameters
    ----------
    log_density : callable
        See :data:`LogDensity`.
    data : pytree of arrays
        Its second argument.
    low, high : array (site,)
        An interval that holds the mode.

    Returns
    -------
    array (site,)
    """
    points, log_widths, _ = _nodes(log_density, data, low, high, _NODES)
    return logsumexp(log_density(points, data) + log_widths, axis=-1)


def draw(key: Array, log_density: LogDensity, data: Any, low: Array, high: Array) -> Array:
    """Draw one number for every site from a log-concave density; see :func:`log_integral` for the parameters.

    The draw is exact for the density that is piecewise linear between many nodes: such a density is a mixture of
    triangles about the nodes, and the sum of two uniform numbers has a triangular density.

    Returns
    -------
    array (site,)
    """
    node_key, jitter_key = jax.random.split(key)
    points, log_widths, place = _nodes(log_density, data, low, high, _NODES_OF_A_DRAW)
    node = jax.random.categorical(node_key, log_density(points, data) + log_widths)
    spacing = 2.0 * _REACH / (_NODES_OF_A_DRAW - 1)
    jitter = jax.random.uniform(jitter_key, (2, *node.shape)).sum(axis=0) - 1.0
    return place((spacing * (node + jitter) - _REACH)[:, None])[:, 0]


def _nodes(
    log_density: LogDensity, data: Any, low: Array, high: Array, count: int
) -> tuple[Array, Array, Callable[[Array], Array]]:
    """Return nodes (site, node), the logs of their weights, and what maps [-reach, reach] to where nodes lie.

    The nodes follow the density, yet no derivative passes through them: the integral does not depend on where they are.
    """
    data = jax.lax.stop_gradient(data)

    def slope(point: Array) -> Array:
        return jax.jvp(lambda where: log_density(where[:, None], data)[:, 0], (point,), (jnp.ones_like(point),))[1]

    def halve(_: int, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        below, above = interval
        middle = 0.5 * (below + above)
        rises = slope(middle) > 0.0
        return jnp.where(rises, middle, below), jnp.where(rises, above, middle)

    interval = jax.lax.stop_gradient((low, high))
    mode = 0.5 * sum(jax.lax.fori_loop(0, _BISECTIONS, halve, interval))
    curvature = -jax.jvp(slope, (mode,), (jnp.ones_like(mode),))[1]
    width = (1.0 / jnp.sqrt(curvature))[:, None]

    def place(unstretched: Array) -> Array:
        return mode[:, None] + width * jnp.sinh(_STRETCH * unstretched) / _STRETCH

    grid = np.linspace(-_REACH, _REACH, count)
    weights = np.cosh(_STRETCH * grid) * (grid[1] - grid[0])
    return place(jnp.asarray(grid)), jnp.log(width * weights), place
