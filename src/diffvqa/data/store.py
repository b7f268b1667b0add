"""A prepared cohort, read: squares of two sizes in shards that are mapped into memory, and an index of records."""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from diffvqa.data import index, shards
from diffvqa.data.index import Rows, StoredImage
from diffvqa.data.registry import dataset_of
from diffvqa.errors import InputError
from diffvqa.images.intensities import AS_STORED, EQUALISED
from diffvqa.records import Question

SCHEMA = 3
"""The version of what lies in a store's folder."""

ABOUT, STARTED, IMAGES, QUESTIONS, PROBLEMS = (
    "store.json", "started.json", "images.parquet", "questions.parquet", "problems.csv",
)  # fmt: skip
"""The files of a store beside its shards: the first is written last, and the second first."""


class Store:
    """A store opened for reading.

    size: pixels a side; larger_size: that of the larger squares, for augmentation. images: in the order of `pixels`.
    index: image identifier -> position. problems: how many of each kind were met, in reading the cohort and in
    preparing it; problems.csv lists them. datasets: what it was made from. checksum: of all that the store holds.

    Reading takes no lock: any number of processes may read. Memory maps are opened where they are first used, so that a
    store can be sent to worker processes.
    """

    def __init__(
        self, folder: Path, about: dict[str, Any], images: Rows[StoredImage], questions: Rows[Question]
    ) -> None:
        self.folder, self.images, self.questions = folder, images, questions
        self.size, self.fingerprint, self.checksum = about["size"], about["fingerprint"], about["checksum"]
        self.problems: dict[str, int] = about["problems"]
        self.datasets: tuple[str, ...] = tuple(about.get("datasets", ()))
        self.larger_size = shards.larger_size(self.size)
        self.index = {image_id: position for position, image_id in enumerate(images.column("image_id"))}
        self._starts = [0, *itertools.accumulate(about["shard_images"])]
        self._maps: dict[tuple[int, int], np.ndarray] = {}

    @property
    def intensity(self) -> str:
        """How grey values are to be read by a model trained on it: EQUALISED or AS_STORED."""
        return EQUALISED if any(dataset_of(name).equalised for name in self.datasets) else AS_STORED

    @classmethod
    def open(cls, folder: str | os.PathLike[str], argument: str = "store") -> Store:
        """The finished store in a folder. Raises InputError, naming `argument`, if there is none that is finished."""
        folder = Path(folder)
        refusal = functools.partial(InputError, argument=argument)
        if not (folder / ABOUT).is_file():
            if (folder / STARTED).is_file():
                raise refusal("the folder given holds a store that was not finished; run `prepare` again")
            raise refusal("the folder given holds no store (no store.json); make one with `diffvqa prepare`")
        again = "give `prepare` again with the same sources, or delete the folder"
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            if about["schema"] != SCHEMA:
                raise refusal(f"made by another version (schema {about['schema']}, expected {SCHEMA}); prepare it anew")
            images = index.read_images(folder / IMAGES, about["size"])
            store = cls(folder, about, images, index.read_questions(folder / QUESTIONS))
        except InputError:
            raise
        except (OSError, KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
            raise refusal(f"the folder given holds a damaged store; {again}") from error
        if store._starts[-1] != len(images) or not store._is_whole():
            raise refusal(f"its index and its shards disagree; {again}")
        return store

    def pixels(self, position: int) -> np.ndarray:
        """The grey square of the image at a position: uint8 (size, size), a copy."""
        return self._square(position, self.size)

    def larger_pixels(self, position: int) -> np.ndarray:
        """The same one size up: uint8 (larger_size, larger_size), a copy."""
        return self._square(position, self.larger_size)

    def _square(self, position: int, size: int) -> np.ndarray:
        position = range(len(self.images))[position]
        shard = bisect.bisect_right(self._starts, position) - 1
        if (shard, size) not in self._maps:
            path = self.folder / shards.name_of(shard, size)
            self._maps[shard, size] = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(self._maps[shard, size][position - self._starts[shard]])

    def _is_whole(self) -> bool:
        for shard, (start, end) in enumerate(itertools.pairwise(self._starts)):
            for size in (self.size, self.larger_size):
                path = self.folder / shards.name_of(shard, size)
                if not path.is_file() or path.stat().st_size < (end - start) * size * size:
                    return False
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        # Opened once more by the process that it is sent to, which maps the same files.
        return _open_once, (self.folder.resolve(), self.checksum)


@functools.lru_cache(maxsize=2)
def _open_once(folder: Path, checksum: str) -> Store:
    return Store.open(folder)


def checksum_of(digests: dict[str, str]) -> str:
    """One digest for a store, of those of its files by name."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
