"""Tables on disk, comma-separated (plain or gzip-compressed) or Parquet, read row by row with their header checked."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pyarrow as pa
import pyarrow.parquet

from diffvqa.cells import said
from diffvqa.errors import InputError
from diffvqa.records import Problem, Source

LONGEST_LINE = 2**24
"""Characters of a line of a table: a file without line ends must not fill the memory."""

_BATCH = 8192  # rows of a Parquet file that are held at a time
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
"""How tables in an encoding of Unicode may begin; of two that begin alike, the longer one first."""

_NO_TEXT = {b"PK\x03\x04": "a workbook or an archive", b"\xd0\xcf\x11\xe0": "a workbook", b"PAR1": "a Parquet file"}
"""How files begin that are given the name of a table of text, and what they are."""

_COLUMN = re.compile(r"(?!.*\d{4})[A-Za-z][A-Za-z0-9_ #,()\[\]/-]{,40}[\])]?|[a-z]\]|", re.ASCII)
"""Cells that can only be names of columns: values have dots or other marks, long numbers or letters beyond ASCII."""

_UNDECODED = re.compile("[\ud800-\udfff]")


class Row(NamedTuple):
    """One row: its number, as a spreadsheet counts (the header is row 1), and what its cells say, "" for nothing."""

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
    encoding: str | None = None,
) -> Iterator[Row]:
    """The rows of a table, each with the cells of `columns`, and of those `optional` columns that are there, as text.

    either: columns of which one at least must be there; a row has the cells of those that are. once: a row whose cells
    all stand in one above is skipped and added to `problems` as `row_duplicated`. encoding: of a table of text, if it
    is neither UTF-8 nor begins with the mark of another encoding of Unicode.
    A row of more or fewer cells than the header is skipped and added to `problems` as `row_incomplete`, and so is one
    of a table of text with a cell that has swallowed the rows below; rows without any content are passed over, and so
    are empty cells behind the last column. Raises InputError for a missing file, a column that is missing or there
    twice, a damaged file and text in another encoding; it names the file, and the row or the column.
    """
    is_text = path.suffix != ".parquet"
    wanted = (*columns, *either, *optional)
    with naming(path):
        rows = read_cells(path, separator, encoding) if is_text else _parquet_cells(path, wanted)
        header = names_in(next(rows, (1, []))[1])
        _require_columns(header, columns, either, separator if is_text else None)
        places = _places(header, wanted)
        seen: set[int] = set()
        for number, row in rows:
            cells = without_empty(row, len(header))
            if not any(cells):
                continue
            fault = _why_no_row(cells, header, separator) if is_text else None
            if fault:
                problems.append(Problem("row_incomplete", Source(path.name, number), fault))
                continue
            if once:
                # A hash of every row is kept, not its text: a table may have 700,000 rows.
                key = hash(tuple(cells[at] for at in places.values()))
                if key in seen:
                    problems.append(Problem("row_duplicated", Source(path.name, number), "the same row stands above"))
                    continue
                seen.add(key)
            yield Row(number, {name: said(cells[at]) for name, at in places.items()})


def _why_no_row(cells: Sequence[str], header: Sequence[str], separator: str) -> str | None:
    """Why cells make no row of a table, or None."""
    if len(cells) != len(header):
        return f"{len(cells)} cells, the header has {len(header)}"
    if any(_holds_a_row(cell, header, separator) for cell in cells):
        return "a cell holds what looks like further rows: a quotation mark is not closed, or is one too many"
    return None


def _holds_a_row(cell: str, header: Sequence[str], separator: str) -> bool:
    """Whether lines of a cell, after its first, have as many separators as a row has.

    In prose a blank follows a comma: such commas separate no cells.
    """
    if "\n" not in cell or len(header) < 4:
        return False
    separators = re.compile(re.escape(separator) + "(?! )")
    return any(len(separators.findall(line)) >= len(header) - 1 for line in cell.split("\n")[1:])


def _require_columns(
    header: Sequence[str], columns: Sequence[str], either: Sequence[str], separator: str | None
) -> None:
    """Raises InputError. separator: None for Parquet, whose columns have names in any case."""
    if not any(header):
        raise InputError("the file is empty; a header with the names of columns was expected")
    missing = [name for name in columns if name not in header]
    named = list(map(repr, missing))
    if either and not any(name in header for name in either):
        missing += either
        named.append(" or ".join(map(repr, either)))
    if not missing:
        return
    if separator is None:
        hint = f"; columns found: {', '.join(header)}"
    elif len(header) == 1:
        hint = f"; columns are separated by {separator!r}"
    elif any("\0" in name for name in header):
        hint = "; it is no text in UTF-8: save it as CSV, comma-separated, in UTF-8"
    else:
        hint = f"; {columns_found(header, (*columns, *either))}"
    raise InputError(f"no column {', '.join(named)}{hint}")


def columns_found(header: Sequence[str], known: Sequence[str]) -> str:
    """The columns of a header for a message: all if the row is surely a header, else only the known names.

    A first row that is no header, or that has grown together with one, may be a patient's.
    """
    found = [name for name in known if name in header]
    if not found:
        return f"its first row has {len(header)} cells, none of them the name of a column that is looked for"
    if is_header(header):
        return f"columns found: {', '.join(name for name in header if name)}"
    return f"columns found: {', '.join(found)}, and {len(header) - len(found)} others"


def is_header(cells: Sequence[str]) -> bool:
    """Whether cells can only be names of columns, and may be shown."""
    return all(map(_COLUMN.fullmatch, cells))


def names_in(cells: Sequence[str]) -> list[str]:
    """The names of columns in a header, without line breaks and without empty cells at the end."""
    names = list(map(_name, cells))
    while names and not names[-1]:
        del names[-1]
    return names


def without_empty(cells: list[str], count: int) -> list[str]:
    """The cells of a row without the empty ones behind those that a header of so many has names for."""
    filled = len(cells)
    while filled > count and not cells[filled - 1]:
        filled -= 1
    return cells[:filled]


def _name(cell: str) -> str:
    return " ".join(cell.split())


def _places(header: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """The positions of the wanted columns. Raises InputError for a column that is there twice."""
    counts = Counter(header)
    for name in wanted:
        if counts[name] > 1:
            raise InputError(f"the column {name!r} is there {counts[name]} times; remove the others")
    return {name: header.index(name) for name in wanted if name in counts}


def read_cells(path: Path, separator: str = ",", encoding: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of every row with content of a table of text, the header first, whatever their count of cells.

    encoding: as in `read_rows`. Raises InputError, naming the row and not the file, for a file that cannot be read.
    """
    number = 0
    with _readable(path):
        try:
            with open(path, "rb") as opened, _unpacked(opened, path.suffix) as file:
                if head := next((head for head in _NO_TEXT if file.peek(4).startswith(head)), None):
                    raise InputError(
                        f"{_NO_TEXT[head]}, and not text; save the table as CSV, comma-separated, in UTF-8"
                    )
                encoding = _marked(file) or encoding or "utf-8"
                text = io.TextIOWrapper(file, encoding, errors="surrogateescape", newline="")
                for number, row in enumerate(csv.reader(_decoded(text), delimiter=separator), 1):
                    cells = [cell.strip() for cell in row]
                    if any(cells):
                        yield number, cells
        except LookupError as error:
            raise InputError("no encoding has the name given; give one such as cp1252") from error
        except UnicodeError as error:
            raise InputError(
                f"row {number + 1}: bytes that are not {encoding}; save the table in UTF-8, or name its encoding: "
                "`encoding=` of `table:`, `--encoding` of `predict`"
            ) from error
        except csv.Error as error:
            raise InputError(
                f"row {number + 1}: a cell of more than {csv.field_size_limit()} characters, or a line of more than "
                f"{LONGEST_LINE}; a quotation mark is not closed, or the file is not a table"
            ) from error


