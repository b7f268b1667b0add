"""The index of a store: its images and questions as Parquet tables, from which records are made when asked for."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, overload

import pyarrow as pa
import pyarrow.parquet

from diffvqa.boxes import Frame
from diffvqa.files import replacing
from diffvqa.records import NO_REGIONS, Pair, Question, Regions

_ROWS = 4096  # written, or gone through, at a time

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of a store with the facts of its study.

    width, height, regions: in pixels of the source file. frame: maps them into the store's squares. order: increases
    with time within a patient.
    """

    image_id: str
    subject_id: str
    study_id: str
    order: float
    split: str
    view: str
    report: str
    findings: tuple[str, ...]
    width: int
    height: int
    frame: Frame
    regions: Regions


_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())
_IMAGES = pa.schema(
    {
        **dict.fromkeys(("image_id", "subject_id", "study_id"), _TEXT),
        "order": pa.float64(),
        **dict.fromkeys(("split", "view", "report"), _TEXT),
        "findings": _TEXTS,
        "width": pa.int32(),
        "height": pa.int32(),
        "corners": pa.list_(pa.float64()),  # x1 y1 x2 y2 of each region, one after the other
        "region_names": _TEXTS,
        "region_phrases": pa.list_(_TEXTS),
        # The CRC-32 of both of its squares; null in stores of versions that did not record it.
        "pixels_sum": pa.int64(),
        "larger_pixels_sum": pa.int64(),
    }
)
SUMS = ("pixels_sum", "larger_pixels_sum")
"""The columns of images that are of their pixels: no part of a record."""

_QUESTIONS = pa.schema(
    dict.fromkeys(("question_id", "subject_id", "type", "current", "prior", "text", "answer", "split"), _TEXT)
)


class Rows(Sequence[Record]):
    """The rows of a table in memory as records, each made when it is asked for."""

    def __init__(self, table: pa.Table, make: Callable[[dict[str, Any]], Record]) -> None:
        self._columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        self._length, self._make = table.num_rows, make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> list[Record]: ...
    def __getitem__(self, place: int | slice) -> Record | list[Record]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(self._length))]
        row = range(self._length)[place]
        return self._make({name: column[row].as_py() for name, column in self._columns.items()})

    def __iter__(self) -> Iterator[Record]:
        for start in range(0, self._length, _ROWS):
            columns = [column.slice(start, _ROWS).to_pylist() for column in self._columns.values()]
            for cells in zip(*columns, strict=True):
                yield self._make(dict(zip(self._columns, cells, strict=True)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def column(self, name: str) -> list[Any]:
        """All cells of one column."""
        return self._columns[name].to_pylist()


def write_images(path: Path, images: Iterable[StoredImage], sums: Iterable[tuple[int, int]]) -> None:
    """Write the table of images, whole or not at all. sums: the CRC-32 of the two squares of each."""
    of_images = zip(images, sums, strict=True)
    _write(path, _IMAGES, (_image_row(image) | dict(zip(SUMS, two, strict=True)) for image, two in of_images))


def write_questions(path: Path, questions: Iterable[Question]) -> None:
    """Write the table of questions, whole or not at all."""
    _write(path, _QUESTIONS, (_question_row(question) for question in questions))


def read_images(path: Path, size: int) -> Rows[StoredImage]:
    """The images of a table that `write_images` wrote, in a store of squares of `size` pixels.

    Its columns SUMS hold the CRC-32 of their squares. Raises OSError or ValueError for a damaged table.
    """
    return Rows(_read(path, _IMAGES), functools.partial(_image_of, size))


def read_questions(path: Path) -> Rows[Question]:
    """The questions of a table that `write_questions` wrote. Raises OSError or ValueError for a damaged one."""
    return Rows(_read(path, _QUESTIONS), _question_of)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    # One thread reads: pyarrow waits for ever for more threads if there is no memory for them.
    with pa.parquet.ParquetFile(path) as file:
        table = file.read(use_threads=False)
    for name in SUMS:
        if name in schema.names and name not in table.column_names:
            table = table.append_column(schema.field(name), pa.nulls(len(table), schema.field(name).type))
    return table.select(schema.names).cast(schema)


def _write(path: Path, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> None:
    with replacing(path) as temporary, pa.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while batch := list(islice(rows, _ROWS)):
            try:
                table = pa.Table.from_pylist(batch, schema)
            except UnicodeEncodeError:
                # Half a surrogate pair, which JSON can hold and UTF-8 can not.
                table = pa.Table.from_pylist([_encodable(row) for row in batch], schema)
            writer.write_table(table)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", errors="replace").decode("utf-8")
    if isinstance(value, dict):
        return {key: _encodable(cell) for key, cell in value.items()}
    return [_encodable(cell) for cell in value] if isinstance(value, list | tuple) else value


def _cells(record: StoredImage | Question, schema: pa.Schema) -> dict[str, Any]:
    """The cells of a record, under the names of a schema's columns."""
    return {name: getattr(record, name) for name in schema.names if hasattr(record, name)}


def _image_row(image: StoredImage) -> dict[str, Any]:
    regions = image.regions
    named = {"corners": regions.corners, "region_names": regions.names, "region_phrases": regions.phrases}
    return _cells(image, _IMAGES) | named


def _image_of(size: int, row: dict[str, Any]) -> StoredImage:
    corners, names, phrases = row.pop("corners"), row.pop("region_names"), row.pop("region_phrases")
    for name in SUMS:
        del row[name]
    regions = Regions(array("d", corners), tuple(names), tuple(map(tuple, phrases))) if names else NO_REGIONS
    frame = Frame.letterbox(row["width"], row["height"], size)
    return StoredImage(**{**row, "findings": tuple(row["findings"])}, frame=frame, regions=regions)


def _question_row(question: Question) -> dict[str, Any]:
    return _cells(question, _QUESTIONS) | {"current": question.pair.current, "prior": question.pair.prior}


def _question_of(row: dict[str, Any]) -> Question:
    pair = Pair(current=row.pop("current"), prior=row.pop("prior"))
    return Question(pair=pair, **row)
