"""The store: squares of two sizes in shards that are mapped into memory, and an index of records."""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from diffvqa.arrays import CheckedRows, size_of
from diffvqa.data import index, shards
from diffvqa.data.index import Rows, StoredImage
from diffvqa.data.registry import dataset_of
from diffvqa.errors import InputError
from diffvqa.files import digest_of
from diffvqa.images.intensities import AS_STORED, EQUALISED
from diffvqa.records import Question
from diffvqa.sealed import read_sealed

SCHEMA = 3
"""The version of what lies in a store's folder."""

ABOUT, STARTED, IMAGES, QUESTIONS, PROBLEMS = (
    "store.json", "started.json", "images.parquet", "questions.parquet", "problems.csv",
)  # fmt: skip
"""The files of a store beside its shards: the first is written last, and the second first."""

_AGAIN = "give `prepare` again with the same sources: it makes anew what is damaged"


class Store:
    """A store opened for reading.

    size: pixels a side of the squares. larger_size: pixels a side of the larger squares, for augmentation.
    images: in the order of `pixels`. questions: all questions of the store. index: image identifier -> position.
    problems: number of each kind of problem; problems.csv lists them. datasets: the datasets that the store was made
    from. checksum: one checksum of the whole store.

    Any number of processes may read at the same time. A store can be sent to worker processes, because memory maps are
    opened at first use. The index is checked when it is opened, and each square when it is read.
    """

    def __init__(
        self, folder: Path, argument: str, about: dict[str, Any], images: Rows[StoredImage], questions: Rows[Question]
    ) -> None:
        self.folder, self.images, self.questions = folder, images, questions
        self._argument, self._digests = argument, about.get("checksums", {})
        self.size, self.fingerprint, self.checksum = about["size"], about["fingerprint"], about["checksum"]
        self.problems: dict[str, int] = about["problems"]
        self.datasets: tuple[str, ...] = tuple(about.get("datasets", ()))
        self.larger_size = shards.larger_size(self.size)
        self.index = {image_id: position for position, image_id in enumerate(images.column("image_id"))}
        self._starts = [0, *itertools.accumulate(about["shard_images"])]
        self._sums = dict(zip((self.size, self.larger_size), map(images.column, index.SUMS), strict=True))
        self._maps: dict[tuple[int, int], CheckedRows] = {}

    @property
    def intensity(self) -> str:
        """The grey values of the store, as a model trained on it expects them: EQUALISED or AS_STORED."""
        return EQUALISED if any(dataset_of(name).equalised for name in self.datasets) else AS_STORED

    @classmethod
    def open(cls, folder: str | os.PathLike[str], argument: str = "store") -> Store:
        """Open the finished store in a folder.

        Raises InputError, which names `argument`, if the store is missing or unfinished, or its index is damaged.
        """
        return cls._open(Path(folder), argument)

    @classmethod
    def _open(cls, folder: Path, argument: str, known: str | None = None) -> Store:
        """The same; known: the checksum of a store whose index another process has checked."""
        refusal = functools.partial(InputError, argument=argument)
        # Path.is_file would raise for a folder that may not be entered, and name it.
        if not os.path.isfile(folder / ABOUT):
            if os.path.isfile(folder / STARTED):
                raise refusal("the folder given holds a store that was not finished; run `prepare` again")
            raise refusal("the folder given holds no store (no store.json); make one with `diffvqa prepare`")
        try:
            about = read_sealed(folder / ABOUT)
        except PermissionError as error:
            raise refusal(_forbidden(ABOUT)) from error
        except (OSError, ValueError) as error:
            raise refusal(f"store.json is damaged; {_AGAIN}") from error
        try:
            if about["schema"] != SCHEMA:
                raise refusal(f"made by another version (schema {about['schema']}, expected {SCHEMA}); prepare it anew")
            if known is None:
                if damaged := damaged_files(folder, {name: about["checksums"][name] for name in (IMAGES, QUESTIONS)}):
                    raise _damaged(damaged, argument)
            elif about["checksum"] != known:
                raise refusal("the store was made anew while it was read; give the same command again")
            images = index.read_images(folder / IMAGES, about["size"])
            store = cls(folder, argument, about, images, index.read_questions(folder / QUESTIONS))
        except (InputError, MemoryError):  # pyarrow's own error for want of memory is both that and an ArrowException
            raise
        except PermissionError as error:
            raise refusal(_forbidden(Path(str(error.filename)).name)) from error
        except (OSError, KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
            raise refusal(f"the folder given holds a damaged store; {_AGAIN}") from error
        if store._starts[-1] != len(images) or not store._is_whole():
            raise refusal(f"its index and its shards disagree; {_AGAIN}")
        return store

    def check(self) -> None:
        """Compare all files with their digests. Raises InputError, which names a damaged file."""
        if damaged := damaged_files(self.folder, self._digests):
            raise _damaged(damaged, self._argument)

    def pixels(self, position: int) -> np.ndarray:
        """The grey square of the image at a position, as a copy: uint8 (size, size).

        Raises InputError for damaged pixels.
        """
        return self._square(position, self.size)

    def larger_pixels(self, position: int) -> np.ndarray:
        """The larger grey square of the image at a position, as a copy: uint8 (larger_size, larger_size)."""
        return self._square(position, self.larger_size)

    def _square(self, position: int, size: int) -> np.ndarray:
        position = range(len(self.images))[position]
        shard = bisect.bisect_right(self._starts, position) - 1
        start, end = self._starts[shard : shard + 2]
        name = shards.name_of(shard, size)
        try:
            if (shard, size) not in self._maps:
                sums, shape = self._sums[size][start:end], (end - start, size, size)
                self._maps[shard, size] = CheckedRows(self.folder / name, shape, np.uint8, sums)
            return self._maps[shard, size][position - start]
        except OSError as error:
            raise InputError(f"{name} cannot be read ({error.strerror})", argument=self._argument) from error
        except ValueError as error:
            raise _damaged([name], self._argument) from error

    def _is_whole(self) -> bool:
        for shard, (start, end) in enumerate(itertools.pairwise(self._starts)):
            for size in (self.size, self.larger_size):
                path, shape = self.folder / shards.name_of(shard, size), (end - start, size, size)
                if not path.is_file() or path.stat().st_size != size_of(shape, np.uint8):
                    return False
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        # Opened once more by the process that it is sent to, which maps the same files.
        return _open_once, (self.folder.resolve(), self._argument, self.checksum)


@functools.lru_cache(maxsize=2)
def _open_once(folder: Path, argument: str, checksum: str) -> Store:
    return Store._open(folder, argument, checksum)


def damaged_files(folder: Path, digests: Mapping[str, str]) -> list[str]:
    """Which files of a store are not what they were, or are not there. digests: the SHA-256 of each, by its name."""
    return [
        name
        for name, digest in digests.items()
        if not ((folder / name).is_file() and digest_of(folder / name) == digest)
    ]


def _forbidden(name: str) -> str:
    return f"{name} in it cannot be read (permission denied); ask its owner for it"


def _damaged(names: Sequence[str], argument: str) -> InputError:
    others = f" and {len(names) - 1} others" if len(names) > 1 else ""
    return InputError(f"{names[0]}{others} in it is not what was written; {_AGAIN}", argument=argument)


def checksum_of(digests: dict[str, str]) -> str:
    """One digest for a store, from the digests of its files by name."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
