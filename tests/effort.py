"""How much a test repeats: a part by default, everything with `pytest --thorough`, as before a release."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

THOROUGH = os.environ.get("CHGDB_THOROUGH") == "1"

_T = TypeVar("_T")


def examples(number: int) -> int:
    """Examples of Hypothesis, for `settings(max_examples=...)`: by default a quarter, and other ones in each run."""
    return number if THOROUGH else max(number // 4, 10)


def some(items: Sequence[_T], number: int, keep: Sequence[_T] = ()) -> list[_T]:
    """About as many of the items, evenly spread, with the first, the last and those to keep; or all of them."""
    step = 1 if THOROUGH else max(len(items) // number, 1)
    chosen = {0, len(items) - 1, *range(0, len(items), step), *(items.index(item) for item in keep)}
    return [items[place] for place in sorted(chosen)]
