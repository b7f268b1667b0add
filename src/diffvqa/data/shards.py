"""The pixels of a store: image files decoded once into squares of two sizes, in shards of a few hundred images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from diffvqa.arrays import sums_of, write_rows
from diffvqa.files import digest_of
from diffvqa.images import Seen, UnreadableImage, read_squares
from diffvqa.records import Image
from diffvqa.sealed import read_sealed, write_sealed
from diffvqa.workers import done_in_order

IMAGES = 512
"""Source images a shard; also what each worker does again at most when a run was stopped."""

FOLDER = "shards"
"""The folder of the shards in that of the store."""

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

Outcome = Seen | str
"""A decoded source image, or the reason why it could not be decoded."""

Origin = tuple[int, int]
"""A source file as it was read: its bytes, and its time of change in nanoseconds."""


def larger_size(size: int) -> int:
    """One size up, as 256 is to 224: the side of the squares that augmentation turns and crops without loss."""
    return -(-size * 8 // 7)


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as it was written: what became of its images, and of its two files of pixels the SHA-256 of each.

    sums: the CRC-32 of the two squares of each image that is in it. origins: of each outcome, None for a file that
    was not there; empty in stores of older versions.
    """

    outcomes: tuple[Outcome, ...]
    digests: tuple[str, str]
    sums: tuple[tuple[int, int], ...]
    origins: tuple[Origin | None, ...] = ()

    @property
    def images(self) -> int:
        """How many images are in it."""
        return sum(not isinstance(outcome, str) for outcome in self.outcomes)


def name_of(number: int, size: int) -> str:
    """The file of a shard's squares of one size, below the store's folder."""
    return f"{FOLDER}/{number:05d}-{size}.npy"


def write_shards(
    folder: Path,
    images: Sequence[Image],
    size: int,
    workers: int = 1,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> list[Shard]:
    """All shards, in order; those that are there already, and undamaged, are left as they are.

    folder: of the store. size: pixels a side; larger squares are written beside these.
    """
    (folder / FOLDER).mkdir(mode=0o700, exist_ok=True)
    parts = [[image.path.resolve() for image in part] for part in _parts(images)]
    finished = [_undamaged_shard(folder, number, size) for number in range(len(parts))]
    jobs = [(folder.resolve(), number, paths, size) for number, paths in enumerate(parts) if finished[number] is None]
    shards: list[Shard] = []
    done = 0
    with closing(done_in_order(write_shard, jobs, workers, cluster)) as written:
        for paths, found in zip(parts, finished, strict=True):
            shards.append(next(written) if found is None else found)
            done += len(paths)
            if progress:
                progress(done, len(images))
    return shards


def write_shard(folder: Path, number: int, paths: Sequence[Path], size: int) -> Shard:
    """Decode the files of one shard and write it, whole or not at all."""
    sizes = (size, larger_size(size))
    outcomes: list[Outcome] = []
    origins = list(map(_origin_of, paths))
    squares: tuple[list[np.ndarray], ...] = ([], [])
    for path in paths:
        try:
            outcome, pictures = read_squares(path, sizes)
        except UnreadableImage as error:
            outcomes.append(str(error))
            continue
        outcomes.append(outcome)
        for one_size, picture in zip(squares, pictures, strict=True):
            one_size.append(picture)
    digests, sums = [], []
    for side, pictures in zip(sizes, squares, strict=True):
        path = folder / name_of(number, side)
        pixels = np.stack(pictures) if pictures else np.zeros((0, side, side), np.uint8)
        sums.append(write_rows(path, [pixels], len(pixels)))
        digests.append(digest_of(path))
    shard = Shard(tuple(outcomes), (digests[0], digests[1]), tuple(zip(*sums, strict=True)), tuple(origins))
    # Last: it is the sign that the pixels are whole.
    write_sealed(_record_of(folder, number), asdict(shard))
    return shard


def read_shard(folder: Path, number: int, size: int) -> Shard | None:
    """The shard of that number as an earlier run wrote it; None if it was not written to its end, or cannot be read."""
    paths = _files_of(folder, number, size)
    if not all(path.is_file() for path in paths):
        return None
    try:
        record = read_sealed(_record_of(folder, number))
        outcomes = (one if isinstance(one, str) else _seen(*one) for one in record["outcomes"])
        # Versions before had no sums; what they wrote is as its digests say.
        squares = (np.load(path, "r", allow_pickle=False) for path in paths)
        sums = record.get("sums") or zip(*map(sums_of, squares), strict=True)
        digests = (record["digests"][0], record["digests"][1])
        origins = tuple(one and (one[0], one[1]) for one in record.get("origins", ()))
        return Shard(tuple(outcomes), digests, tuple((one, larger) for one, larger in sums), origins)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _seen(width: int, height: int, remarks: Sequence[str] = ()) -> Seen:
    """The image as a record has it; records of earlier versions have no remarks."""
    return Seen(width, height, tuple(remarks))


def _undamaged_shard(folder: Path, number: int, size: int) -> Shard | None:
    shard = read_shard(folder, number, size)
    if shard is None or tuple(map(digest_of, _files_of(folder, number, size))) != shard.digests:
        return None
    return shard


def _parts(images: Sequence[Image]) -> list[Sequence[Image]]:
    """The images of each shard."""
    return [images[start : start + IMAGES] for start in range(0, len(images), IMAGES)]


def _origin_of(path: Path) -> Origin | None:
    try:
        now = os.stat(path)
    except OSError:
        return None
    return now.st_size, now.st_mtime_ns


def _is_outdated(shard: Shard, paths: Sequence[Path]) -> bool:
    """Whether a source file is no longer the one that a shard was made from."""
    return bool(shard.origins) and shard.origins != tuple(map(_origin_of, paths))


def _files_of(folder: Path, number: int, size: int) -> list[Path]:
    return [folder / name_of(number, side) for side in (size, larger_size(size))]


def outdated_shards(folder: Path, images: Sequence[Image], size: int) -> list[str]:
    """One file of every shard whose images are others by now, or could not be read before and can be now."""
    sizes = (size, larger_size(size))
    names = []
    for number, part in enumerate(_parts(images)):
        shard = read_shard(folder, number, size)
        if shard is None:
            continue
        of_shard = zip(part, shard.outcomes, strict=False)
        if _is_outdated(shard, [image.path for image in part]) or any(
            _is_readable(image.path, sizes) for image, outcome in of_shard if isinstance(outcome, str)
        ):
            names.append(name_of(number, size))
    return names


def _is_readable(path: Path, sizes: Sequence[int]) -> bool:
    try:
        read_squares(path, sizes)
    except UnreadableImage:
        return False
    return True


def discard(folder: Path, names: Iterable[str]) -> None:
    """Have the shards that these files belong to written anew by the next run; other files are passed over."""
    for name in names:
        if name.startswith(FOLDER):
            _record_of(folder, int(Path(name).name.partition("-")[0])).unlink(missing_ok=True)


def _record_of(folder: Path, number: int) -> Path:
    return folder / FOLDER / f"{number:05d}.json"
