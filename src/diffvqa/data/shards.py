"""The pixels of a store: image files decoded in order, by one process or several, and written a shard at a time."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

import numpy as np

from diffvqa.errors import InputError
from diffvqa.images import UnreadableImage, letterbox, read_image
from diffvqa.records import Image

IMAGES = 1024
"""Source images a shard; also what is done again at most when a run was stopped."""

_CHUNK = 8  # images sent to a worker at a time

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


Outcome = tuple[int, int] | str
"""Width and height of a decoded source image, or the reason why it could not be decoded."""


def write(folder: Path, images: list[Image], size: int, workers: int, progress: Progress | None) -> list[Outcome]:
    """Write the shards that are not there yet; what became of every image."""
    starts = range(0, len(images), IMAGES)
    known = {start: _finished_shard(folder, start // IMAGES) for start in starts}
    remaining = (image.path for start in starts if known[start] is None for image in images[start : start + IMAGES])
    outcomes: list[Outcome] = []
    with closing(_decode_all(remaining, size, workers)) as decoded:
        for start in starts:
            count = len(images[start : start + IMAGES])
            finished = known[start]
            if finished is None:
                finished, squares = [], []
                for outcome, square in itertools.islice(decoded, count):
                    finished.append(outcome)
                    if square is not None:
                        squares.append(square)
                    if progress:
                        progress(start + len(finished), len(images))
                _write_shard(folder, start // IMAGES, finished, squares, size)
            elif progress:
                progress(start + count, len(images))
            outcomes += finished
    return outcomes


def _decode_all(paths: Iterable[Path], size: int, workers: int) -> Iterator[tuple[Outcome, np.ndarray | None]]:
    """The outcome and the square of every file, in order, a few ahead of what was asked for."""
    if workers == 1:
        for path in paths:
            yield _decode(path, size)
        return
    paths = iter(paths)
    chunks = iter(lambda: list(itertools.islice(paths, _CHUNK)), [])
    # Spawned, not forked: a fork of a process that runs threads (torch's, for one) may hang.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_leave_interrupts)
    waiting: deque[Future[list[tuple[Outcome, np.ndarray | None]]]] = deque()
    try:
        for chunk in itertools.islice(chunks, 4 * workers):
            waiting.append(pool.submit(_decode_chunk, chunk, size))
        while waiting:
            results = waiting.popleft().result()
            if (chunk := next(chunks, None)) is not None:
                waiting.append(pool.submit(_decode_chunk, chunk, size))
            yield from results
    except BrokenProcessPool as error:
        raise InputError(
            "workers: a process that decoded images was ended, often for want of memory; "
            "run the same command again with fewer workers, it goes on where it was"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts() -> None:
    """Leave Ctrl-C to the parent process, which ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _decode_chunk(paths: list[Path], size: int) -> list[tuple[Outcome, np.ndarray | None]]:
    return [_decode(path, size) for path in paths]


def _decode(path: Path, size: int) -> tuple[Outcome, np.ndarray | None]:
    try:
        pixels = read_image(path)
    except UnreadableImage as error:
        return str(error), None
    height, width = pixels.shape
    return (width, height), letterbox(pixels, size)[0]


def path_of(folder: Path, shard: int) -> Path:
    return folder / f"images-{shard:05d}.npy"


def _write_shard(folder: Path, shard: int, outcomes: list[Outcome], squares: list[np.ndarray], size: int) -> None:
    path = path_of(folder, shard)
    # The outcomes first: the shard's own name is the sign that both are whole.
    write_text(path.with_suffix(".json"), json.dumps(outcomes))
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        np.save(file, np.stack(squares) if squares else np.zeros((0, size, size), np.uint8), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _finished_shard(folder: Path, shard: int) -> list[Outcome] | None:
    """The outcomes of a shard that an earlier run wrote, or None."""
    path = path_of(folder, shard)
    if not path.is_file():
        return None
    try:
        outcomes = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a machine that went down may leave it empty: the shard is made again
        return None
    return [outcome if isinstance(outcome, str) else (outcome[0], outcome[1]) for outcome in outcomes]


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
