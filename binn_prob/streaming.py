"""Predictions of any number of sites in bounded memory.

Sites are read chunk by chunk, predicted from the draws of a fit, summarised, and written to a Zarr store.  All chunks
have one size, so that nothing is compiled twice, and one random key, so that the numbers are those of
:meth:`binn_prob.inference.Fit.predict` and :func:`binn_prob.results.summary.by_site` for all sites at once.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from binn_prob import stores
from binn_prob.errors import InputError
from binn_prob.files import room_for
from binn_prob.results.summary_store import SummaryStore, summarised

if TYPE_CHECKING:
    import os

    import xarray as xr

    from binn_prob.data.stored import StoredSites
    from binn_prob.inference import Fit

__all__ = ["MEMORY", "chunk_size", "predict"]

MEMORY = 1.0
"""Memory for the sites at hand, unless asked for more or less [GiB]"""

_NUMBERS_A_DRAW = 160
"""What is held of a site for each draw: numbers of a chunk, of the one that is written, and of its quantiles"""

_BYTES_A_SITE = 100_000
"""What is held of a site whatever the number of draws, beside what was read: its column and a solution [byte]"""


def predict(
    fit: Fit,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    memory: float = MEMORY,
    resume: bool = False,
    progress: bool = True,
) -> Path:
    """Predict the sites of a file, and write what is known of each to a Zarr store.

    Parameters
    ----------
    fit : Fit
        Of which all draws are used.
    data : path
        Of a netCDF file or Zarr store of sites, see :mod:`binn_prob.data.schema`; their observations are not used.
    out : path
        Ends in ``.zarr``: the store, see :mod:`binn_prob.results.summary_store`; new, unless ``resume``.
    memory : float
        For the sites at hand [GiB]; the process itself and the fit come on top, and 8 bytes a site for their ids.
    resume : bool
        Go on with a store that was begun, if there is one: chunks that are there are not computed again.  No other
        process may be writing to it.
    progress : bool
        Show bars.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    InputError
        Before anything is computed: if the sites are not what they must be, the fit says nothing about them, the store
        cannot be made, or was begun with other data or another fit.
    """
    from binn_prob.data.stored import stored

    path = _checked(out, resume)
    with stored(data) as sites:
        begun = SummaryStore.begun(path) if path.exists() else None
        chunk = _chunk(fit, sites, memory) if begun is None else begun.chunk
        _refuse_unknown(fit, sites)
        some = sites.read(0, 1)
        if fit.encoding is not None:
            fit.encoding(some)
        origin = {"fit": _fingerprint(fit), "data": _examined(sites, chunk, progress)}
        if begun is None:
            store = SummaryStore.create(path, some, len(sites), chunk, origin, _attributes(fit, sites))
        else:
            begun.check(origin)
            store = begun
        _fill(store, fit, sites, progress)
    return path


def chunk_size(draws: int, bytes_read: float, memory: float, kept: int = 1) -> int:
    """Return how many sites are predicted at once.

    Parameters
    ----------
    draws : int
        Of the fit, all chains together.
    bytes_read : float
        What a site takes as it is read [byte].
    memory : float
        For all that is held of sites [GiB].
    kept : int
        Sites in a chunk of the file: as many are read at once; where more fit, multiples of it.

    Raises
    ------
    InputError
        If it is too small.
    """
    from jax.numpy import result_type

    needed = draws * _NUMBERS_A_DRAW * np.dtype(result_type(float)).itemsize + _BYTES_A_SITE + 2 * bytes_read
    available = memory * 2**30 - kept * bytes_read
    if not available >= needed:
        least = (needed + kept * bytes_read) / 2**30
        got = f"memory {memory:g} GiB for {draws} draws, and {kept} sites in a chunk of the file"
        raise InputError(got, f"at least {least:.2g} GiB", "give more memory, or write the sites in smaller chunks")
    size = int(available // needed)
    return size if size < kept else size // kept * kept


def _checked(out: str | os.PathLike[str], resume: bool) -> Path:
    """Return the path of a store that is new, or may be one that was begun."""
    from binn_prob.data.storage import checked_path

    path = Path(out).expanduser()
    if resume and path.is_dir():
        stores.library()
        return path
    return checked_path(path, (stores.ENDING,))


def _chunk(fit: Fit, sites: StoredSites, memory: float) -> int:
    chains, draws = next(iter(fit.draws.values())).shape[:2]
    return min(chunk_size(chains * draws, sites.bytes_a_site, memory, min(sites.chunk, len(sites))), len(sites))


def _refuse_unknown(fit: Fit, sites: StoredSites) -> None:
    """Refuse sites about which the fit says nothing, without a look at any but those that may have been fitted."""
    from binn_prob.inference import predictive

    known = np.flatnonzero(np.isin(sites.ids, fit.dataset["site"].to_numpy()))
    fitted = 0
    if len(known) and (fit.model.site_latents or not fit.model.has_network):
        fitted = int((predictive.rows(fit.dataset, sites.lazy[["continuous"]].isel(site=known).load()) >= 0).sum())
    fit.refuse_unknown(fitted, len(sites))


def _examined(sites: StoredSites, chunk: int, progress: bool) -> str:
    """Read all sites once, so that a wrong one is found before hours of computing."""
    from tqdm import tqdm

    with tqdm(total=len(sites), unit="site", unit_scale=True, desc="checking", disable=not progress) as bar:
        return sites.examined(chunk, bar.update)


def _fill(store: SummaryStore, fit: Fit, sites: StoredSites, progress: bool) -> None:
    """Write the chunks that are missing, each while the next is computed."""
    from tqdm import tqdm

    missing = store.missing()
    there = store.sites - sum(min(store.chunk, store.sites - number * store.chunk) for number in missing)
    title = fit.method.name
    with (
        tqdm(total=store.sites, initial=there, unit="site", unit_scale=True, desc=title, disable=not progress) as bar,
        ThreadPoolExecutor(1) as writer,
    ):
        written: Future[int] | None = None
        for number in missing:
            first = number * store.chunk
            part = sites.read(first, store.chunk, check=False).isel(observation=slice(1))
            draws = fit.draws_by_layer(_filled(part, store.chunk), first)
            if written is not None:
                bar.update(written.result())
            written = writer.submit(_written, store, number, draws, part)
        if written is not None:
            bar.update(written.result())
    store.finish()


def _filled(part: xr.Dataset, chunk: int) -> xr.Dataset:
    """Return as many sites as a chunk has, the last of them again where there are fewer."""
    return part.isel(site=np.minimum(np.arange(chunk), part.sizes["site"] - 1))


def _written(store: SummaryStore, number: int, draws: dict[str, np.ndarray], part: xr.Dataset) -> int:
    """Summarise and write a chunk, and return its number of sites."""
    count = part.sizes["site"]
    table = summarised({name: values[:, :, :count] for name, values in draws.items()}, part)
    with room_for(store.path):
        store.write(number, table)
    return count


def _fingerprint(fit: Fit) -> str:
    """Return a text that another fit, or the same in another precision, does not have."""
    import jax

    from binn_prob.data import fingerprint

    digest = hashlib.sha256()
    options = sorted(fit.options.items())
    digest.update(repr((fit.model, options, jax.random.key_data(fit.key).tolist())).encode())
    digest.update(fingerprint(fit.dataset).encode())
    for name, values in sorted(fit.draws.items()):
        digest.update(f"{name} {values.shape} {values.dtype}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _attributes(fit: Fit, sites: StoredSites) -> dict[str, Any]:
    chains, draws = next(iter(fit.draws.values())).shape[:2]
    described = {name: sites.lazy.attrs[name] for name in ("name", "source", "exclusions") if name in sites.lazy.attrs}
    kept = {name: value for name, value in fit.provenance().items() if name != "prediction" and value == value}
    return kept | {"chains": chains, "draws": draws, "data": json.dumps(described)}
