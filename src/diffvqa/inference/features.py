"""Patch tokens of pictures. A store's pictures are encoded once; their tokens are kept as float16 in a file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from diffvqa.arrays import CheckedRows, write_rows
from diffvqa.data.store import Store
from diffvqa.errors import RunFailed
from diffvqa.files import is_unfinished
from diffvqa.images.intensities import intensity_of
from diffvqa.images.radiograph import Radiograph
from diffvqa.inference.shown_pictures import show_radiograph, show_stored
from diffvqa.models.folder import ModelFolder
from diffvqa.sealed import read_sealed, write_sealed
from diffvqa.tasks.collate import normalise
from diffvqa.workers import done_in_order

BATCH = 64
_TOKENS, _DESCRIPTION = "features.npy", "features.json"


class Encodes(Protocol):
    """A model that makes patch tokens of pictures, with the processor that normalises their pixels."""

    @property
    def processor(self) -> Any: ...

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The patch tokens of images: (images, channels, size, size) -> (images, patches, width)."""


def encode_squares(model: Encodes, squares: Sequence[np.ndarray]) -> np.ndarray:
    """Encode grey squares (uint8, size x size each) to patch tokens: float16 (images, patches, width).

    Half precision is used everywhere, so that features on disk and features made for an answer are the same.
    """
    with torch.inference_mode():
        return model.encode(normalise(squares, model.processor)).half().cpu().numpy()


def encode_radiographs(model: ModelFolder, radiographs: Sequence[Radiograph]) -> np.ndarray:
    """Encode the pictures of files to patch tokens: float16 (images, patches, width)."""
    size, intensity = model.image_size, intensity_of(model.processor)
    return encode_squares(model, [show_radiograph(one, size, intensity) for one in radiographs])


def encode_blank(model: ModelFolder) -> np.ndarray:
    """Encode a black square to patch tokens: float16 (patches, width)."""
    return encode_squares(model, [np.zeros((model.image_size, model.image_size), dtype=np.uint8)])[0]


class Features(Mapping[str, np.ndarray]):
    """The encoded images of a folder: image identifier -> patch tokens, float16 (patches, width).

    Each image is checked when it is read. If it is damaged, RunFailed is raised, and the folder counts as empty from
    then on. Another process maps the features from the same folder. Raises OSError or ValueError for a folder without
    complete features.
    """

    def __init__(self, folder: Path) -> None:
        about = read_sealed(folder / _DESCRIPTION)
        self.folder, self.description = folder, about["description"]
        images = self.description["images"]
        self._tokens = CheckedRows(folder / _TOKENS, (len(images), *about["shape"]), np.float16, about["sums"])
        self.rows = {image_id: row for row, image_id in enumerate(images)}

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_once, (self.folder.resolve(), (self.folder / _TOKENS).stat().st_mtime_ns)

    def __getitem__(self, image_id: str) -> np.ndarray:
        row = self.rows[image_id]
        try:
            return self._tokens[row]
        except ValueError as error:
            (self.folder / _DESCRIPTION).unlink(missing_ok=True)
            raise RunFailed(
                "the encoded images were damaged on the disk; give the same command again, they are encoded anew"
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@functools.lru_cache(maxsize=2)
def _open_once(folder: Path, written: int) -> Features:
    return Features(folder)


def encode_store(
    model: Encodes,
    store: Store,
    image_ids: Iterable[str],
    folder: Path,
    key: str,
    progress: Callable[[int, int], None] | None = None,
    cluster: str | None = None,
) -> Features:
    """Encode images of a store into `folder`, unless it already holds them under the same `key`.

    key: identifies the encoder. progress: called with (images done, images in all). cluster: address of a Ray cluster
    that encodes; the model is sent to it. Raises OSError before the second batch if the disk has no room for all.
    """
    intensity = intensity_of(model.processor)
    wanted = sorted(set(image_ids))
    if not wanted:
        raise ValueError("there are no images to encode")
    description = {"key": key, "store": store.fingerprint, "intensity": intensity, "images": wanted}
    kept = _kept(folder, description)
    if kept is not None:
        return kept
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in [*folder.iterdir()]:
        if path.name in (_TOKENS, _DESCRIPTION) or is_unfinished(path):
            path.unlink()
    shape: list[int] = []

    def parts() -> Iterator[np.ndarray]:
        done = 0
        jobs = ((model, store, intensity, wanted[start : start + BATCH]) for start in range(0, len(wanted), BATCH))
        for part in done_in_order(_encode_stored, jobs, cluster=cluster, on_gpu=True):
            shape[:] = part.shape[1:]
            done += len(part)
            yield part
            if progress:
                progress(done, len(wanted))

    sums = write_rows(folder / _TOKENS, parts(), len(wanted))
    write_sealed(folder / _DESCRIPTION, {"description": description, "shape": shape, "sums": sums})
    return Features(folder)


def _kept(folder: Path, description: Mapping[str, Any]) -> Features | None:
    """The features of a folder; None where it holds others, or not all of them, or none."""
    with suppress(OSError, ValueError, LookupError, TypeError):  # cut off, or of an older version: they are made anew
        found = Features(folder)
        if found.description == description:
            return found
    return None


def _encode_stored(model: Encodes, store: Store, intensity: str, image_ids: Sequence[str]) -> np.ndarray:
    return encode_squares(model, [show_stored(store, store.index[image_id], intensity) for image_id in image_ids])
