from .clusters import ClusterSettings
from .fitted import FittedSites, open_sites
from .sites import fit_sites

__all__ = ["ClusterSettings", "FittedSites", "fit_sites", "open_sites"]
