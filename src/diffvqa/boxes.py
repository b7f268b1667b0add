"""Boxes: one convention (x1 y1 x2 y2, half-open), their geometry, and the frame of a letterboxed image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with its corners at (x1, y1) and (x2, y2), x to the right and y down, half-open.

    The unit is that of the image the box belongs to (pixels of the source file unless said otherwise).
    Raises ValueError for a coordinate that is not finite and for a box without area.
    """

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in self.as_tuple()):
            raise ValueError("a box needs four finite coordinates")
        if self.x2 <= self.x1 or self.y2 <= self.y1:
            raise ValueError("a box needs x1 < x2 and y1 < y2")

    def as_tuple(self) -> tuple[float, float, float, float]:
        return (self.x1, self.y1, self.x2, self.y2)

    @property
    def area(self) -> float:
        return (self.x2 - self.x1) * (self.y2 - self.y1)


def intersection_over_union(a: Box, b: Box) -> float:
    """The area shared by two boxes, divided by the area covered by either: 0 to 1."""
    shared = _shared(a, b)
    return shared / (a.area + b.area - shared)


def _shared(a: Box, b: Box) -> float:
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    return width * height if width > 0 and height > 0 else 0.0


def clip(box: Box, width: float, height: float) -> Box | None:
    """The part of a box inside an image of that width and height, or None if nothing is inside."""
    x1, y1 = max(box.x1, 0.0), max(box.y1, 0.0)
    x2, y2 = min(box.x2, float(width)), min(box.y2, float(height))
    if x2 <= x1 or y2 <= y1:
        return None
    return Box(x1, y1, x2, y2)


def mean_box(boxes: list[Box]) -> Box:
    """The box whose corners are the means of the corners of the given boxes (at least one)."""
    return Box(*np.mean([box.as_tuple() for box in boxes], axis=0).tolist())


def smallest_apart(boxes: Iterable[Box]) -> list[Box]:
    """The smallest of these boxes in each place, the smallest first.

    A box that holds half or more of a smaller one is left out.
    """
    kept: list[Box] = []
    for box in sorted(set(boxes), key=lambda one: (one.area, one.as_tuple())):
        if not any(_shared(box, smaller) >= 0.5 * smaller.area for smaller in kept):
            kept.append(box)
    return kept


@dataclass(frozen=True, slots=True)
class Frame:
    """The map from a source image to a square: scaled with its aspect ratio kept, then padded.

    A source point (x, y) in pixels lies at (x * scale + left, y * scale + top) in the square.
    """

    size: int
    scale: float
    left: float
    top: float

    @classmethod
    def letterbox(cls, width: int, height: int, size: int) -> Frame:
        """The frame that centres an image of width x height pixels in a square of `size` pixels."""
        scale = size / max(width, height)
        left = (size - max(1, round(width * scale))) // 2
        top = (size - max(1, round(height * scale))) // 2
        return cls(size, scale, float(left), float(top))

    def into(self, box: Box) -> Box:
        """A box in source pixels, in pixels of the square."""
        return Box(
            box.x1 * self.scale + self.left,
            box.y1 * self.scale + self.top,
            box.x2 * self.scale + self.left,
            box.y2 * self.scale + self.top,
        )

    def out_of(self, box: Box) -> Box:
        """A box in pixels of the square, in source pixels."""
        return Box(
            (box.x1 - self.left) / self.scale,
            (box.y1 - self.top) / self.scale,
            (box.x2 - self.left) / self.scale,
            (box.y2 - self.top) / self.scale,
        )
