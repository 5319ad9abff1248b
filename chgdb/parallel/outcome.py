"""The outcome of one task among many: its result, or the reason why it has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import ChgdbError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """The outcome of a task: its result, or None and the reason in one line."""

    task: T
    result: R | None
    reason: str = ""


def attempt(function: Callable[[T], R], task: T) -> Outcome[T, R]:
    """Run one task here; whatever it raises becomes the reason of its outcome."""
    try:
        return Outcome(task, function(task))
    except MemoryError:
        return Outcome(task, None, "not enough memory")
    except ChgdbError as error:
        return Outcome(task, None, str(error))
    except OSError as error:
        return Outcome(task, None, f"cannot be read: {error}")
    except Exception as error:  # one bad file among thousands must not end the build; the report has it
        return Outcome(task, None, f"unexpected {type(error).__name__}: {error}".splitlines()[0])
