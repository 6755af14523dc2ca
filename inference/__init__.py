"""Methods that turn a model and a data set into a posterior: one file a method."""

if __name__ != "binn_prob.inference":  # reached from the repository root: would be a second copy of every module
    raise ImportError("import this package as 'binn_prob.inference'")

from binn_prob.inference.base import Fit, FitError, Method, Model
from binn_prob.inference.mc_dropout import MCDropout
from binn_prob.inference.nuts import NUTS
from binn_prob.inference.variational import VI

METHODS: dict[str, type[MCDropout] | type[VI] | type[NUTS]] = {"mc_dropout": MCDropout, "vi": VI, "nuts": NUTS}
"""Methods by the word that settings and the command line use."""

__all__ = ["METHODS", "NUTS", "VI", "Fit", "FitError", "MCDropout", "Method", "Model"]
