"""Frozen features: each image of a store encoded once, kept as float16 in a memory-mapped file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from diffvqa.data.store import Store

Encode = Callable[[Sequence[np.ndarray]], np.ndarray]
"""Grey squares, uint8 (size, size) each, to their patch tokens, (images, patches, width)."""


class Features(Mapping[str, np.ndarray]):
    """Image identifier -> patch tokens, float16 (patches, width)."""

    def __init__(self, tokens: np.ndarray, image_ids: Sequence[str]) -> None:
        self.tokens, self.rows = tokens, {image_id: row for row, image_id in enumerate(image_ids)}

    def __getitem__(self, image_id: str) -> np.ndarray:
        return self.tokens[self.rows[image_id]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def encode_images(
    encode: Encode,
    store: Store,
    image_ids: Iterable[str],
    folder: Path,
    key: str,
    batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """The features of these images, computed into `folder` unless it already holds them under the same `key`.

    key: says which encoder made them. progress: called with (images done, images in all).
    """
    wanted = sorted(set(image_ids))
    description = {"key": key, "store": store.fingerprint, "images": wanted}
    tokens_file, description_file = folder / "features.npy", folder / "features.json"
    if description_file.is_file() and json.loads(description_file.read_text(encoding="utf-8")) == description:
        return Features(np.load(tokens_file, mmap_mode="r", allow_pickle=False), wanted)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    description_file.unlink(missing_ok=True)
    tokens: np.ndarray | None = None
    for start in range(0, len(wanted), batch):
        part = encode([store.pixels(store.index[image_id]) for image_id in wanted[start : start + batch]])
        if tokens is None:
            shape = (len(wanted), *part.shape[1:])
            tokens = np.lib.format.open_memmap(tokens_file, mode="w+", dtype=np.float16, shape=shape)
        tokens[start : start + len(part)] = part
        if progress:
            progress(min(start + batch, len(wanted)), len(wanted))
    if tokens is None:
        raise ValueError("there are no images to encode")
    tokens.flush()
    description_file.write_text(json.dumps(description), encoding="utf-8")
    return Features(tokens, wanted)
