from . import calibration, compare, convergence, distance, plots, posterior, recalibration, recovery, report, summary

__all__ = [
    "calibration", "compare", "convergence", "distance", "plots", "posterior", "recalibration", "recovery", "report",
    "summary",
]  # fmt: skip
