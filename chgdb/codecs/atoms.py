"""The former place of `chgdb.promolecule`, kept for two minor versions."""

from __future__ import annotations

import warnings

from ..promolecule import Prior, fit

__all__ = ["Prior", "fit"]

warnings.warn("chgdb.codecs.atoms has moved to chgdb.promolecule", DeprecationWarning, stacklevel=2)
