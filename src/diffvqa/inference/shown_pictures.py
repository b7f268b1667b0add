"""The grey square that a model is shown of a picture, be it of a file or of a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from diffvqa.boxes import Frame
from diffvqa.data.store import Store
from diffvqa.images import letterbox
from diffvqa.images.intensities import AS_STORED, EQUALISED, equalise
from diffvqa.images.radiograph import Radiograph
from diffvqa.images.squares import inner_size


def show_radiograph(radiograph: Radiograph, size: int, intensity: str) -> np.ndarray:
    """The upright picture of a file as a model of that convention of grey values is shown it: uint8 (size, size)."""
    upright = radiograph.upright
    square, frame = letterbox(upright, size)
    height, width = upright.shape
    return _with_intensity(square, frame, (width, height), AS_STORED, intensity)


def show_stored(store: Store, position: int, intensity: str) -> np.ndarray:
    """The picture at a position of a store as a model of that convention is shown it: uint8 (size, size)."""
    square = store.pixels(position)
    image = store.images[position]
    return _with_intensity(square, image.frame, (image.width, image.height), store.intensity, intensity)


def _with_intensity(
    square: np.ndarray, frame: Frame, source: tuple[int, int], found: str, intensity: str
) -> np.ndarray:
    """A square of the convention `found` in that of a model.

    Grey values are equalised after the picture was resized, because a store holds nothing larger. The margins are no
    part of the picture. What is equalised already stays so.
    """
    if intensity != EQUALISED or found == EQUALISED:
        return square
    width, height = inner_size(frame, source)
    inside = np.s_[int(frame.top) : int(frame.top) + height, int(frame.left) : int(frame.left) + width]
    square[inside] = equalise(square[inside])
    return square


class StorePixels(Mapping[str, np.ndarray]):
    """Image identifier -> the grey square of a store's image, as a model of that convention is shown it."""

    def __init__(self, store: Store, intensity: str) -> None:
        self.store, self.intensity = store, intensity

    def __getitem__(self, image_id: str) -> np.ndarray:
        return show_stored(self.store, self.store.index[image_id], self.intensity)

    def __iter__(self) -> Iterator[str]:
        return iter(self.store.index)

    def __len__(self) -> int:
        return len(self.store.index)
