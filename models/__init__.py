"""Probabilistic models of soil organic carbon: NumPyro models over the CLM5 soil carbon model."""

if __name__ != "binn_prob.models":  # reached from the repository root: would be a second copy of every module
    raise ImportError("import this package as 'binn_prob.models'")

from binn_prob.models.binn import BINN
from binn_prob.models.fixed import at_defaults
from binn_prob.models.likelihoods import LogNormalSOC, ProdaLikelihood, StudentTLogSOC
from binn_prob.models.neural_prior import NeuralPrior
from binn_prob.models.site import SiteModel

MODELS: dict[str, type[BINN] | type[NeuralPrior] | type[SiteModel]] = {
    "binn": BINN,
    "neural_prior": NeuralPrior,
    "site": SiteModel,
}
"""Models by the word that settings and the command line use."""

__all__ = [
    "BINN", "MODELS", "LogNormalSOC", "NeuralPrior", "ProdaLikelihood", "SiteModel", "StudentTLogSOC", "at_defaults",
]  # fmt: skip
