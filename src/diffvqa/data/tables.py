"""Comma-separated tables, plain or gzip-compressed, read row by row with their header checked."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from diffvqa.errors import InputError


class Row(NamedTuple):
    """One row: its line in the file (the header is line 1) and the cells asked for, stripped of white space."""

    line: int
    cells: dict[str, str]


def read_rows(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of a table, each with the cells of `columns`, and of those `optional` columns that are there.

    A row that ends early has empty cells; rows without any content are passed over. A byte-order mark is tolerated.
    Raises InputError for a missing file, a missing column and a damaged file; it names the file and the column.
    """
    for line, header, cells in read_cells(path):
        if line == 1:
            missing = [name for name in columns if name not in header]
            if missing:
                raise InputError(
                    f"{path.name}: no column {', '.join(map(repr, missing))}; "
                    f"columns found: {', '.join(name for name in header if name) or 'none'}"
                )
            places = {name: header.index(name) for name in (*columns, *optional) if name in header}
            continue
        yield Row(line, {name: cells[at].strip() if at < len(cells) else "" for name, at in places.items()})


def read_cells(path: Path) -> Iterator[tuple[int, list[str], list[str]]]:
    """(line, header, cells) of every row with content, the header itself first as line 1.

    For tables whose header does not name every column. Raises InputError as `read_rows` does.
    """
    line = 0
    try:
        with _open(path) as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            if not any(header):
                raise InputError(f"{path.name}: the file is empty; a header with the names of columns was expected")
            yield 1, header, header
            for cells in rows:
                line = rows.line_num
                if any(cells):
                    yield line, header, cells
    except FileNotFoundError as error:
        raise InputError(f"{path.name}: no such file in its folder") from error
    except PermissionError as error:
        raise InputError(f"{path.name}: no permission to read the file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path.name}: the file cannot be read to its end; fetch it again") from error
    except csv.Error as error:
        raise InputError(f"{path.name}, after line {line}: not comma-separated text ({error})") from error


def _open(path: Path) -> TextIO:
    # Bytes that are no UTF-8 cost one odd character, not the whole table.
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return open(path, encoding="utf-8-sig", errors="replace", newline="")


def find_table(folder: Path, *patterns: str) -> Path | None:
    """The file in a folder that matches the first pattern with a match; the last in alphabetical order of several."""
    for pattern in patterns:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if found:
            return found[-1]
    return None
