"""The start of the command line, and the end of a command: exit status and last words."""

from __future__ import annotations

import codecs
import sys
import traceback
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import typer

from diffvqa.cli.application import Stopped, app, last_words
from diffvqa.cli.printing import say
from diffvqa.errors import InputError, RunFailed
from diffvqa.termination import say_stopped

# Some versions of typer bring their own copy of click. This is the error for a mistyped command line in all of them.
_UsageError: Any = typer.BadParameter.__base__


def main() -> None:
    """Run the command line; exit status 0 done, 1 failed, 2 wrong input."""
    codecs.register_error("as far as it goes", _as_far_as_it_goes)
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal cannot show must not end the command.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="as far as it goes" if stream is sys.stdout else "backslashreplace")
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except InputError as error:
        status = _fail(last_words(error) or str(error))
    except RunFailed as error:
        # With several processes, only the one that found the fault prints it.
        print(f"error: {last_words(error) or error}", file=sys.stderr)
        status = 1
    except _UsageError as error:
        status = _fail(f"{' '.join(error.format_message().split())} See `diffvqa --help`.")
    except Stopped as stop:
        status = say_stopped(stop.__cause__)
    except MemoryError:
        print("error: the memory is full; give the command more, or less to do at once", file=sys.stderr)
        status = 1
    except FileExistsError as error:
        # A place that a user names is looked at before; in a folder that we write to all names are ours.
        status = _fail(
            f"{Path(str(error.filename)).name} is to be written into the folder given, and something else stands there "
            "(a link, a pipe, a device, a folder or a file in the place of one); remove it, or give another folder"
        )
    except OSError as error:
        # The text of an unforeseen error names the file, which may be a patient's. The message gives the line of this
        # package instead.
        here = str(Path(__file__).parents[1])
        place = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(here)][-1]
        reason = error.strerror or type(error).__name__
        print(f"error: a file cannot be used: {reason} ({Path(place.filename).name}:{place.lineno})", file=sys.stderr)
        status = 1
    sys.exit(status or 0)


def _as_far_as_it_goes(error: UnicodeError) -> tuple[bytes, int]:
    """Keep the bytes of file names that are not UTF-8; write other characters that cannot be encoded as numbers."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = b""
    for one in error.object[error.start : error.end]:
        shown += one.encode("ascii", "surrogateescape" if "\udc80" <= one <= "\udcff" else "backslashreplace")
    return shown, error.end


def _fail(message: str) -> int:
    """Print what is wrong with the input, and return the exit status."""
    say(f"error: {message}", file=sys.stderr)
    return 2
