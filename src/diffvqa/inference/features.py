"""Frozen features: each image of a store encoded once, kept as float16 in a memory-mapped file."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffvqa.data.store import Store
from diffvqa.files import write_text
from diffvqa.images.intensities import AS_STORED
from diffvqa.workers import done_in_order

BATCH = 64
_TOKENS, _DESCRIPTION = "features.npy", "features.json"

Encode = Callable[[Sequence[np.ndarray]], np.ndarray]
"""Grey squares, uint8 (size, size) each, to their patch tokens, (images, patches, width)."""


class Features(Mapping[str, np.ndarray]):
    """Image identifier -> patch tokens, float16 (patches, width), of the images of a folder of features.

    Sent to another process it is mapped there from the same folder.
    """

    def __init__(self, folder: Path, image_ids: Sequence[str]) -> None:
        self.folder = folder
        self.tokens = np.load(folder / _TOKENS, mmap_mode="r", allow_pickle=False)
        self.rows = {image_id: row for row, image_id in enumerate(image_ids)}

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_once, (self.folder.resolve(), (self.folder / _TOKENS).stat().st_mtime_ns)

    def __getitem__(self, image_id: str) -> np.ndarray:
        return self.tokens[self.rows[image_id]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@functools.lru_cache(maxsize=2)
def _open_once(folder: Path, written: int) -> Features:
    return Features(folder, json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))["images"])


def encode_images(
    encode: Encode,
    store: Store,
    image_ids: Iterable[str],
    folder: Path,
    key: str,
    progress: Callable[[int, int], None] | None = None,
    cluster: str | None = None,
    intensity: str = AS_STORED,
) -> Features:
    """The features of these images, computed into `folder` unless it already holds them under the same `key`.

    key: says which encoder made them. progress: called with (images done, images in all). cluster: the address of a Ray
    cluster that encodes; `encode` is then sent there. intensity: the convention of grey values of the model.
    """
    wanted = sorted(set(image_ids))
    if not wanted:
        raise ValueError("there are no images to encode")
    description = {"key": key, "store": store.fingerprint, "intensity": intensity, "images": wanted}
    kept = _kept(folder, description)
    if kept is not None:
        return kept
    record = folder / _DESCRIPTION
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    tokens: np.ndarray | None = None
    done = 0
    jobs = ((encode, store, intensity, wanted[start : start + BATCH]) for start in range(0, len(wanted), BATCH))
    for part in done_in_order(_encode_stored, jobs, cluster=cluster, on_gpu=True):
        if tokens is None:
            shape = (len(wanted), *part.shape[1:])
            tokens = np.lib.format.open_memmap(folder / _TOKENS, mode="w+", dtype=np.float16, shape=shape)
        tokens[done : done + len(part)] = part
        done += len(part)
        if progress:
            progress(done, len(wanted))
    tokens.flush()
    write_text(record, json.dumps(description))
    return Features(folder, wanted)


def discard_features(folder: Path) -> None:
    """Remove a folder of features, or of several such folders; what a kill leaves of it is not taken for features."""
    for record in folder.rglob(_DESCRIPTION):
        record.unlink()
    # A network file system keeps a folder as long as a file in it is mapped.
    shutil.rmtree(folder, ignore_errors=True)


def _kept(folder: Path, description: Mapping[str, Any]) -> Features | None:
    """The features of a folder; None where it holds others, or not all of them, or none."""
    try:
        if json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8")) == description:
            return Features(folder, description["images"])
    except (OSError, ValueError, EOFError):
        # Cut off, or damaged: they are made anew.
        return None
    return None


def _encode_stored(encode: Encode, store: Store, intensity: str, image_ids: Sequence[str]) -> np.ndarray:
    return encode([store.shown_pixels(store.index[image_id], intensity) for image_id in image_ids])
