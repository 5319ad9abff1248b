"""The parts of a training: materials that train a model, stop it, and measure it, chosen by reduced formula.

The rule is a function of the formula alone, so that polymorphs never straddle, a store that grows keeps its split, and
anybody can recompute it:

1. A formula of which arXiv 2605.07227 has a material in its autoencoder split takes that part. If the paper itself has
polymorphs in several parts, test goes before validation and validation before training: materials that the paper tests
with never train, and its test set is contained in ours. 2. 80 % of all other formulas train, 10 % validate and 10 %
test, by a hash of the formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .checksums import hash64
from .elements import canonical_formula
from .errors import ChgdbError

#: Parts of a split. If several claim a formula, the last one here gets it.
PARTS = ("train", "validation", "test")
#: How a table may write them, `labels.csv` and the column `paper_split` among them.
_SPELLINGS = {"train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}
#: The rule in one sentence, for the files that record which one was used.
RULE = (
    "by reduced formula: the part that the autoencoder split of arXiv 2605.07227 has it in (test before validation "
    "before train where it has several), else 80/10/10 by the BLAKE2b-64 hash of the formula"
)


class SplitError(ChgdbError, ValueError):
    """Rows that cannot be split: lengths differ, or a part is not one of `PARTS`."""


def by_hash(formula: str) -> str:
    """Part of a formula that is not in the paper's split.

    It is BLAKE2b with 8 bytes of output over its ASCII text, read big-endian, as a fraction of 2^64: below 0.8 train,
    below 0.9 validation, else test.

    Parameters
    ----------
    formula : str
        A formula, in any order of its elements.

    Returns
    -------
    str

    Raises
    ------
    DensityError
        For a text that is not a formula.

    Examples
    --------
    >>> by_hash("SiO2") == by_hash("O4Si2")
    True
    """
    value = hash64(canonical_formula(formula))
    tenth = value * 10 >> 64
    return "train" if tenth < 8 else "validation" if tenth < 9 else "test"


def claims(formulas: Sequence[str], paper: Sequence[str | None]) -> dict[str, str]:
    """The formulas in the paper's split, with their parts. See `assign`.

    Parameters
    ----------
    formulas : Sequence[str]
        Formula of each material.
    paper : Sequence[str | None]
        Part of each material in the paper's split; None where it has none.

    Returns
    -------
    dict[str, str]
        Reduced formula -> part.
    """
    if len(paper) != len(formulas):
        raise SplitError(f"{len(formulas)} formulas do not go with {len(paper)} parts of the paper's split")
    claimed: dict[str, str] = {}
    for formula, part in zip(formulas, paper, strict=True):
        if name := _part(part, formula):
            key = canonical_formula(str(formula))
            claimed[key] = max(name, claimed.get(key, name), key=PARTS.index)
    return claimed


def assign(
    formulas: Sequence[str], paper: Sequence[str | None] | None = None, known: Mapping[str, str] | None = None
) -> np.ndarray:
    """Part of each row: an array of "train", "validation" and "test", (n,) of text.

    Parameters
    ----------
    formulas : Sequence[str]
        Formulas of the rows, in any way of writing them.
    paper : Sequence[str | None] | None
        For each row what the paper's split says ("train", "val" or "validation", "test"), and None, "" or NaN for a
        material that the paper does not have. All rows of a formula get the same part, see the module.
    known : Mapping[str, str] | None
        `claims` of more materials than these. With those of the whole of `labels.csv` the part of a material does
        not depend on which others there are (yet); without, a formula changes its part when the paper's material of
        that formula is added.

    Returns
    -------
    np.ndarray

    Raises
    ------
    SplitError
        If the lengths differ or a part is unknown.
    DensityError
        For a text that is no formula.

    Examples
    --------
    >>> assign(["SiO2", "NaCl", "O2Si"], ["test", "train", None]).tolist()
    ['test', 'train', 'test']
    """
    keys = [canonical_formula(str(formula)) for formula in formulas]
    claimed = dict(known or {})
    for key, part in claims(keys, paper).items() if paper is not None else ():
        claimed[key] = max(part, claimed.get(key, part), key=PARTS.index)
    return np.array([claimed.get(key) or by_hash(key) for key in keys], dtype="<U10")


def split(
    ids: Sequence[str], formulas: Sequence[str], paper_split: Sequence[str | None] | None = None
) -> dict[str, list[str]]:
    """Ids of each part, in the order given.

    Parameters
    ----------
    ids : Sequence[str]
        Material ids.
    formulas, paper_split
        For each id, as `formulas` and `paper` of `assign`.

    Returns
    -------
    dict[str, list[str]]
        "train", "validation" and "test" -> ids.

    Raises
    ------
    SplitError
        If the lengths differ or a part is unknown.

    Examples
    --------
    >>> split(["a", "b"], ["SiO2", "NaCl"], ["test", "train"])
    {'train': ['b'], 'validation': [], 'test': ['a']}
    """
    parts = assign(formulas, paper_split)
    if len(ids) != len(parts):
        raise SplitError(f"{len(ids)} ids do not go with {len(parts)} formulas")
    return {name: [str(i) for i, part in zip(ids, parts, strict=True) if part == name] for name in PARTS}


def _part(value: object, formula: str) -> str:
    """A part by its name; "" where there is none."""
    if value is None or value == "" or value != value:
        return ""
    try:
        return _SPELLINGS[str(value)]
    except KeyError:
        raise SplitError(f"{value!r} is no part of a split ({formula}); expected train, val or test") from None
