"""Methods that turn a model and a data set into a posterior: one file a method."""

if __name__ != "binn_prob.inference":  # reached from the repository root: would be a second copy of every module
    raise ImportError("import this package as 'binn_prob.inference'")

from binn_prob.inference.base import Fit, FitError, Method, Model
from binn_prob.inference.deep_ensemble import DeepEnsemble
from binn_prob.inference.laplace import Laplace
from binn_prob.inference.mc_dropout import MCDropout
from binn_prob.inference.nuts import NUTS
from binn_prob.inference.proda_metropolis import ProdaMetropolis
from binn_prob.inference.proda_upscaling import Upscaling
from binn_prob.inference.sghmc import SGHMC
from binn_prob.inference.site_nuts import SiteNUTS
from binn_prob.inference.variational import VI

METHODS: dict[str, type[Method]] = {
    "mc_dropout": MCDropout,
    "vi": VI,
    "nuts": NUTS,
    "deep_ensemble": DeepEnsemble,
    "laplace": Laplace,
    "sghmc": SGHMC,
    "site_nuts": SiteNUTS,
    "proda_metropolis": ProdaMetropolis,
}
"""Methods by the word that settings and the command line use."""

__all__ = [
    "METHODS", "NUTS", "SGHMC", "VI", "DeepEnsemble", "Fit", "FitError", "Laplace", "MCDropout", "Method", "Model",
    "ProdaMetropolis", "SiteNUTS", "Upscaling",
]  # fmt: skip
