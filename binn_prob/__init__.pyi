from . import clm5, data, inference, models, results
from .errors import InputError
from .fitting import fit, upscale
from .results.compare import compare
from .settings import Settings
from .version import __version__

__all__ = [
    "InputError",
    "Settings",
    "__version__",
    "clm5",
    "compare",
    "data",
    "fit",
    "inference",
    "models",
    "results",
    "upscale",
]
