"""Images and their boxes, transformed together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from diffvqa.boxes import Box, clip

KEPT_SHARE = 0.5
"""A box is kept if at least this share of it is still inside the image."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The greatest change of each kind: `scale` and `contrast` as a share, `shift` as a share of the image's size.

    There is no mirror: it would move the heart and swap left and right in the text.
    """

    scale: float = 0.0
    shift: float = 0.0
    contrast: float = 0.0


def augment(
    pixels: np.ndarray, boxes: list[Box], augmentation: Augmentation, random: np.random.Generator
) -> tuple[np.ndarray, list[Box | None]]:
    """A square image (uint8, size x size) scaled, shifted and re-exposed, its boxes moved along.

    A box of which less than KEPT_SHARE stays inside becomes None, the others are clipped.
    """
    size = pixels.shape[0]
    scale = 1.0 + augmentation.scale * random.uniform(-1, 1)
    shift_x, shift_y = size * augmentation.shift * random.uniform(-1, 1, size=2)
    contrast = 1.0 + augmentation.contrast * random.uniform(-1, 1)
    brightness = 128 * augmentation.contrast * random.uniform(-1, 1)
    if scale != 1.0 or shift_x or shift_y:
        # A point p of the image lands on scale * (p - centre) + centre + shift; Pillow asks for the way back.
        offset_x = size / 2 - (size / 2 + shift_x) / scale
        offset_y = size / 2 - (size / 2 + shift_y) / scale
        pixels = np.asarray(
            PillowImage.fromarray(pixels).transform(
                (size, size),
                PillowImage.Transform.AFFINE,
                (1 / scale, 0, offset_x, 0, 1 / scale, offset_y),
                PillowImage.Resampling.BILINEAR,
            )
        )
        boxes_moved = [
            Box(
                (box.x1 - offset_x) * scale,
                (box.y1 - offset_y) * scale,
                (box.x2 - offset_x) * scale,
                (box.y2 - offset_y) * scale,
            )
            for box in boxes
        ]
    else:
        boxes_moved = list(boxes)
    if augmentation.contrast:
        pixels = np.clip((pixels - 128.0) * contrast + 128.0 + brightness, 0, 255).astype(np.uint8)
    return pixels, [_inside(box, size) for box in boxes_moved]


def _inside(box: Box, size: int) -> Box | None:
    inside = clip(box, size, size)
    return inside if inside is not None and inside.area >= KEPT_SHARE * box.area else None
