"""Image files to grey pixels, and grey pixels to a square of one size."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from diffvqa.boxes import Frame

MAXIMUM_PIXELS = 120_000_000
"""More pixels than any radiograph has; a larger header is taken for a decompression bomb."""


class UnreadableImage(Exception):
    """A file that holds no image that can be read; the message is the reason, without the path."""


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """The grey pixels of a PNG or JPEG file: uint8, shape (height, width), higher is brighter.

    Raises UnreadableImage, with the reason but not the path.
    """
    path = Path(path)
    if not path.is_file():
        raise UnreadableImage("a folder" if path.is_dir() else "no such file")
    try:
        with warnings.catch_warnings():
            # Pillow's own bomb check is replaced by MAXIMUM_PIXELS, a limit made for radiographs.
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            with PillowImage.open(path) as image:
                if image.width * image.height > MAXIMUM_PIXELS:
                    raise UnreadableImage(f"{image.width}x{image.height} pixels are too many")
                return _to_grey(image)
    except UnreadableImage:
        raise
    except PillowImage.DecompressionBombError as error:
        raise UnreadableImage("too many pixels") from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise UnreadableImage("not a PNG or JPEG file that can be decoded to its end") from error


def _to_grey(image: PillowImage.Image) -> np.ndarray:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        pixels = np.asarray(image, dtype=np.float32)
        if not np.isfinite(pixels).all():
            raise UnreadableImage("pixels that are not finite numbers")
        low, high = float(pixels.min()), float(pixels.max())
        return np.rint((pixels - low) * (255.0 / max(high - low, 1e-6))).astype(np.uint8)
    if image.mode in ("RGBA", "LA", "PA", "P"):
        # Transparency carries no anatomy in the datasets that hold it: the colours alone count.
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def letterbox(pixels: np.ndarray, size: int) -> tuple[np.ndarray, Frame]:
    """Grey pixels scaled into a square of `size`, aspect ratio kept, the rest black.

    pixels: uint8 (height, width). Returns uint8 (size, size) and the frame that moves boxes along.
    """
    height, width = pixels.shape
    frame = Frame.letterbox(width, height, size)
    inner = (max(1, round(width * frame.scale)), max(1, round(height * frame.scale)))
    image = PillowImage.fromarray(pixels)
    if inner != image.size:
        image = image.resize(inner, PillowImage.Resampling.BILINEAR, reducing_gap=2.0)
    square = np.zeros((size, size), dtype=np.uint8)
    top, left = int(frame.top), int(frame.left)
    square[top : top + inner[1], left : left + inner[0]] = np.asarray(image)
    return square, frame


def read_squares(path, sizes):
    pixels = read_image(path)
    height, width = pixels.shape
    return (width, height), [letterbox(pixels, size)[0] for size in sizes]
