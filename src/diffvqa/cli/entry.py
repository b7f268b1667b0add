"""The start of the command line, and the end of a command: exit status and last words."""

from __future__ import annotations

import os
import re
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import typer

from diffvqa.cli.application import Stopped, app, last_words
from diffvqa.cli.output import guard_output
from diffvqa.cli.printing import say
from diffvqa.errors import InputError, RunFailed
from diffvqa.termination import say_stopped

# Some versions of typer bring their own copy of click. This is the error for a mistyped command line in all of them.
_UsageError: Any = typer.BadParameter.__base__

_UNREADABLE = re.compile(r""": \w+ ['"].*['"] is not readable\.""", re.DOTALL)


def main() -> None:
    """Run the command line; exit status 0 done, 1 failed, 2 wrong input."""
    try:
        guard_output()
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except InputError as error:
        status = _fail(last_words(error) or str(error))
    except RunFailed as error:
        # Only the process that found the fault prints it.
        print(f"error: {last_words(error) or error}", file=sys.stderr)
        status = 1
    except _UsageError as error:
        # typer quotes the path of a file that may not be read. The path may name a patient.
        message = _UNREADABLE.sub(": the file may not be read; change its permissions.", error.format_message())
        status = _fail(f"{' '.join(message.split())} See `diffvqa --help`.")
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
        print(f"error: {_reason_of(error)}", file=sys.stderr)
        status = 1
    _leave(status or 0)


def _leave(status: int) -> NoReturn:
    """End this process. status: its exit status."""
    if "RANK" in os.environ:
        # A process of several that train together. When Python frees everything at its end, threads of the connection
        # may still run, and abort the process now and then.
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with suppress(RunFailed, OSError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


def _reason_of(error: OSError) -> str:
    """The meaning of an unforeseen error of the system; its own text names the file, which may be a patient's."""
    # The line of this package tells more.
    here = str(Path(__file__).parents[1])
    place = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(here)][-1]
    line = f"{Path(place.filename).name}:{place.lineno}"
    if isinstance(error, FileNotFoundError):
        return f"a file or folder is missing, or was moved meanwhile ({line}); put it back, and give the command again"
    return f"a file cannot be used: {error.strerror or type(error).__name__} ({line})"


def _fail(message: str) -> int:
    """Print what is wrong with the input, and return the exit status."""
    say(f"error: {message}", file=sys.stderr)
    return 2
