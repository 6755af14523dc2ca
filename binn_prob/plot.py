"""Figures by a short name: ``binn_prob.plot.forest(trees)``; see :mod:`binn_prob.results.plots`."""

from binn_prob.results import plots
from binn_prob.results.plots import *  # noqa: F403

__all__ = plots.__all__
