"""Pictures to patch tokens; those of a store are encoded once and kept as float16 in a memory-mapped file."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from diffvqa.data.store import Store
from diffvqa.files import write_text
from diffvqa.images.intensities import intensity_of
from diffvqa.images.radiograph import Radiograph
from diffvqa.inference.shown_pictures import show_radiograph, show_stored
from diffvqa.models.folder import ModelFolder
from diffvqa.tasks.collate import normalise
from diffvqa.workers import done_in_order

BATCH = 64
_TOKENS, _DESCRIPTION = "features.npy", "features.json"


class Encodes(Protocol):
    """What makes patch tokens of pictures: a model with the processor that knows how its pixels are normalised."""

    @property
    def processor(self) -> Any: ...

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The patch tokens of images: (images, channels, size, size) -> (images, patches, width)."""


def encode_squares(model: Encodes, squares: Sequence[np.ndarray]) -> np.ndarray:
    """The patch tokens of grey squares (uint8, size x size each): float16 (images, patches, width).

    Half precision everywhere, so that features kept on disk and features made for an answer are the same.
    """
    with torch.inference_mode():
        return model.encode(normalise(squares, model.processor)).half().cpu().numpy()


def encode_radiographs(model: ModelFolder, radiographs: Sequence[Radiograph]) -> np.ndarray:
    """The patch tokens of pictures of files: float16 (images, patches, width)."""
    size, intensity = model.image_size, intensity_of(model.processor)
    return encode_squares(model, [show_radiograph(one, size, intensity) for one in radiographs])


def encode_blank(model: ModelFolder) -> np.ndarray:
    """The patch tokens of a black square: float16 (patches, width)."""
    return encode_squares(model, [np.zeros((model.image_size, model.image_size), dtype=np.uint8)])[0]


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


def encode_store(
    model: Encodes,
    store: Store,
    image_ids: Iterable[str],
    folder: Path,
    key: str,
    progress: Callable[[int, int], None] | None = None,
    cluster: str | None = None,
) -> Features:
    """The features of these images, computed into `folder` unless it already holds them under the same `key`.

    key: says which encoder made them. progress: called with (images done, images in all). cluster: the address of a Ray
    cluster that encodes; the model is then sent there.
    """
    intensity = intensity_of(model.processor)
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
    tokens: np.memmap | None = None
    done = 0
    jobs = ((model, store, intensity, wanted[start : start + BATCH]) for start in range(0, len(wanted), BATCH))
    for part in done_in_order(_encode_stored, jobs, cluster=cluster, on_gpu=True):
        if tokens is None:
            shape = (len(wanted), *part.shape[1:])
            tokens = np.lib.format.open_memmap(folder / _TOKENS, mode="w+", dtype=np.float16, shape=shape)
        tokens[done : done + len(part)] = part
        done += len(part)
        if progress:
            progress(done, len(wanted))
    if tokens is not None:
        tokens.flush()
    write_text(record, json.dumps(description))
    return Features(folder, wanted)


def _kept(folder: Path, description: Mapping[str, Any]) -> Features | None:
    """The features of a folder; None where it holds others, or not all of them, or none."""
    with suppress(OSError, ValueError, EOFError):  # cut off, or damaged: they are made anew
        if json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8")) == description:
            return Features(folder, description["images"])
    return None


def _encode_stored(model: Encodes, store: Store, intensity: str, image_ids: Sequence[str]) -> np.ndarray:
    return encode_squares(model, [show_stored(store, store.index[image_id], intensity) for image_id in image_ids])
