"""Java programs that read a text and write another."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from diffvqa.pool import LOOK_EVERY, wake


def run_java(arguments: Sequence[str], text: str, folder: Path | None = None) -> str | None:
    """The output of a Java program that reads a text, run in `folder` if given.

    None where it fails or is ended, or there is no Java; one that is stopped is let go on.
    """
    # Java reads a file. A pipe would block for ever if Java did not read it.
    with tempfile.TemporaryFile() as read:
        read.write(text.encode())
        read.seek(0)
        try:
            program = subprocess.Popen(
                ["java", *arguments], stdin=read, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder
            )
        except OSError:
            return None
        with program:
            try:
                return _written(program)
            finally:
                # Who stops early leaves nothing behind.
                program.kill()


def _written(program: subprocess.Popen[bytes]) -> str | None:
    while True:
        try:
            written, _ = program.communicate(timeout=LOOK_EVERY)
        except subprocess.TimeoutExpired:
            wake(program.pid)
        else:
            return written.decode() if program.returncode == 0 else None
