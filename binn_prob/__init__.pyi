from . import clm5, data, farm, inference, models, plot, results, streaming
from .errors import InputError
from .fitting import fit, upscale
from .results.compare import compare
from .saved import load_fit
from .settings import Settings
from .simulation import simulate
from .version import __version__

__all__ = [
    "InputError",
    "Settings",
    "__version__",
    "clm5",
    "compare",
    "data",
    "farm",
    "fit",
    "inference",
    "load_fit",
    "models",
    "plot",
    "results",
    "simulate",
    "streaming",
    "upscale",
]
