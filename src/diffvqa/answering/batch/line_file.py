"""A file of JSON lines that grows some rows at a time, and that a run which was stopped goes on with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from diffvqa.errors import InputError, RunFailed
from diffvqa.parsing import parse_json
from diffvqa.runs import Claim

Write = Callable[[Sequence[Mapping[str, Any]]], None]


@dataclass(frozen=True, slots=True)
class WrittenLines:
    """The content of a file so far: its complete lines, those with a problem, and their size and SHA-256."""

    lines: int = 0
    problems: int = 0
    size: int = 0
    sha256: str = hashlib.sha256().hexdigest()


def find_written(claim: Claim, ids: Sequence[str]) -> WrittenLines:
    """The lines that a run of the same claim has written, as far as the digest in its record covers them.

    ids: of all lines of the finished file, in their order. Raises InputError if the file cannot be made, is another,
    or was changed since.
    """
    if not claim.out.parent.is_dir():
        raise InputError("there is no folder to write it into; make it, or give another path", argument="out")
    run = claim.find()
    if not run.before:
        return WrittenLines()
    try:
        content = claim.out.read_bytes()
        # Records of older versions do not say what was written: whole lines count.
        whole = content[: content.rfind(b"\n") + 1]
        seal = run.record.get("written") or _seal(whole)
        # Lines that a stopped run wrote after the seal are written again.
        content = content if run.finished else content[: seal["bytes"]]
        if _seal(content) != seal:
            raise ValueError("not what was written")
        rows = [parse_json(line) for line in content.splitlines()]
        if [row["id"] for row in rows] != list(ids[: len(rows)]):
            raise ValueError("of other rows")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            "the file has changed since it was written; remove the file to begin again", argument="out"
        ) from error
    return WrittenLines(len(rows), sum("problem" in row for row in rows), seal["bytes"], seal["sha256"])


@contextmanager
def open_after(claim: Claim, ids: Sequence[str], written: WrittenLines, images: str) -> Iterator[Write]:
    """A function that appends rows as JSON lines after those that `find_written` found, to a file for its owner only.

    images: a digest of the image files; lines that were written before must be of the same. Raises InputError if the
    file cannot be written, if another process is writing it, or has written it since; RunFailed if it is moved or
    removed meanwhile.
    """
    with claim.held() as run:
        # Looked at again: a model takes seconds to load, and another process may have begun and ended meanwhile.
        if find_written(claim, ids) != written:
            raise InputError("another process has written the file meanwhile; give the command again", argument="out")
        if run.before and run.record.get("images", images) != images:
            raise InputError(
                "radiographs of the table have changed since the run began; restore them, or remove the file to begin "
                "again",
                argument="out",
            )
        size = written.size
        run.write(images=images, written={"bytes": size, "sha256": written.sha256})
        with claim.out.open("r+b") as file:
            file.truncate(size)
            # Read to its end, where the next rows are written.
            digest = hashlib.sha256(file.read())

            def write(rows: Sequence[Mapping[str, Any]]) -> None:
                nonlocal size
                _require_there(claim.out, file)
                lines = "".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in rows).encode()
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
                size += len(lines)
                digest.update(lines)
                run.write(written={"bytes": size, "sha256": digest.hexdigest()})

            yield write
            _require_there(claim.out, file)
        run.finish()


def _require_there(path: Path, file: BinaryIO) -> None:
    """Raises RunFailed if an open file is no longer at its path: what is written to it would be lost."""
    if not (os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(file.fileno()))):
        raise RunFailed("the file of answers was moved or removed while it was written; give the command again")


def _seal(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
