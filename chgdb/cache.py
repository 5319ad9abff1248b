"""The former place of `chgdb.remote.cache`, kept for two minor versions."""

from __future__ import annotations

import warnings

from .remote.cache import Cache

__all__ = ["Cache"]

warnings.warn("chgdb.cache has moved to chgdb.remote.cache", DeprecationWarning, stacklevel=2)
