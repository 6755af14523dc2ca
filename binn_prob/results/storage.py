"""Trees on disk."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from binn_prob.errors import InputError
from binn_prob.files import replacing, reserved

__all__ = ["load", "save"]

_CONTENTS = {
    "posterior": {"parameters", "soc_layer", "processes", "soc_at_depth"},
    "posterior_predictive": {"soc"},
    "observed_data": {"soc"},
    "constant_data": {"depth", "bedrock_layer"},
}
"""What a tree must hold, by group."""

_OVERHEAD = 2**20
"""What a netCDF file may take beside its arrays, at most [byte]."""

_ATTRIBUTES = {"method", "markov_chain"}


def save(tree: xr.DataTree, path: str | Path) -> Path:
    """Write a tree to a netCDF file, which appears under its name only when it is complete.

    Raises
    ------
    InputError
        If the folder does not exist, or the disk is full.
    """
    with replacing(path) as temporary:
        # HDF5 may bring down the process when it closes a file that it could not finish.
        reserved(temporary, sum(group.dataset.nbytes for group in tree.subtree) * 21 // 20 + _OVERHEAD)
        tree.to_netcdf(temporary, engine="h5netcdf")
    return Path(path)


def load(path: str | Path) -> xr.DataTree:
    """Read a tree that :func:`save` has written, all of it into memory.

    Raises
    ------
    InputError
        If the file is missing, damaged, or not a tree of binn_prob.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file {path}", "a posterior written by binn_prob", "correct the path")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            loaded = tree.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        expected = "a complete netCDF-4 file written by binn_prob"
        raise InputError(f"an unreadable file {path} ({reason})", expected, "write or copy it again") from error
    missing = _missing(loaded)
    if missing:
        cure = "give a posterior_<method>.nc file"
        raise InputError(f"{path} without {missing[0]}", "a posterior written by binn_prob", cure)
    loaded.attrs = {name: value.item() if hasattr(value, "item") else value for name, value in loaded.attrs.items()}
    return loaded


def _missing(tree: xr.DataTree) -> list[str]:
    """Return what a tree lacks to be one of binn_prob's."""
    held = {name: set(tree.children[name].data_vars) if name in tree.children else set() for name in _CONTENTS}
    variables = [f"{name}/{key}" for name, keys in _CONTENTS.items() for key in sorted(keys - held[name])]
    return variables + [f"the attribute {name!r}" for name in sorted(_ATTRIBUTES - set(tree.attrs))]