def _unpacked(file: Any, suffix: str) -> Any:
    """The content of a file, unpacked if its name or its content is that of gzip."""
    packed = suffix == ".gz" or file.peek(2).startswith(b"\x1f\x8b")
    return gzip.GzipFile(fileobj=file) if packed else nullcontext(file)


def _marked(file: Any) -> str | None:
    """The encoding that the first bytes of a file tell, if they do."""
    head = file.peek(4)
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)


def _decoded(text: TextIO) -> Iterator[str]:
    """The lines of a text, as far as all of their bytes could be decoded. Raises UnicodeError, and csv.Error."""
    while line := text.readline(LONGEST_LINE):
        if not line.isascii() and _UNDECODED.search(line):
            raise UnicodeError
        if len(line) == LONGEST_LINE:
            raise csv.Error
        yield line


def _parquet_cells(path: Path, wanted: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of every row, the names of the wanted columns first."""
    number = 0
    with _readable(path):
        try:
            with pa.parquet.ParquetFile(path) as file:
                names = file.schema_arrow.names
                yield 1, names
                # Columns by their place would do for one that is there twice, but Parquet takes names.
                present = list(dict.fromkeys(name for name in names if _name(name) in wanted))
                number = 1
                # One thread reads: pyarrow waits for ever for more threads if there is no memory for them.
                for batch in file.iter_batches(_BATCH, columns=present, use_threads=False):
                    columns = {name: _texts(batch.column(name)) for name in present}
                    blank = [""] * batch.num_rows
                    for cells in zip(*(columns.get(name, blank) for name in names), strict=True):
                        number += 1
                        yield number, list(cells)
        except UnicodeError as error:
            raise InputError(f"after row {number}: bytes that are not UTF-8; write the table again") from error
        except (pa.ArrowException, ValueError) as error:
            raise InputError(f"after row {number}: not a table that can be read to its end") from error


def _texts(column: pa.Array) -> list[str]:
    """The values of a column of Parquet as text; "" for those that are missing, and for those that Python lacks."""
    kind = column.type
    if pa.types.is_temporal(kind) and getattr(kind, "unit", None) == "ns":
        # Python counts microseconds.
        coarser = {"time": pa.time64("us"), "duration": pa.duration("us")}
        name = "time" if pa.types.is_time(kind) else "duration" if pa.types.is_duration(kind) else ""
        column = column.cast(coarser[name] if name else pa.timestamp("us", kind.tz), safe=False)
    try:
        return [_text(value) for value in column.to_pylist()]
    except UnicodeError:
        raise
    except (ValueError, OverflowError):
        return [_text_of(value) for value in column]


def _text_of(value: pa.Scalar) -> str:
    try:
        return _text(value.as_py())
    except (ValueError, OverflowError):  # a date before the year 1, or after 9999
        return ""


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8").strip()
    if isinstance(value, datetime):
        # A whole second is known as well as another.
        return value.isoformat(timespec="microseconds")
    return "" if value is None else str(value).strip()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """A context for reading a file: raises InputError if the file is missing, or ends too early."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError("no such file in its folder") from error
    except PermissionError as error:
        raise InputError("no permission to read the file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("the file cannot be read to its end; fetch it again") from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """A context for reading a table of a dataset: its errors begin with the name of the file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error


def identifier(cell: str) -> str:
    """A whole number that stands for something, without the `.0` that spreadsheets and data frames add."""
    return cell.removesuffix(".0")


def find_table(folder: Path, *patterns: str) -> Path | None:
    """The file in a folder that matches the first pattern with a match; the last in alphabetical order of several."""
    for pattern in patterns:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if found:
            return found[-1]
    return None
