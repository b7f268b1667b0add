"""The upright grid on which thicknesses are computed, the simple bodies drawn on it, and its way into the image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from diffvqa.phantom.acquisition import Acquisition


@dataclass(frozen=True, slots=True)
class Canvas:
    """The grid on which thicknesses are computed: upright plane, x (1, w) and y (h, 1) in cm at the pixels' centres."""

    x: np.ndarray
    y: np.ndarray
    left: float
    top: float
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.y.shape[0], self.x.shape[1]

    def window(self, x1: float, y1: float, x2: float, y2: float) -> tuple[slice, slice]:
        """The part of the grid inside a rectangle in cm (empty if it lies outside)."""
        height, width = self.shape
        columns = [
            min(max(math.floor((value - self.left) * self.scale), 0), width) for value in (x1, x2 + 1 / self.scale)
        ]
        rows = [min(max(math.floor((value - self.top) * self.scale), 0), height) for value in (y1, y2 + 1 / self.scale)]
        return slice(*rows), slice(*columns)


def canvas_for(acquisition: Acquisition) -> Canvas:
    """The upright grid that covers an image, as fine as the image."""
    width, height = acquisition.width, acquisition.height
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=float)
    plane = acquisition.to_plane(corners)
    scale = acquisition.pixels_per_centimetre
    left, top = plane.min(axis=0) - 2 / scale
    columns, rows = np.ceil((plane.max(axis=0) - (left, top)) * scale + 2).astype(int)
    x = (left + (np.arange(columns, dtype=np.float32) + 0.5) / scale).astype(np.float32)[None, :]
    y = (top + (np.arange(rows, dtype=np.float32) + 0.5) / scale).astype(np.float32)[:, None]
    return Canvas(x, y, float(left), float(top), scale)


def union(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The thickness of two bodies that grow into each other: smooth where they meet, neither counted twice."""
    return np.sqrt(np.sqrt(np.square(np.square(one)) + np.square(np.square(other))))


def ball(
    field: np.ndarray, canvas: Canvas, x: float, y: float, a: float, b: float, height: float, slant: float = 0.0
) -> None:
    """Adds, by smooth union, an ellipsoid's thickness to a field: half axes a, b; the y axis leans by `slant`."""
    reach = math.hypot(a, slant * b)
    rows, columns = canvas.window(x - reach, y - b, x + reach, y + b)
    across = (canvas.x[:, columns] - x - slant * (canvas.y[rows] - y)) / a
    thickness = height * np.sqrt(np.clip(1.0 - across**2 - ((canvas.y[rows] - y) / b) ** 2, 0.0, 1.0))
    part = field[rows, columns]
    part[...] = union(part, thickness)


def tube(
    field: np.ndarray,
    canvas: Canvas,
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    r1: float,
    r2: float,
    height: float = 2.0,
) -> None:
    """Adds, by smooth union, a tapered tube's thickness to a field; height 2 is a round tube."""
    reach = max(r1, r2)
    rows, columns = canvas.window(min(x1, x2) - reach, min(y1, y2) - reach, max(x1, x2) + reach, max(y1, y2) + reach)
    dx, dy = x2 - x1, y2 - y1
    x, y = canvas.x[:, columns] - x1, canvas.y[rows] - y1
    along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    radius = r1 + (r2 - r1) * along
    squared = radius**2 - (x - along * dx) ** 2 - (y - along * dy) ** 2
    thickness = height * np.sqrt(np.maximum(squared, 0.0))
    part = field[rows, columns]
    part[...] = union(part, thickness)


def onto_image(upright: np.ndarray, canvas: Canvas, acquisition: Acquisition) -> np.ndarray:
    """The image's pixels, taken from the upright grid."""
    size = (acquisition.width, acquisition.height)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    origin, right, down = (acquisition.to_plane(corners) - (canvas.left, canvas.top)) * canvas.scale
    matrix = np.stack([right - origin, down - origin, origin], axis=1).ravel().tolist()
    image = Image.fromarray(upright.astype(np.float32))
    turned = image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.array(turned, dtype=np.float32)
