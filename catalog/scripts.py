"""What the scripts of the data package have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable

from chgdb.errors import ChgdbError


def main(app: Callable[[], object]) -> None:
    """Run a command line; a user's error becomes one line and the exit code 1."""
    try:
        app()
    except (ChgdbError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
