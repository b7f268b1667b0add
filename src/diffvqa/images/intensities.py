"""Stored levels to brightness, by a table of the levels that a picture holds; and the conventions of models."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image as PillowImage

from diffvqa.errors import InputError

DARKEST, BRIGHTEST = 0.001, 0.999
"""The shares of the pixels below which a picture is black, and above which it is white.

Burnt-in markers and dead pixels are fewer than that: they must not darken the anatomy.
"""

AS_STORED, EQUALISED = "as stored", "equalised"
"""What a model is shown: the grey values of the file, or those spread so that each is about as frequent.

The latter is what the files of MIMIC-CXR-JPG hold.
"""

_LONGEST_TABLE = 2**20


def distinct(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The levels of a picture, how many pixels each has, and where each pixel's level lies among them.

    pixels: integers of any shape, equal to levels[places]; levels increase, and some may have no pixel.
    """
    low, high = int(pixels.min()), int(pixels.max())
    if high - low < _LONGEST_TABLE:
        places = np.subtract(pixels, low, dtype=np.int64)
        return np.arange(low, high + 1), np.bincount(places.ravel(), minlength=high - low + 1), places
    levels, places, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    return levels, counts, places.reshape(pixels.shape)


def stretch(levels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The brightness of each level, 0 to 1, spread over the range in which nearly all pixels lie.

    levels: numbers in any order. counts: the pixels of each. A picture of one level is black.
    """
    order = np.argsort(levels, kind="stable")
    order = order[counts[order] > 0]
    if not len(order):
        return np.zeros(len(levels))
    reached = np.cumsum(counts[order])
    first = np.searchsorted(reached, DARKEST * reached[-1], side="right")
    last = np.searchsorted(reached, BRIGHTEST * reached[-1])
    low, high = float(levels[order[first]]), float(levels[order[last]])
    if high <= low:
        # Nearly all pixels are of one level: the few others are the picture.
        low, high = float(levels[order[0]]), float(levels[order[-1]])
    if high <= low:
        return np.zeros(len(levels))
    return np.clip((levels - low) / (high - low), 0, 1)


def to_bytes(brightness: np.ndarray) -> np.ndarray:
    """0 to 1 as uint8, 0 to 255."""
    return np.rint(255 * brightness).astype(np.uint8)


def equalise(pixels: np.ndarray) -> np.ndarray:
    """Grey values spread so that each is about as frequent as every other. pixels and result: uint8 (height, width)."""
    counts = np.array(PillowImage.fromarray(pixels).histogram())
    cumulated = np.cumsum(counts)
    first = cumulated[np.nonzero(counts)[0][0]]
    table = np.rint((cumulated - first) * (255.0 / max(pixels.size - first, 1)))
    return np.clip(table, 0, 255).astype(np.uint8)[pixels]


def intensity_of(processor: Any) -> str:
    """The convention of grey values of a model, which its processor keeps; older ones are shown them as stored.

    Raises InputError for one that is not known.
    """
    intensity = getattr(processor, "intensity", AS_STORED)
    if intensity not in (AS_STORED, EQUALISED):
        raise InputError(
            f"preprocessor_config.json: expected an intensity of {AS_STORED!r} or {EQUALISED!r}, found another; the "
            "folder was written by another version of diffvqa, use that",
            argument="model",
        )
    return intensity
