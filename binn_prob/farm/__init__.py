"""Farms of independent sites: their posteriors on the workers of a Dask cluster, kept in a Zarr store.

The sites of a data set are divided into units, each a few sites.  A unit is fitted by itself on one core of a worker,
and kept as soon as it is there; a worker that dies loses the one it was at.  Dask and Zarr come with
``pip install "binn-prob[cluster]"``.

The public names stand in ``__init__.pyi``; each is imported when it is first used, so that ``import binn_prob.farm``
costs next to nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
