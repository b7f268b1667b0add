"""Pictures laid into squares of one size."""

from __future__ import annotations

import numpy as np
from PIL import Image as PillowImage

from diffvqa.boxes import Frame

GAP = 2.0
"""How many times larger than the square's picture a picture stays after a quick reduction by whole factors.

The last step is a fair resampling. At 2 both ways of reducing (whole blocks of pixels, reduced decoding of JPEG) differ
from resampling at full size by a fraction of a grey level; at 1, bright markers come out wrong.
"""


def letterbox(pixels: np.ndarray, size: int) -> tuple[np.ndarray, Frame]:
    """Grey pixels scaled into a square of `size`, aspect ratio kept, the rest black.

    pixels: uint8 (height, width). Returns uint8 (size, size) and the frame that moves boxes along.
    """
    height, width = pixels.shape
    return lay_into_square(PillowImage.fromarray(pixels), (width, height), size)


def lay_into_square(
    picture: PillowImage.Image,
    source: tuple[int, int],
    size: int,
    box: tuple[float, float, float, float] | None = None,
) -> tuple[np.ndarray, Frame]:
    """The same for a grey Pillow picture, which may be a reduction of its source of (width, height) pixels.

    box: the part of the picture that shows the source, for reductions whose last pixels reach beyond it.
    """
    frame = Frame.letterbox(*source, size)
    inner = inner_size(frame, source)
    if inner != picture.size:
        picture = picture.resize(inner, PillowImage.Resampling.BILINEAR, box=box, reducing_gap=GAP)
    square = np.zeros((size, size), dtype=np.uint8)
    top, left = int(frame.top), int(frame.left)
    square[top : top + inner[1], left : left + inner[0]] = np.asarray(picture)
    return square, frame


def inner_size(frame: Frame, source: tuple[int, int]) -> tuple[int, int]:
    """Width and height, in pixels of the square, of the source of (width, height) pixels laid into it."""
    width, height = source
    return max(1, round(width * frame.scale)), max(1, round(height * frame.scale))
