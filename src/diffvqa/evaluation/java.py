"""Java programs that read a text and write another."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from diffvqa.pool import LOOK_EVERY, is_stopped


def run_java(arguments: Sequence[str], text: str, folder: Path | None = None) -> str | None:
    """What a program writes when it reads a text, in `folder` if given.

    None where it fails, is ended or stopped, or there is no Java.
    """
    command = ["java", *arguments]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    try:
        program = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, cwd=folder)
    except OSError:
        return None
    with program:
        try:
            return _answer(program, text.encode())
        finally:
            # Whoever stops early, or finds it stopped, leaves nothing behind.
            program.kill()


def _answer(program: subprocess.Popen[bytes], text: bytes) -> str | None:
    stopped, rest = False, text or None
    while True:
        try:
            written, _ = program.communicate(rest, timeout=LOOK_EVERY)
        except subprocess.TimeoutExpired:
            # It remembers what is still to be written.
            rest, before, stopped = None, stopped, is_stopped(program.pid)
            if before and stopped:
                return None
        else:
            return written.decode() if program.returncode == 0 else None
