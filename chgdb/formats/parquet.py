"""Parquet of the Materials Project's archives (emmet's `VolumetricArchive`): one density in a table. Read only.

Columns: `labels` (total, diff, or total, diff_x, diff_y, diff_z), `data` (ρ·V of each, flat, z fastest), `data_rank`
(the shape of each), `data_aug` (label and data of each ion), and the structure in `structure_lattice` (Å),
`structure_direct_coords` and `structure_atomic_num`. Older files have a column for each label, `data_total` and so on,
with nested lists. This follows emmet's source; no file of the Materials Project was at hand.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import augmentation
from ..density import CHANNELS, Crystal, Density
from ..errors import ChgdbError, FormatError, QuantityError, require
from ..limits import FIELD_VALUES
from .quantities import vasp_quantity
from .streams import Reader, bare_name

NAMES = ("*.parquet",)
BINARY = True

_LABELS = {
    "total": "total", "diff": "magnetization", "diff_x": "magnetization_x", "diff_y": "magnetization_y",
    "diff_z": "magnetization_z",
}  # fmt: skip


def recognises(head: bytes) -> bool:
    """Whether a file has the signature of Parquet."""
    return head.startswith(b"PAR1")


def read(reader: Reader, *, elements: Sequence[str] | None = None) -> Density:
    """A density from an open file. `elements` is not used.

    Raises `FormatError` for a table of something else or of several densities, `MissingExtraError` without pyarrow.
    """
    parquet = require("pyarrow.parquet", "formats", "reading a Parquet file")
    other = vasp_quantity(bare_name(reader.name).upper())
    if other:
        raise QuantityError(f"{reader.name}: it holds by its name {other}")
    try:
        columns = _columns(reader, parquet.ParquetFile(io.BytesIO(reader.whole()[0].read())))
    except FormatError:
        raise
    except Exception as error:  # Arrow's errors for damaged files have several bases
        raise reader.failure(f"damaged, cannot be read as Parquet: {_reason(error)}") from None
    try:
        return _density(columns)
    except (ChgdbError, KeyError, TypeError, ValueError, IndexError) as error:
        raise reader.failure(f"not a density of the Materials Project's archives: {_reason(error)}") from None


def _columns(reader: Reader, file: Any) -> dict[str, list[Any]]:
    """The columns of a table with one density."""
    names, facts = file.schema_arrow.names, file.metadata
    if "structure_lattice" not in names or not {"data", "data_total"} & set(names):
        raise reader.failure("a Parquet table without a density as those of the Materials Project have it")
    if facts.num_rows != 1:
        raise reader.failure(f"a table of {facts.num_rows} densities; write each to a file of its own")
    if sum(facts.row_group(0).column(i).num_values for i in range(facts.num_columns)) > FIELD_VALUES:
        raise reader.failure("more values than a density may have")
    columns: dict[str, list[Any]] = file.read(columns=[name for name in names if _is_ours(name)]).to_pydict()
    return columns


def _is_ours(name: str) -> bool:
    return name in ("labels", "data", "data_rank", "data_aug") or name.startswith(("data_", "structure_"))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:160] or type(error).__name__
    return f"it has no {text}" if isinstance(error, KeyError) else text


def _density(columns: dict[str, list[Any]]) -> Density:
    row = {name: values[0] for name, values in columns.items()}
    crystal = Crystal(
        np.array(row["structure_lattice"], float),
        np.array(row["structure_direct_coords"], float).reshape(-1, 3),
        np.array(row["structure_atomic_num"]),
    )
    if row.get("labels"):
        labels = list(row["labels"])
        fields = [np.array(v, float).reshape(s) for v, s in zip(row["data"], row["data_rank"], strict=True)]
        rest = row.get("data_aug") or [None] * len(labels)
    else:
        labels = [label for label in _LABELS if _given(row.get(f"data_{label}")) is not None]
        fields = [np.array(_given(row[f"data_{label}"]), float) for label in labels]
        rest = [_given(row.get(f"data_aug_{label}")) for label in labels]
    if "diff_x" in labels and "diff" in labels:  # pymatgen adds a signed norm of its own
        place = labels.index("diff")
        labels, fields, rest = ([*x[:place], *x[place + 1 :]] for x in (labels, fields, list(rest)))
    names = [_LABELS[label] for label in labels]
    channels = {name: field / crystal.volume for name, field in zip(names, fields, strict=True)}
    ordered = {name: channels[name] for name in CHANNELS.get(len(channels), tuple(channels))}
    after = {name: _occupancies(ions) for name, ions in zip(names, rest, strict=True)}
    kept = {name: text for name, text in after.items() if text}
    return Density(crystal, ordered, {"after": kept} if kept else {})


def _given(value: Any) -> Any:
    """The value of a column, which may be the only entry of a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _occupancies(ions: Any) -> str:
    if not ions:
        return ""
    return augmentation.to_text(
        {n: np.array(ion["data"], float) for n, ion in enumerate(ions, 1) if ion and ion["data"]}
    )
