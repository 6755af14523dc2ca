from . import national, new_york, schema, splits, synthetic
from .schema import validate
from .sources import load
from .splits import folds, split
from .storage import save
from .summary import describe, fingerprint

__all__ = [
    "describe",
    "fingerprint",
    "folds",
    "load",
    "national",
    "new_york",
    "save",
    "schema",
    "split",
    "splits",
    "synthetic",
    "validate",
]
