"""Criteria of a search: how users write them, and which values of a column meet them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from .elements import atomic_number, canonical_formula
from .errors import CriterionError

#: Relative difference of a number from what tables show of it, six digits.
_SHOWN = 5e-6
#: Words for what a column of true and false holds.
_TRUTH = {"yes": 1, "true": 1, "1": 1, "no": 0, "false": 0, "0": 0, "unknown": -1}
#: Columns that hold several words, of which a criterion names some.
_LISTS = ("elements", "channels")


def parse(text: str) -> tuple[str, Any]:
    """A column's name and what is wanted of it: (low, high) for a range, else a text, which a column of numbers reads
    as a number.

    Raises `CriterionError` for anything else, and for a range without anything in it.

    >>> parse("band_gap:1..3"), parse("volume:..50"), parse("code:GPAW")
    (('band_gap', (1.0, 3.0)), ('volume', (None, 50.0)), ('code', 'GPAW'))
    """
    name, colon, value = text.partition(":")
    name, value = name.strip().replace("-", "_"), value.strip()
    if not colon or not name.isidentifier() or not value:
        raise CriterionError(f"{text!r} is not COLUMN:RANGE, such as band_gap:1..3")
    low, dots, high = value.partition("..")
    if not dots:
        return name, value
    try:
        limits = tuple(_number(end) if end.strip() else None for end in (low, high))
    except ValueError:
        raise CriterionError(f"{value!r} is not a range such as 1..3") from None
    _check_range(limits, value)
    return name, limits


def matches(values: np.ndarray, wanted: Any, name: str) -> np.ndarray:
    """Rows of a column that meet one criterion; see `Catalog.search`. A value that is not known meets none.

    Raises `CriterionError` if the column holds another kind of values.
    """
    if values.ndim > 1:
        raise CriterionError(f"column {name} holds {values.shape[1:]} values a material and cannot be searched")
    if isinstance(wanted, list | set | frozenset):
        found = [matches(values, each, name) for each in wanted]
        return np.any(found, axis=0) if found else np.zeros(len(values), bool)
    if isinstance(wanted, tuple):
        return _within(values, wanted, name)
    if values.dtype == object:
        return _like(values, str(wanted), name)
    if isinstance(wanted, str):
        wanted = _as_number(wanted, values, name)
    if isinstance(wanted, float):
        return np.isclose(values, wanted, rtol=_SHOWN, atol=0)
    return np.asarray(values == wanted, bool)


def symbols(elements: str | Iterable[str]) -> set[str]:
    """Chemical symbols of a text ("Na, Cl", "Na-Cl") or of a list. Raises `DensityError` for what is no element."""
    found = [s for s in re.split(r"[\s,;-]+", elements) if s] if isinstance(elements, str) else list(elements)
    for symbol in found:
        atomic_number(symbol)  # says which one is no element
    return set(found)


def _within(values: np.ndarray, limits: tuple[Any, ...], name: str) -> np.ndarray:
    if len(limits) != 2:
        raise CriterionError(f"a range for {name} is (low, high), not {limits!r}; give a list for any of some values")
    if values.dtype == object:
        raise CriterionError(f"column {name} holds texts: search for a value or a list of them, not for a range")
    _check_range(limits, f"{limits[0]}..{limits[1]}")
    low, high = (-math.inf if limits[0] is None else limits[0], math.inf if limits[1] is None else limits[1])
    unknown = values < 0 if values.dtype == np.int8 else values == 0 if name == "space_group" else np.isnan(values)
    return (values >= low) & (values <= high) & ~unknown


def _check_range(limits: tuple[Any, ...], text: str) -> None:
    low, high = limits
    if any(end is not None and end != end for end in limits):
        raise CriterionError(f"the range {text} has an end that is no number")
    if low is not None and high is not None and low > high:
        raise CriterionError(f"the range {text} is empty: its lower end comes first, as in {high:g}..{low:g}")


def _like(values: np.ndarray, wanted: str, name: str) -> np.ndarray:
    """Texts that say the same, capitals or not; also those that go on with a version or after a comma."""
    if name == "formula":
        return np.asarray(values == canonical_formula(wanted), bool)
    if name in _LISTS:
        words = symbols(wanted) if name == "elements" else set(re.split(r"[\s,;]+", wanted))
        return np.array([words <= set(text.split()) for text in values], bool)
    pattern = re.compile(rf"{re.escape(wanted)}([,;].*| v?\d.*)?", re.IGNORECASE | re.DOTALL)
    met = {text: pattern.fullmatch(text) is not None for text in set(values)}
    return np.array([met[text] for text in values], bool)


def _as_number(text: str, values: np.ndarray, name: str) -> float:
    if values.dtype == np.int8 and text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    try:
        return _number(text)
    except ValueError:
        kind = "yes or no" if values.dtype == np.int8 else "numbers"
        raise CriterionError(f"column {name} holds {kind}, not {text!r}") from None


def _number(text: str) -> float:
    if "_" in text or math.isnan(float(text)):
        raise ValueError(text)
    return float(text)
