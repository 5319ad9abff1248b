"""The program `chgdb`: its commands, and the one place where errors become a line and an exit code.

Exit codes: 0 done; 1 an error that the line on standard error explains, or not everything went in or verified;
2 wrong usage; 130 interrupted; 141 the reader of the output went away.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import Annotated, Any, TextIO

import typer

from chgdb_cli import output
from chgdb_cli.commands import Commands
from chgdb_cli.output import message

# Without typer's rich formatting: importing it would take longer than printing the help.
app = typer.Typer(
    name="chgdb",
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from chgdb import __version__

        print(f"chgdb {__version__}")
        raise typer.Exit()


@app.callback(
    epilog="""\b
Examples:
  chgdb fetch mp-149 --decode            the CHGCAR of silicon, in the current folder
  chgdb search --elements Li,O --where band_gap:2..
  chgdb info mp-149                      everything known about one material
  chgdb build my.zarr runs/              pack the CHGCARs below the folder runs
  chgdb COMMAND --help                   options and examples of a command""",
)
def chgdb(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Of remote stores use only what the cache holds (CHGDB_OFFLINE=1).")
    ] = False,
) -> None:
    """Electronic charge densities in a few hundred bytes each, with a stated error."""
    if offline:
        os.environ["CHGDB_OFFLINE"] = "1"


def run() -> None:
    """Entry point: run the command line and exit with its code."""
    _open_closed_streams()
    _name_output()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Å gets a question mark, not a traceback
    warnings.showwarning = _show_warning
    code = _exit_code()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: an interrupt now would only make a traceback
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _gone()
    except OSError as error:
        if code == 0:
            message(f"chgdb: standard output cannot be written: {error.strerror or error}")
        _drop_output()
        code = 1
    sys.exit(code)


def _open_closed_streams() -> None:
    """Open the standard streams that the caller has closed.

    Otherwise the next file that is opened, perhaps a store's, would get the number of such a stream, and with it what
    is printed. Writing to a standard output that was closed still fails, as it must.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the end
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the end


class _Output(io.FileIO):
    """Standard output whose errors name it; errors of an open file have no name."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "standard output cannot be written"
            raise


def _name_output() -> None:
    """If standard output is a file or a pipe, its errors get a name."""
    now = sys.stdout
    if now is sys.__stdout__ and isinstance(now, io.TextIOWrapper) and not now.isatty():
        raw = _Output(1, "w", closefd=False)
        file: Any = raw if now.write_through else io.BufferedWriter(raw)
        sys.stdout = io.TextIOWrapper(
            file, now.encoding, now.errors, line_buffering=now.line_buffering, write_through=now.write_through
        )


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    """One line, as for an error; where in the source a warning was made is for developers."""
    text = f"chgdb: {message}" if issubclass(category, UserWarning) else f"{category.__name__}: {message}"
    output.message(text)


def _exit_code(arguments: list[str] | None = None) -> int:
    """Run one command; every error a user can cause becomes one line on standard error."""
    from chgdb.errors import ChgdbError

    try:
        result: Any = app(arguments, standalone_mode=False, prog_name="chgdb")
    except ChgdbError as error:
        message(f"chgdb: {error}")
        return 1
    except (KeyboardInterrupt, typer.Abort):  # older versions of typer make an Abort of the one, newer an exit code
        result = 130
    except BrokenPipeError:
        return _gone()
    except SystemExit as error:
        return _gone() if isinstance(error.__context__, BrokenPipeError) else int(error.code or 0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        message(f"chgdb: {where}{error.strerror or error}")
        return 1
    except MemoryError:
        message("chgdb: not enough memory; use a coarser grid or fewer workers")
        return 1
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # wrong usage, as typer reports it
            if hasattr(error, "message"):
                from chgdb.urls import without_secrets

                error.message = without_secrets(str(error.message))
            with suppress(OSError):  # the reader of standard error has gone
                error.show()
            return int(error.exit_code)
        if os.environ.get("CHGDB_DEBUG") == "1":
            raise
        message(
            f"chgdb: unexpected {type(error).__name__}: {error}: this is a bug in chgdb, please report it; "
            "set CHGDB_DEBUG=1 to see where it happened"
        )
        return 1
    if result == 130:
        # Where the interrupt came while `exec` ran a text (dataclasses do, when imported), `python -m` would die of the
        # signal after all, whatever the exit code; the next text makes it forget.
        exec("")
        message(f"chgdb: interrupted{_advice(sys.argv[1:] if arguments is None else arguments)}")
    return result if isinstance(result, int) else 0


#: Commands that keep what they have done when they are interrupted.
_GO_ON = ("build", "fetch", "publish", "pull", "train autoencoder", "train density", "charges")
#: Long ones that begin anew; nothing of them is half written.
_AGAIN = ("merge", "subset", "remove", "rename", "add-columns", "verify", "train properties", "web")


def _advice(arguments: list[str]) -> str:
    """The advice after an interrupt, by the command.

    >>> _advice(["--offline", "fetch", "mp-149"]), _advice(["train", "density"]), _advice(["merge", "a", "b"])
    (': run it again to go on', ': run it again to go on', ': run it again')
    """
    words = [argument for argument in arguments if not argument.startswith("-")]
    command = " ".join(words[: 2 if words[:1] == ["train"] else 1])
    if command == "charges" and not any(argument.startswith(("-o", "--output")) for argument in arguments):
        return ""  # what is finished is kept beside the file
    return ": run it again to go on" if command in _GO_ON else ": run it again" if command in _AGAIN else ""


def _gone() -> int:
    """The reader of standard output has closed it (`| head`): nothing to say, and nobody to say it to."""
    _drop_output()
    return 141


def _drop_output() -> None:
    """Drop the buffer of standard output: the interpreter would try to write it again at its end, and complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


if __name__ == "__main__":
    run()
