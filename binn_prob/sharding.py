"""Sites shared out among devices, of one machine or of many, by JAX's own SPMD.

Sites do not know of each other in the soil, so what takes nearly all of the time needs no word between devices.  A mesh
with an axis ``site`` that is in use (``with jax.set_mesh(site_mesh()):``) is enough: every solution of soil columns,
and every model, then shares its sites out among the devices of the mesh.  Without one, all of them stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AxisType, Mesh, PartitionSpec

from binn_prob.errors import InputError

__all__ = [
    "SITE",
    "apart",
    "devices_in_use",
    "devices_of_sites",
    "everywhere",
    "over_sites",
    "sharing_out",
    "site_mesh",
]

SITE = "site"
"""Name of the axis of the mesh"""


def site_mesh(devices: int | None = None) -> Mesh:
    """Return a mesh whose only axis is ``site``, to be used with :func:`jax.set_mesh`.

    Parameters
    ----------
    devices : int, optional
        How many.  Default: all that JAX has.

    Raises
    ------
    InputError
        If there are not so many.
    """
    found = jax.devices()
    number = len(found) if devices is None else devices
    if not 1 <= number <= len(found):
        todo = "choose fewer; one CPU is several devices after jax.config.update('jax_num_cpu_devices', …)"
        raise InputError(f"{number} devices to share the sites", f"1 to {len(found)}, which JAX has", todo)
    return jax.make_mesh((number,), (SITE,), axis_types=(AxisType.Auto,), devices=found[:number])


def sharing_out() -> bool:
    """Say whether a mesh is in use, whose sites this is not already the share of one device of."""
    mesh = jax.sharding.get_abstract_mesh()
    return SITE in mesh.axis_names and mesh.axis_types[mesh.axis_names.index(SITE)] != AxisType.Manual


def devices_in_use() -> int:
    """Return among how many devices sites are shared out here: 1 without a mesh, or where one has its share already."""
    return int(jax.sharding.get_abstract_mesh().shape[SITE]) if sharing_out() else 1


def devices_of_sites() -> list[jax.Device]:
    """Return the devices for sites that each are fitted by themselves: those of the mesh in use, else all of them."""
    return list(jax.sharding.get_mesh().devices.flat) if sharing_out() else jax.local_devices()


def everywhere(tree: Any) -> Any:
    """Keep results of a compiled function whole on every device, where many processes are to read them."""
    apart = devices_in_use() > 1 and jax.process_count() > 1
    return jax.lax.with_sharding_constraint(tree, PartitionSpec()) if apart else tree


def apart(tree: Any) -> Any:
    """Keep arrays whose first axis is the site shared out among the devices of the mesh in use, if there is one.

    What is computed of them is then computed where they are, and only what the sites have in common is exchanged.
    """
    if devices_in_use() == 1:
        return tree
    shared: Any = jax.lax.with_sharding_constraint(tree, PartitionSpec(SITE))
    return shared


def over_sites(function: Callable[..., Any], axes: tuple[int, ...]) -> Callable[..., Any]:
    """Return a function that shares the sites of its arguments out among the devices of the mesh in use.

    Parameters
    ----------
    function : callable
        Of pytrees of arrays; returns a pytree of arrays whose first axis is the site.
    axes : tuple of int
        Position of the site in the arrays of each argument, 0 or -1.

    Notes
    -----
    Where the devices do not divide the sites, the last site is repeated, and what comes of that is left out.
    """

    def shared(*arguments: Any) -> Any:
        devices = devices_in_use()
        if devices == 1:
            return function(*arguments)
        sites = jax.tree.leaves(arguments[0])[0].shape[axes[0]]
        missing = -sites % devices
        filled = [
            jax.tree.map(partial(_filled, missing, axis), argument)
            for argument, axis in zip(arguments, axes, strict=True)
        ]
        places = tuple(
            jax.tree.map(lambda leaf, axis=axis: _place(leaf, axis), argument)
            for argument, axis in zip(filled, axes, strict=True)
        )
        # The recurrences over layers start from constants, which the check of what varies between devices refuses.
        run = jax.shard_map(function, in_specs=places, out_specs=PartitionSpec(SITE), check_vma=False)
        return apart(jax.tree.map(lambda leaf: leaf[:sites], run(*filled)))

    return shared


def _filled(missing: int, axis: int, array: Array) -> Array:
    last = jax.lax.slice_in_dim(array, array.shape[axis] - 1, array.shape[axis], axis=axis % array.ndim)
    return jnp.concatenate([array, jnp.repeat(last, missing, axis=axis)], axis=axis) if missing else array


def _place(array: Array, axis: int) -> PartitionSpec:
    return PartitionSpec(*[None] * (axis % array.ndim), SITE)
