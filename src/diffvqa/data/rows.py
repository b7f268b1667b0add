"""Tables on disk, comma-separated (plain or gzip-compressed) or Parquet, read row by row with their header checked."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from diffvqa.errors import InputError
from diffvqa.records import Problem, Source

_BATCH = 8192  # rows of a Parquet file that are held at a time
_CHUNK = 1 << 20  # bytes of a table of text that are decoded at a time
_ODD = "\ufffd"  # what stands for bytes that are no UTF-8


class Row(NamedTuple):
    """One row: its number, as a spreadsheet counts (the header is row 1), and its cells, stripped of white space."""

    number: int
    cells: dict[str, str]


def read_rows(
    path: Path,
    columns: Sequence[str],
    problems: list[Problem],
    optional: Sequence[str] = (),
    separator: str = ",",
    either: Sequence[str] = (),
    once: bool = False,
) -> Iterator[Row]:
    """The rows of a table, each with the cells of `columns`, and of those `optional` columns that are there, as text.

    either: columns of which one at least must be there; a row has the cells of those that are. once: a row whose cells
    all stand in one above is skipped and added to `problems` as `row_duplicated`.
    A row of more or fewer cells than the header is skipped and added to `problems` as `row_incomplete`, and so is one
    of a table of text with a cell that has swallowed the rows below; rows without any content are passed over. A
    byte-order mark is tolerated. Raises InputError for a missing file, a missing column and a damaged file; it names
    the file and the column.
    """
    wanted = (*columns, *either, *optional)
    is_text = path.suffix != ".parquet"
    read = _text_rows if is_text else _parquet_rows
    number = 1
    seen: set[int] = set()
    try:
        for number, header, cells in read(path, wanted, separator, problems):
            if number == 1:
                present = [name for name in wanted if name in header]
                _require_columns(path, header, present, columns, either, separator)
            elif is_text and any(_holds_a_row(cell, header, separator) for cell in cells):
                reason = "a cell holds what looks like further rows: a quotation mark is not closed, or is one too many"
                problems.append(Problem("row_incomplete", Source(path.name, number), reason))
            elif any(cells):
                if any(_ODD in cell for cell in cells):
                    problems.append(Problem("text_undecodable", Source(path.name, number), "not all of it is UTF-8"))
                row = Row(number, dict(zip(present, (cell.strip() for cell in cells), strict=True)))
                if once:
                    # Of 700,000 rows a hash each is kept, not the text.
                    key = hash(tuple(row.cells.values()))
                    if key in seen:
                        reason = "the same row stands above"
                        problems.append(Problem("row_duplicated", Source(path.name, number), reason))
                        continue
                    seen.add(key)
                yield row
    except FileNotFoundError as error:
        raise InputError(f"{path.name}: no such file in its folder") from error
    except PermissionError as error:
        raise InputError(f"{path.name}: no permission to read the file") from error
    except csv.Error as error:
        raise InputError(
            f"{path.name}: its first line cannot be read as a header; "
            "if its lines end with CR alone, save it with line ends of LF or CRLF"
        ) from error
    except pa.ArrowInvalid as error:
        raise InputError(f"{path.name}, after row {number}: not a table that can be read to its end") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path.name}: the file cannot be read to its end; fetch it again") from error


def _holds_a_row(cell: str, header: Sequence[str], separator: str) -> bool:
    """Whether lines of a cell, after its first, have as many separators as a row has.

    In prose a blank follows a comma: such commas separate no cells.
    """
    if "\n" not in cell or len(header) < 4:
        return False
    separators = re.compile(re.escape(separator) + "(?! )")
    return any(len(separators.findall(line)) >= len(header) - 1 for line in cell.split("\n")[1:])


def _require_columns(
    path: Path,
    header: Sequence[str],
    present: Sequence[str],
    columns: Sequence[str],
    either: Sequence[str],
    separator: str,
) -> None:
    if not any(header):
        raise InputError(f"{path.name}: the file is empty; a header with the names of columns was expected")
    missing = [repr(name) for name in columns if name not in header]
    if either and not any(name in header for name in either):
        missing.append(" or ".join(map(repr, either)))
    if missing:
        # Where not one name is known there may be no header, and the first row a patient's: it is not shown.
        known = present or path.suffix == ".parquet"
        found = (
            f"columns found: {', '.join(name for name in header if name)}"
            if known
            else f"its first row has {len(header)} cells, none of them the name of a column that is looked for"
        )
        hint = "" if len(header) > 1 else f"; columns are separated by {separator!r}"
        if any(_ODD in name or "\0" in name for name in header):
            hint = "; it is no text in UTF-8: save it as CSV, comma-separated, in UTF-8"
        raise InputError(f"{path.name}: no column {', '.join(missing)}; {found}{hint}")


_Line = tuple[int, Sequence[str], Sequence[str]]
"""Row number, the header, the wanted cells of that row; row 1 is the header and has none."""


def _text_rows(path: Path, wanted: Sequence[str], separator: str, problems: list[Problem]) -> Iterator[_Line]:
    with _open(path) as file:
        first = file.readline().decode("utf-8-sig", errors="replace").rstrip("\r\n")
        header = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
        yield 1, header, ()
        if not file.peek(1):
            return
        skipped: list[int] = []

        def skip(row: Any) -> str:
            # Numbered from 1 after the header, which was taken off above.
            skipped.append(row.number + 1)
            if row.text.strip():
                reason = f"{row.actual_columns} cells, the header has {row.expected_columns}"
                problems.append(Problem("row_incomplete", Source(path.name, row.number + 1), reason))
            return "skip"

        names = [str(place) for place in range(len(header))]  # those of the header may occur twice, or be empty
        places = [names[header.index(name)] for name in wanted if name in header]
        batches = pa.csv.open_csv(
            io.BufferedReader(_Mended(file), _CHUNK),
            pa.csv.ReadOptions(use_threads=False, column_names=names),
            pa.csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
            ),
            pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), include_columns=places),
        )
        number, passed = 1, 0
        for batch in batches:
            for cells in zip(*(batch.column(place).to_pylist() for place in places), strict=True):
                number += 1
                while passed < len(skipped) and skipped[passed] == number:
                    number, passed = number + 1, passed + 1
                yield number, header, cells


class _Mended(io.RawIOBase):
    """The content of a file, with an odd character for bytes that are no UTF-8: they cost that, not the whole table."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        ended = False
        while not (self._left or ended):
            raw = self._file.read(_CHUNK)
            ended = not raw
            self._left = memoryview(self._decoder.decode(raw, final=ended).encode("utf-8"))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _parquet_rows(path: Path, wanted: Sequence[str], _: str, __: list[Problem]) -> Iterator[_Line]:
    with pa.parquet.ParquetFile(path) as file:
        header = file.schema_arrow.names
        yield 1, header, ()
        number = 1
        for batch in file.iter_batches(_BATCH, columns=[name for name in wanted if name in header]):
            columns = [batch.column(name).to_pylist() for name in wanted if name in header]
            for cells in zip(*columns, strict=True):
                number += 1
                yield number, header, ["" if cell is None else str(cell) for cell in cells]


def read_cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of every row with content of a small table, the header first, whatever their count of cells.

    For tables whose header does not name every column. Raises InputError for a file that cannot be read.
    """
    try:
        with _open(path) as file:
            rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=""))
            yield from (
                (number, [cell.strip() for cell in cells]) for number, cells in enumerate(rows, 1) if any(cells)
            )
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise InputError(f"{path.name}: the file cannot be read to its end; fetch it again") from error


def _open(path: Path) -> Any:
    """A file to read bytes from, with `peek`."""
    return gzip.open(path) if path.suffix == ".gz" else open(path, "rb")


def find_table(folder: Path, *patterns: str) -> Path | None:
    """The file in a folder that matches the first pattern with a match; the last in alphabetical order of several."""
    for pattern in patterns:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if found:
            return found[-1]
    return None
