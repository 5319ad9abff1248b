"""Progress of long work: a bar on standard error, or calls of the caller's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..text import shown_text


@contextmanager
def reporting(
    progress: bool | Callable[[int, int, str], None], title: str, done: int, total: int
) -> Iterator[Callable[[str], None]]:
    """A function to call with the name of each finished item: draws a bar on standard error, or calls `progress`."""
    if not progress:
        yield lambda name: None
        return
    count = done
    if callable(progress):

        def call(name: str) -> None:
            nonlocal count
            count += 1
            progress(count, total, name)

        yield call
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[name]}", markup=False), console=Console(stderr=True)) as bar:
        item = bar.add_task(title, completed=done, total=total, name="")
        yield lambda name: bar.update(item, advance=1, name=shown_text(name))
