"""Pictures of an answer: radiographs side by side with their boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from diffvqa.boxes import Box, Frame

SIZE = 512
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))
"""Okabe and Ito's colours, told apart by colour-blind readers too."""


def draw_overlay(panels: Sequence[tuple[str, np.ndarray, Sequence[tuple[str, Box]]]]) -> PillowImage.Image:
    """Panels side by side, each a title, grey pixels (uint8) and labelled boxes in pixels of that image.

    The same label has the same colour in every panel.
    """
    labels = list(dict.fromkeys(label for _, _, boxes in panels for label, _ in boxes))
    font = ImageFont.load_default(size=15)
    canvas = PillowImage.new("RGB", (SIZE * len(panels), SIZE + 44))
    draw = ImageDraw.Draw(canvas)
    for number, (title, pixels, boxes) in enumerate(panels):
        left = number * SIZE
        height, width = pixels.shape
        frame = Frame.letterbox(width, height, SIZE)
        inner = (max(1, round(width * frame.scale)), max(1, round(height * frame.scale)))
        picture = PillowImage.fromarray(pixels).resize(inner, PillowImage.Resampling.LANCZOS)
        canvas.paste(picture, (left + int(frame.left), 22 + int(frame.top)))
        draw.text((left + 6, 2), title, font=font, fill="white")
        for label, box in boxes:
            colour = COLOURS[labels.index(label) % len(COLOURS)]
            moved = frame.into(box)
            draw.rectangle((left + moved.x1, 22 + moved.y1, left + moved.x2, 22 + moved.y2), outline=colour, width=3)
            draw.text(
                (left + moved.x1 + 4, 22 + moved.y1 + 3), label, font=font, fill=colour, stroke_width=2, stroke_fill=0
            )
    draw.text((6, SIZE + 24), "Research software. Not for clinical use.", font=font, fill="white")
    return canvas
