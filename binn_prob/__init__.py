"""Probabilistic process-based learning of soil organic carbon.

The parameters of the CLM5 soil carbon model as posteriors, by Monte Carlo dropout, variational inference and NUTS, with
the three compared.  The public names stand in ``__init__.pyi``; each is imported when it is first used, so that
``import binn_prob`` costs next to nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
