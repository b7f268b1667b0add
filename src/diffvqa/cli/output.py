"""The standard output of a command: a result that could not be written must not look like one that was."""

from __future__ import annotations

import codecs
import os
import sys
from io import TextIOWrapper

from diffvqa.errors import RunFailed


class _Output(TextIOWrapper):
    """Standard output whose errors are RunFailed."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise self._failed(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> RunFailed:
        # Python would try to write the rest at the end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        return RunFailed(f"the standard output cannot be written ({error.strerror}); files that were written are kept")


def guard_output() -> None:
    """Have errors of the standard output reported, and characters written that a terminal cannot show.

    Raises RunFailed if the standard output is closed.
    """
    codecs.register_error("as far as it goes", _as_far_as_it_goes)
    if sys.stdout is None:
        # The next file that is opened would take its place.
        raise RunFailed("the standard output is closed; send it to a file, or to /dev/null")
    if type(sys.stdout) is TextIOWrapper:
        encoding, is_terminal = sys.stdout.encoding, sys.stdout.line_buffering
        sys.stdout = _Output(sys.stdout.detach(), encoding, "as far as it goes", line_buffering=is_terminal)
    if isinstance(sys.stderr, TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def _as_far_as_it_goes(error: UnicodeError) -> tuple[bytes, int]:
    """Keep the bytes of file names that are not UTF-8; write other characters that cannot be encoded as numbers."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = b""
    for one in error.object[error.start : error.end]:
        shown += one.encode("ascii", "surrogateescape" if "\udc80" <= one <= "\udcff" else "backslashreplace")
    return shown, error.end
