"""A differentiable JAX solver of the CLM5 soil carbon model.

Importing it chooses the precision of the process: float64, see :mod:`binn_prob.precision`.
"""

from binn_prob.precision import use_precision

use_precision()  # before the imports below make their first array

from binn_prob.clm5.dense import dense_steady_state  # noqa: E402
from binn_prob.clm5.forcing import LITTER_POOLS, Forcing  # noqa: E402
from binn_prob.clm5.layers import INTERFACE_DEPTH, LAYERS, NODE_DEPTH, THICKNESS  # noqa: E402
from binn_prob.clm5.parameters import DEFAULTS, NAMES, PARAMETERS, RANGES, physical, unit  # noqa: E402
from binn_prob.clm5.pools import POOLS  # noqa: E402
from binn_prob.clm5.processes import PROCESS_NAMES, PROCESSES, processes, processes_of  # noqa: E402
from binn_prob.clm5.profile import at_depth, soil_organic_carbon  # noqa: E402
from binn_prob.clm5.residence import baseline_residence_times, residence_times, respiration  # noqa: E402
from binn_prob.clm5.sensitivity import QUANTITIES, sensitivity, sobol_indices  # noqa: E402
from binn_prob.clm5.steady_state import SoilColumn, prepare, solve, steady_state  # noqa: E402
from binn_prob.clm5.transient import Trajectory, transient  # noqa: E402

__all__ = [
    "DEFAULTS",
    "INTERFACE_DEPTH",
    "LAYERS",
    "LITTER_POOLS",
    "NAMES",
    "NODE_DEPTH",
    "PARAMETERS",
    "POOLS",
    "PROCESSES",
    "PROCESS_NAMES",
    "QUANTITIES",
    "RANGES",
    "THICKNESS",
    "Forcing",
    "SoilColumn",
    "Trajectory",
    "at_depth",
    "baseline_residence_times",
    "dense_steady_state",
    "physical",
    "prepare",
    "processes",
    "processes_of",
    "residence_times",
    "respiration",
    "sensitivity",
    "sobol_indices",
    "soil_organic_carbon",
    "solve",
    "steady_state",
    "transient",
    "unit",
]
