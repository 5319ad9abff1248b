"""The Materials Project's public bucket: one gzip JSON of a `Chgcar` for each task, chgcars/TASK.json.gz.

    mp://                                all of them, ids are those of the tasks
    mp://mp-149,mp-22862                 these tasks
    mp://?table=tasks.csv                those of a table with the column task_id; material_id, where it has that, is
                                         the id, and all other columns go into the store

Every record keeps its task_id, URL and licence. A material has many tasks; which of them has its density the Materials
Project's own tables say (`task_id` of its charge densities), and a table of them is what `table` is for. A bucket in
the same layout elsewhere: mp://?bucket=NAME, with AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..errors import StoreError
from ..remote.connect import connect
from . import SIZE, URL, Entry, Listing, table_columns

BUCKET, PREFIX, SUFFIX = "materialsproject-parsed", "chgcars", ".json.gz"
LICENCE = "CC-BY-4.0"

_TASK = re.compile(r"[A-Za-z0-9]+-[A-Za-z0-9]+")


def listing(url: str) -> Listing:
    """The densities of a URL as above; of all of them a thousand keys a request are listed.

    Raises `StoreError` for a URL of another form and a table without the column.
    """
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    unknown = set(options) - {"table", "bucket"}
    named = [task for task in f"{parts.netloc}{parts.path}".replace("/", ",").split(",") if task]
    if unknown or (named and "table" in options):
        raise StoreError(f"{url}: expected mp://, mp://TASK,TASK, mp://?table=FILE.csv or mp://?bucket=NAME")
    place = f"s3://{options.get('bucket', BUCKET)}/{PREFIX}"
    rows = _rows(options["table"]) if "table" in options else [(task, task, {}) for task in named]
    sizes: dict[str, int] = {}
    if not rows:
        sizes = {key.removesuffix(SUFFIX): size for key, size in connect(place).sizes() if key.endswith(SUFFIX)}
        rows = [(task, task, {}) for task in sorted(sizes, key=_natural)]
    entries, refused = [], []
    for task, material_id, values in rows:
        if not _TASK.fullmatch(task):
            refused.append((task, "is no id of a task, such as mp-149"))
            continue
        address, size = f"{place}/{task}{SUFFIX}", sizes.get(task)
        known = {"licence": LICENCE, **values, "task_id": task, URL: address, **({SIZE: size} if size else {})}
        entries.append(Entry(material_id, address, size, values=known))
    return Listing(entries, refused)


def _natural(task: str) -> tuple[str, int, str]:
    prefix, _, number = task.partition("-")
    return prefix, int(number) if number.isdigit() else 0, task


def _rows(path: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(task, id, other columns) of each row of a table."""
    columns = table_columns(Path(path))
    if "task_id" not in columns:
        raise StoreError(f"{path}: has no column task_id, but {', '.join(columns)}")
    tasks = [str(task or "") for task in columns.pop("task_id")]
    names = columns.pop("material_id", [None] * len(tasks))
    values = [{name: cells[row] for name, cells in columns.items()} for row in range(len(tasks))]
    return [(task, str(name or task), given) for task, name, given in zip(tasks, names, values, strict=True)]
