"""The table of a batch: which radiographs are to be compared, row by row."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffvqa.answering.case import read_question
from diffvqa.cells import said
from diffvqa.data.paths import written_alike
from diffvqa.data.rows import is_header, names_in, read_cells, without_empty
from diffvqa.errors import InputError

COLUMNS = ("id", "current", "prior", "prior_2, prior_3, ...", "question")
SHOWN = 5
"""A message names so many faults of a table and counts the others."""

_KNOWN = re.compile(r"id|current|prior|question|prior_([2-9]|[1-9]\d+)")


@dataclass(frozen=True, slots=True)
class PairRow:
    """One row. images: the files by their names (current, prior, prior 2, ...); question: None for the usual one."""

    number: int
    id: str
    images: Mapping[str, Path]
    question: str | None


def in_columns(name: str) -> str:
    """An argument as the column of the table that gives it, or else as the option of `diffvqa predict`."""
    column = name.replace(" ", "_")
    return f"`{column}`" if _KNOWN.fullmatch(column) else f"--{name.replace('_', '-')}"


def read_pairs(path: Path, encoding: str | None = None) -> list[PairRow]:
    """The rows of a table of pairs (CSV), its paths taken from its own folder.

    encoding: if it is not in Unicode. Rows are numbered as a spreadsheet does it, the header being row 1. Raises
    InputError for missing or unknown columns, and for rows that cannot be used. The error names rows and columns, and
    never their content.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise _refused("expected a file, found a folder, a pipe or a device")
    try:
        header, *rows = read_cells(path, encoding=encoding)
    except InputError as error:
        raise _refused(str(error)) from error
    except ValueError:
        raise _refused("the table is empty; a header with the names of columns was expected") from None
    names = names_in(header[1])
    _check_header(names)
    if not rows:
        raise _refused("the table has a header and no rows")
    faults: list[InputError] = []
    found: list[PairRow] = []
    for number, cells in rows:
        try:
            said_in = map(said, without_empty(cells, len(names)))
            found.append(_read_row(number, dict(zip(names, said_in, strict=True)), path.parent))
        except InputError as error:
            error.row = number
            faults.append(error)
        except ValueError:
            faults.append(InputError(f"{len(cells)} cells, the header has {len(names)}", row=number))
    faults += _repeated(found)
    if faults:
        raise _refused(_listed([fault.render(in_columns) for fault in faults]))
    return found


def require_files(rows: Sequence[PairRow]) -> None:
    """Raises InputError where files of rows are not there, with how many and the first of their rows."""
    there = {path: os.path.isfile(path) for path in {path for row in rows for path in row.images.values()}}
    missing = [
        f"row {row.number} {in_columns(name)}" for row in rows for name, path in row.images.items() if not there[path]
    ]
    if missing:
        raise _refused(
            f"{len(missing)} of the files named are not there: {_listed(missing, ', ')}; paths are relative to "
            "the folder of the table, or absolute"
        )


def stamps_of_images(rows: Sequence[PairRow]) -> str:
    """A digest of the size and the time of change of every file of rows: another one if any of them is exchanged."""
    digest = hashlib.sha256()
    for path in dict.fromkeys(path for row in rows for path in row.images.values()):
        about = os.stat(path)
        digest.update(f"{about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _refused(message: str) -> InputError:
    return InputError(message, argument="pairs")


def _check_header(names: Sequence[str]) -> None:
    known = f"the columns are {', '.join(COLUMNS)}"
    if "current" not in names:
        # Where there is no header, its cells are the first row's, and may be a patient's: they are not shown.
        raise _refused(f"the first row names no column `current`; {known}, separated by commas")
    unknown = [repr(name) for name in names if not _KNOWN.fullmatch(name)]
    if unknown:
        called = _listed(unknown, ", ") if is_header(names) else f"as {len(unknown)} of those that are there"
        raise _refused(f"no column is called {called}; {known}; rename or remove it")
    if len(set(names)) < len(names):
        raise _refused("a column is there twice; remove one of them")


def _read_row(number: int, cells: Mapping[str, str], folder: Path) -> PairRow:
    """Raises InputError with the column."""
    for name, cell in cells.items():
        if "\n" in cell or "\0" in cell:
            raise InputError(
                "a line break in a cell; a quotation mark is not closed, or is one too many", argument=name
            )
    if not cells["current"]:
        raise InputError("empty; every row needs the radiograph that is asked about", argument="current")
    if not cells.get("id", "-"):
        raise InputError("empty; give every row one, or remove the column", argument="id")
    priors = sorted((name for name in cells if name.startswith("prior")), key=_place)
    given = [name for name in priors if cells[name]]
    images = {"current": _file(folder, cells["current"])}
    for place, name in enumerate(given, start=1):
        if _place(name) != place:
            raise InputError(
                "there is none before it; fill `prior`, `prior_2` and so on, the nearest first", argument=name
            )
        images[name.replace("_", " ")] = _file(folder, cells[name])
    question = cells.get("question") or None
    read_question(question, alone=len(images) == 1)
    return PairRow(number, cells.get("id", str(number)), images, question)


def _place(name: str) -> int:
    return int(name.partition("_")[2] or 1)


def _file(folder: Path, cell: str) -> Path:
    # Resolved, so that one file under two names is one image. pathlib would raise for what is no path.
    return Path(os.path.realpath(folder / written_alike(cell)))


def _repeated(rows: Sequence[PairRow]) -> list[InputError]:
    first: dict[str, int] = {}
    return [
        InputError(f"the same as in row {first[row.id]}", argument="id", row=row.number)
        for row in rows
        if first.setdefault(row.id, row.number) != row.number
    ]


def _listed(faults: Sequence[str], separator: str = "; ") -> str:
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return separator.join(faults[:SHOWN]) + more
