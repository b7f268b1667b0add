"""A file of JSON lines that grows row by row, and that a run which was stopped goes on with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from diffvqa.errors import InputError
from diffvqa.files import hold, write_text

RECORD = ".run.json"
"""After the name of the file: the facts that it was written under."""


@dataclass(frozen=True, slots=True)
class Written:
    """What is there of a file: whole lines, how many of them hold a problem, and their size in bytes."""

    lines: int = 0
    problems: int = 0
    size: int = 0


def find_written(path: Path, facts: Mapping[str, Any], ids: Sequence[str]) -> Written:
    """What a run with the same facts has written, its lines having these ids; a line that was torn off does not count.

    Raises InputError if the file cannot be made there, or is something else.
    """
    if not os.path.exists(path):
        if not os.path.isdir(path.parent):
            raise InputError("there is no folder to write it into; make it, or give another path", argument="out")
        return Written()
    if os.path.isfile(path) and not os.path.getsize(path):
        return Written()
    try:
        found = json.loads(_record(path).read_text(encoding="utf-8"))
        differing = [name for name in facts if found.get(name) != facts[name]]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"there is a file already which this command has not written, or its {RECORD} is lost; give another name",
            argument="out",
        ) from error
    if differing:
        raise InputError(
            f"the file there was written with other settings ({', '.join(differing)}); give another name, or "
            "remove that file",
            argument="out",
        )
    lines = problems = size = 0
    try:
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                row = json.loads(line)
                if row["id"] != ids[lines]:
                    raise ValueError("of another row")
                lines, problems, size = lines + 1, problems + ("problem" in row), size + len(line)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"line {lines + 1} of the file there is not what was written; remove the file to begin anew", argument="out"
        ) from error
    return Written(lines, problems, size)


@contextmanager
def open_after(path: Path, facts: Mapping[str, Any], ids: Sequence[str], written: Written) -> Iterator[BinaryIO]:
    """The file, open to go on after what `find_written` found, readable to its owner only.

    Raises InputError if it cannot be written, if another process is writing it, or has written it since.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InputError(f"cannot be written there ({error.strerror}); give another path", argument="out") from error
    with os.fdopen(descriptor, "r+b") as file:
        if not hold(descriptor):
            raise InputError("another process is writing the file; wait for it, or end it", argument="out")
        # Looked at again: a model takes seconds to load, and another process may have begun and ended meanwhile.
        if find_written(path, facts, ids) != written:
            raise InputError("another process has written the file meanwhile; give the command again", argument="out")
        try:
            os.fchmod(descriptor, 0o600)
            write_text(_record(path), json.dumps(facts, indent=2) + "\n")
        except OSError as error:
            raise InputError(
                f"cannot be written there ({error.strerror}); give another path", argument="out"
            ) from error
        file.truncate(written.size)
        file.seek(written.size)
        yield file


def write_lines(file: BinaryIO, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, and let none wait in this process."""
    file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)
    file.flush()


def _record(path: Path) -> Path:
    return path.with_name(path.name + RECORD)
