"""Soil profiles and what drives them: the Dataset contract, synthetic sites, New York, the United States, splits.

The public names stand in ``__init__.pyi``; each is imported when it is first used, so that ``import binn_prob.data``
costs next to nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
