"""chgdb: a compressed database of DFT electronic charge densities.

    >>> import chgdb
    >>> density = chgdb.open()["mp-149"].density      # doctest: +SKIP
    >>> chgdb.write("CHGCAR", density)                # doctest: +SKIP
    >>> print(chgdb.predict("CHGCAR"))                # doctest: +SKIP

Names resolve on first use, so that `import chgdb` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .building import build
    from .catalog import Catalog, Record
    from .catalog import open_catalog as open
    from .crystal import Crystal
    from .density import Density
    from .errors import ChgdbError
    from .estimation import Estimate, estimate
    from .formats import read, write
    from .prediction import Prediction, predict
    from .similarity import similar

__version__ = "0.1.0"

# public name -> (module, name there)
_PUBLIC = {
    "Catalog": ("catalog", "Catalog"),
    "ChgdbError": ("errors", "ChgdbError"),
    "Crystal": ("crystal", "Crystal"),
    "Density": ("density", "Density"),
    "Prediction": ("prediction", "Prediction"),
    "Record": ("catalog", "Record"),
    "Estimate": ("estimation", "Estimate"),
    "build": ("building", "build"),
    "estimate": ("estimation", "estimate"),
    "open": ("catalog", "open_catalog"),
    "predict": ("prediction", "predict"),
    "read": ("formats", "read"),
    "similar": ("similarity", "similar"),
    "write": ("formats", "write"),
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'chgdb' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    value = getattr(import_module(f".{module}", __name__), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
