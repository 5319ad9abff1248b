"""The program's first lines, before anything else is imported: an interrupt meanwhile is no traceback, either."""

from __future__ import annotations


def run() -> None:
    """Entry point: import the program and run it."""
    try:
        from chgdb_cli.main import run as run_command
    except KeyboardInterrupt:
        import os
        import sys

        if sys.stderr is not None:
            print("chgdb: interrupted", file=sys.stderr, flush=True)
        os._exit(130)  # a program that is half imported has nothing to clean up, and could only complain
    run_command()


if __name__ == "__main__":
    run()
