"""The patient's sides, marked in pictures that people look at."""

from __future__ import annotations

from PIL import ImageDraw, ImageFont

RIGHT, LEFT = "R", "L"
"""The patient's sides at the left and the right edge of an upright frontal picture."""


def mark_sides(draw: ImageDraw.ImageDraw, left: float, top: float, right: float, bottom: float, size: int) -> None:
    """R and L at the edges of an upright frontal picture, at half its height. size: of the letters, in pixels."""
    font = ImageFont.load_default(size=size)
    for letter, x, anchor in ((RIGHT, left + 4, "lm"), (LEFT, right - 4, "rm")):
        draw.text(
            (x, (top + bottom) / 2), letter, font=font, fill="white", anchor=anchor, stroke_width=2, stroke_fill=0
        )
