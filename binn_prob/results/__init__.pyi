from . import calibration, compare, convergence, distance, plots, posterior, report

__all__ = ["calibration", "compare", "convergence", "distance", "plots", "posterior", "report"]
