"""What :mod:`methods` measures: which method on which model, with which options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import binn_prob as bp
from binn_prob.options import build

__all__ = ["BY_NAME", "CASES", "REFERENCE", "SMALL", "Case"]


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    model: str
    """Word of ``binn_prob.models.MODELS``"""
    method: str
    """Word of ``binn_prob.inference.METHODS``, or ``upscaling``"""
    variant: str
    """What tells it from other cases of this method and model; empty for the method with its defaults"""
    gives: str
    """What it gives, in a few words"""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the method"""
    first: str = ""
    """Name of the case that is its first stage"""

    @property
    def name(self) -> str:
        """Name on the command line and of its files."""
        return "-".join(part for part in (self.model, self.method, self.variant) if part)

    def build(self, small: bool = False) -> tuple[Any, Any]:
        """Return the model and the method."""
        known = {**bp.inference.METHODS, "upscaling": bp.inference.Upscaling}
        options = {**self.options, **(SMALL[self.method] if small else {})}
        return build("model", bp.models.MODELS, self.model, {}), build("method", known, self.method, options)


_CORRECT = dict.fromkeys(("annealing", "truncated_proposals", "accepted_only", "best_chain_only"), False)
_SHORT = {"warmup": 400, "draws": 500, "max_tree_depth": 7}
_LEARNED = {"rate": "learned", "steps": 10_000, "patience": None}
_MORE = {"steps": 40_000, "patience": None}
_MOST = {"steps": 80_000, "patience": None}
_FLOW = {"learning_rate": 0.001, "steps": 40_000, "patience": None}
_FLOW_START = {"start_learning_rate": 0.001, "start_steps": 20_000, **_SHORT}

CASES = (
    Case("binn", "mc_dropout", "", "a point, with hidden units off at a given rate"),
    Case("binn", "mc_dropout", "learned", "the same, the rate fitted to the data", _LEARNED),
    Case("binn", "deep_ensemble", "", "modes reached from different starts"),
    Case("binn", "laplace", "last_layer", "Gaussian at the mode, of the last layer", {"weights": "last_layer"}),
    Case("binn", "laplace", "", "Gaussian at the mode, of all weights"),
    Case("binn", "vi", "mean_field", "closest Gaussian without correlations"),
    Case("binn", "vi", "low_rank", "closest Gaussian, of low-rank covariance", {"guide": "low_rank", **_MORE}),
    Case("binn", "vi", "full_rank", "closest Gaussian", {"guide": "full_rank", **_MOST}),
    Case("binn", "vi", "iaf", "closest normalising flow", {"guide": "iaf", **_FLOW}),
    Case("binn", "nuts", "", "the posterior, once the chains have converged"),
    Case("binn", "nuts", "short", "the same, with shorter trajectories", _SHORT),
    Case("binn", "nuts", "neutra", "the same, on the scale of a flow", {"neutra": "iaf", **_FLOW_START}),
    Case("binn", "sghmc", "", "nearly the posterior, without a Metropolis test"),
    Case("neural_prior", "vi", "mean_field", "closest Gaussian without correlations"),
    Case("neural_prior", "vi", "low_rank", "closest Gaussian, of low-rank covariance", {"guide": "low_rank", **_MORE}),
    Case("neural_prior", "nuts", "", "the posterior, once the chains have converged"),
    Case("site", "vi", "mean_field", "closest Gaussian without correlations"),
    Case("site", "vi", "full_rank", "closest Gaussian of all sites together", {"guide": "full_rank", **_MORE}),
    Case("site", "laplace", "", "Gaussian at the mode"),
    Case("site", "site_nuts", "", "the posterior, each site run until it has converged"),
    Case("site", "proda_metropolis", "", "PRODA's draws, as published"),
    Case("site", "proda_metropolis", "corrected", "the posterior, slowly", _CORRECT),
    Case("binn", "upscaling", "", "regression on the site posteriors", first="site-site_nuts"),
    Case("neural_prior", "upscaling", "", "the same, with the spread of the sites", first="site-site_nuts"),
)
"""What is measured, in the order of the table."""

BY_NAME = {case.name: case for case in CASES}

REFERENCE = "binn-nuts"
"""The case whose seconds are the unit of cost."""

SMALL: dict[str, dict[str, Any]] = {
    "mc_dropout": {"steps": 100, "draws": 20},
    "deep_ensemble": {"steps": 100, "members": 3},
    "laplace": {"steps": 100, "draws": 20},
    "vi": {"steps": 100, "draws": 20},
    "nuts": {"chains": 2, "warmup": 20, "draws": 20, "max_tree_depth": 3, "start_steps": 100},
    "sghmc": {"chains": 2, "warmup": 20, "draws": 20, "thinning": 2, "start_steps": 100},
    "site_nuts": {"chains": 2, "warmup": 20, "draws": 20, "rounds": 1},
    "proda_metropolis": {"exploration": 500, "iterations": 1000, "adapt_after": 200, "draws": 20, "reruns": 0},
    "upscaling": {"steps": 100, "members": 3},
}
"""Options that take the place of those of the cases with ``--small``: to see that all work, not to learn from."""
