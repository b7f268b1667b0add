"""Java programs that read a text and write another."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from diffvqa.pool import LOOK_EVERY, is_stopped


def run_java(arguments: Sequence[str], text: str, folder: Path | None = None) -> str | None:
    """What a program writes when it reads a text, in `folder` if given.

    None where it fails, is ended or stopped, or there is no Java.
    """
    # From a file: what is sent through a pipe would be waited for without an end if the program does not take it.
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
                # Whoever stops early, or finds it stopped, leaves nothing behind.
                program.kill()


def _written(program: subprocess.Popen[bytes]) -> str | None:
    stopped = False
    while True:
        try:
            written, _ = program.communicate(timeout=LOOK_EVERY)
        except subprocess.TimeoutExpired:
            before, stopped = stopped, is_stopped(program.pid)
            if before and stopped:
                return None
        else:
            return written.decode() if program.returncode == 0 else None
