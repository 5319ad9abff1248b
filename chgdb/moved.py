"""Names that have moved: they stay where they were for two minor versions, with a DeprecationWarning."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any


def renamed(module: str, old: str, new: str) -> Any:
    """The object that a module now has as `new`; says so, to whoever asked the module for `old`."""
    warnings.warn(f"{module}.{old} is now {module}.{new}", DeprecationWarning, stacklevel=3)
    return getattr(import_module(module), new)
