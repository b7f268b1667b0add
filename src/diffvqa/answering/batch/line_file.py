"""A file of JSON lines that grows row by row, and that a run which was stopped goes on with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from diffvqa.errors import InputError
from diffvqa.runs import Claim


@dataclass(frozen=True, slots=True)
class WrittenLines:
    """The content of a file so far: its complete lines, how many of them hold a problem, and their size in bytes."""

    lines: int = 0
    problems: int = 0
    size: int = 0


def find_written(claim: Claim, ids: Sequence[str]) -> WrittenLines:
    """The lines that a run of the same claim has written; a line that was cut off does not count.

    ids: of all lines of the finished file, in their order. Raises InputError if the file cannot be made, or is another.
    """
    if not claim.out.parent.is_dir():
        raise InputError("there is no folder to write it into; make it, or give another path", argument="out")
    lines = problems = size = 0
    if not claim.find().before:
        return WrittenLines()
    try:
        with claim.out.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                row = json.loads(line)
                if row["id"] != ids[lines]:
                    raise ValueError("of another row")
                lines, problems, size = lines + 1, problems + ("problem" in row), size + len(line)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"line {lines + 1} of the file has changed since it was written; remove the file to begin again",
            argument="out",
        ) from error
    return WrittenLines(lines, problems, size)


@contextmanager
def open_after(claim: Claim, ids: Sequence[str], written: WrittenLines) -> Iterator[BinaryIO]:
    """The file, open to go on after what `find_written` found, readable to its owner only.

    Raises InputError if it cannot be written, if another process is writing it, or has written it since.
    """
    with claim.held() as run:
        # Looked at again: a model takes seconds to load, and another process may have begun and ended meanwhile.
        if find_written(claim, ids) != written:
            raise InputError("another process has written the file meanwhile; give the command again", argument="out")
        run.write()
        with claim.out.open("r+b") as file:
            file.truncate(written.size)
            file.seek(written.size)
            yield file
        run.finish()


def write_lines(file: BinaryIO, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, and let none wait in this process."""
    file.writelines(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n".encode() for row in rows)
    file.flush()
