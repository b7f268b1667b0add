"""Images and their boxes, transformed together."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image as PillowImage

from diffvqa.boxes import Box, clip

KEPT_SHARE = 0.5
"""A box is kept if at least this share of it is still inside the image."""

_LIMITS = {"scale": 1, "shift": 1, "contrast": 1, "rotation": 45, "exposure": 10, "noise": 1}
"""The limit of each strength: beyond it, an image may be empty or a box useless."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The greatest change of each kind, 0 for none.

    scale, contrast: a share. shift: a share of the image's size. rotation: degrees, either way. exposure: the gamma is
    between 1 / (1 + exposure) and 1 + exposure, evenly in its logarithm. noise: standard deviation, as a share of 255.

    There is no mirror: it would move the heart and swap left and right in the text.

    Raises ValueError for a strength that is negative or too great to leave a radiograph.
    """

    scale: float = 0.0
    shift: float = 0.0
    contrast: float = 0.0
    rotation: float = 0.0
    exposure: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            strength, limit = getattr(self, field.name), _LIMITS[field.name]
            if not 0 <= strength < limit:
                raise ValueError(f"{field.name} is at least 0 and below {limit}, found {strength:g}")


def augment(
    pixels: np.ndarray, boxes: list[Box], augmentation: Augmentation, random: np.random.Generator, size: int
) -> tuple[np.ndarray, list[Box | None]]:
    """A square image turned, scaled, shifted and re-exposed into a square of `size`, its boxes moved along.

    pixels: uint8, square, of any side; boxes are in its pixels. Returns uint8 (size, size), and the boxes in its
    pixels: a turned box becomes the upright one around its corners, clipped. None stands for a box of which less than
    KEPT_SHARE stays inside. Beyond twice `size`, give a smaller image: fine structures would be skipped.
    """
    scale = 1.0 + augmentation.scale * random.uniform(-1, 1)
    shift_x, shift_y = size * augmentation.shift * random.uniform(-1, 1, size=2)
    contrast = 1.0 + augmentation.contrast * random.uniform(-1, 1)
    brightness = 128 * augmentation.contrast * random.uniform(-1, 1)
    # These draw only where they are asked for, so that runs without them draw the same as before there were any.
    angle = math.radians(augmentation.rotation * random.uniform(-1, 1)) if augmentation.rotation else 0.0
    gamma = (1.0 + augmentation.exposure) ** random.uniform(-1, 1) if augmentation.exposure else 1.0
    deviation = 255.0 * augmentation.noise * random.uniform(0, 1) if augmentation.noise else 0.0

    ratio = size / pixels.shape[0]
    # A point p lands on scale * turn(p - centre) + centre + shift in the result, and `offset` lands on 0.
    cosine, sine = math.cos(angle), math.sin(angle)
    centre_x, centre_y = size / 2 + shift_x, size / 2 + shift_y
    offset_x = size / 2 - (cosine * centre_x + sine * centre_y) / scale
    offset_y = size / 2 - (cosine * centre_y - sine * centre_x) / scale
    if scale != 1.0 or shift_x or shift_y or angle:
        # Pillow asks for the way back.
        a, b = cosine / scale / ratio, sine / scale / ratio
        way_back = (a, b, offset_x / ratio, -b, a, offset_y / ratio)
        image = PillowImage.fromarray(pixels)
        image = image.transform((size, size), PillowImage.Transform.AFFINE, way_back, PillowImage.Resampling.BILINEAR)
        pixels = np.asarray(image)
    elif ratio != 1.0:
        pixels = np.asarray(PillowImage.fromarray(pixels).resize((size, size), PillowImage.Resampling.BILINEAR))

    def transform(box: Box) -> Box:
        corners = [(x * ratio - offset_x, y * ratio - offset_y) for x in (box.x1, box.x2) for y in (box.y1, box.y2)]
        xs = [(cosine * x - sine * y) * scale for x, y in corners]
        ys = [(sine * x + cosine * y) * scale for x, y in corners]
        return Box(min(xs), min(ys), max(xs), max(ys))

    if augmentation.contrast or augmentation.exposure:
        levels = np.arange(256.0) if gamma == 1.0 else 255.0 * (np.arange(256.0) / 255.0) ** gamma
        levels = (levels - 128.0) * contrast + 128.0 + brightness
        pixels = np.clip(levels, 0, 255).astype(np.uint8)[pixels]
    if deviation:
        noise = deviation * random.standard_normal(pixels.shape, dtype=np.float32)
        pixels = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
    return pixels, [_inside(transform(box), size) for box in boxes]


def _inside(box: Box, size: int) -> Box | None:
    inside = clip(box, size, size)
    return inside if inside is not None and inside.area >= KEPT_SHARE * box.area else None
