"""Arrays in files, a row at a time: their space is taken before they are written, and each row is checked when read."""

from __future__ import annotations

import errno
import io
import itertools
import math
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from diffvqa.files import replacing

Shape = tuple[int, ...]


class DamagedRow(ValueError):
    """A row that is not as it was written."""


def write_rows(path: Path, parts: Iterable[np.ndarray], count: int) -> list[int]:
    """Write an .npy file of `count` rows, which come in parts, whole or not at all; the CRC-32 of each row.

    There is at least one part, and all are of the type and the shape of the first, but for how many rows they have.
    Raises OSError before the second part is asked for where the disk has no room for them all.
    """
    parts = iter(parts)
    first = next(parts)
    shape, sums = (count, *first.shape[1:]), list[int]()
    with replacing(path) as temporary, open(temporary, "wb") as file:
        _take_space(file, size_of(shape, first.dtype))
        file.write(_header(shape, first.dtype))
        # Written, not mapped: what a full disk does to a map is to end the process without a word.
        for row in itertools.chain(first, itertools.chain.from_iterable(parts)):
            content = row.tobytes()
            file.write(content)
            sums.append(zlib.crc32(content))
    if len(sums) != count:
        raise ValueError(f"{len(sums)} rows came where {count} were to come")
    return sums


def sums_of(rows: np.ndarray) -> list[int]:
    """The CRC-32 of each row."""
    return [zlib.crc32(row.tobytes()) for row in rows]


def size_of(shape: Shape, dtype: DTypeLike) -> int:
    """The bytes of the file of an array."""
    return len(_header(shape, dtype)) + math.prod(shape) * np.dtype(dtype).itemsize


class CheckedRows:
    """The rows of a file that `write_rows` has written, mapped into memory; each is checked whenever it is read.

    sums: their CRC-32, None for a row that is not to be checked. Each row has its own sum, so that a reader checks only
    the rows that it reads (30 microseconds for a square of 224 pixels). Raises OSError for a file that cannot be read,
    ValueError for one that does not hold an array of that shape.
    """

    def __init__(self, path: Path, shape: Shape, dtype: DTypeLike, sums: Sequence[int | None]) -> None:
        header = _header(shape, dtype)
        with open(path, "rb") as file:
            whole = file.read(len(header)) == header and os.fstat(file.fileno()).st_size == size_of(shape, dtype)
            if not whole:
                raise ValueError("expected another array, or all of it")
            self._rows = np.memmap(file, dtype, "r", len(header), shape)
        self._sums = sums

    def __getitem__(self, place: int) -> np.ndarray:
        """A copy of a row. Raises DamagedRow."""
        row = np.array(self._rows[place])
        if self._sums[place] not in (None, zlib.crc32(row.data)):
            raise DamagedRow(f"row {place}")
        return row


def _take_space(file: BinaryIO, size: int) -> None:
    if not hasattr(os, "posix_fallocate"):  # not on every system
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        # File systems that cannot do it say so, and are filled as far as they go.
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise


def _header(shape: Shape, dtype: DTypeLike) -> bytes:
    text = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(text, described)
    return text.getvalue()
