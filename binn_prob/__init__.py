"""Probabilistic process-based learning of soil organic carbon.

The parameters of the CLM5 soil carbon model as posteriors, by Monte Carlo dropout, variational inference and NUTS, with
the three compared.  The public names stand in ``__init__.pyi``; each is imported when it is first used, so that
``import binn_prob`` costs next to nothing.
"""

from pathlib import Path

import lazy_loader

# Started from the root of the repository, Python takes this folder for the package, wherever it is installed; the
# folders models/ and inference/, which installation puts inside, then lie beside it.
_beside = Path(__file__).resolve().parent.parent
if (_beside / "models").is_dir() and (_beside / "pyproject.toml").is_file():
    __path__.append(str(_beside))

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
