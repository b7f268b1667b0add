"""Pictures of an answer: radiographs side by side, upright, with their boxes and the patient's sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from diffvqa.answering.answer import NOTICE, Answer
from diffvqa.boxes import Box, Frame
from diffvqa.images.colours import BOX_COLOURS
from diffvqa.images.radiograph import Radiograph
from diffvqa.images.sides import mark_sides

SIZE = 512

BROAD, THIN = 3, 1
"""Pixels of the lines around what has changed, and around what is only to be seen."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A labelled box in pixels of its file, and how broad its line is, in pixels of the picture."""

    label: str
    box: Box
    line: int = BROAD


def draw_answer(answer: Answer, radiographs: Mapping[str, Radiograph]) -> PillowImage.Image:
    """Draw the nearest prior and the current radiograph with the answer's boxes.

    Broad lines mark changes, thin lines other findings. radiographs: those of the question by name (current, prior,
    prior 2, ...).
    """
    panels = []
    for image in ("prior", "current"):
        if image not in radiographs:
            continue
        marked = [
            Marked(found.label, found.box, BROAD if found.kind == "change" else THIN)
            for found in answer.boxes or ()
            if found.image == image
        ]
        title = f"{image}: {answer.text}" if answer.reason else image
        panels.append((title, radiographs[image], marked))
    return draw_overlay(panels)


def draw_overlay(panels: Sequence[tuple[str, Radiograph, Sequence[Marked]]]) -> PillowImage.Image:
    """Panels side by side, each a title, a radiograph and boxes in pixels of its file.

    Both are brought upright. The same label has the same colour in every panel.
    """
    labels = list(dict.fromkeys(one.label for _, _, marked in panels for one in marked))
    font = ImageFont.load_default(size=15)
    canvas = PillowImage.new("RGB", (SIZE * len(panels), SIZE + 44))
    draw = ImageDraw.Draw(canvas)
    for number, (title, radiograph, marked) in enumerate(panels):
        left, pixels = number * SIZE, radiograph.upright
        height, width = pixels.shape
        frame = Frame.letterbox(width, height, SIZE)
        inner = (max(1, round(width * frame.scale)), max(1, round(height * frame.scale)))
        picture = PillowImage.fromarray(pixels).resize(inner, PillowImage.Resampling.LANCZOS)
        corner = (left + int(frame.left), 22 + int(frame.top))
        canvas.paste(picture, corner)
        if radiograph.has_sides:
            mark_sides(draw, *corner, corner[0] + inner[0], corner[1] + inner[1], 22)
        draw.text((left + 6, 2), title, font=font, fill="white")
        taken: list[tuple[float, float, float, float]] = []
        for one in marked:
            colour = BOX_COLOURS[labels.index(one.label) % len(BOX_COLOURS)]
            moved = frame.into(radiograph.frame.upright(one.box))
            corners = (left + moved.x1, 22 + moved.y1, left + moved.x2, 22 + moved.y2)
            draw.rectangle(corners, outline=colour, width=one.line)
            *_, wide, high = draw.multiline_textbbox((0, 0), one.label, font)
            x, y = _free_place(left + moved.x1 + 4, 22 + moved.y1 + 3, wide, high, left + SIZE, taken)
            taken.append((x, y, x + wide, y + high))
            draw.text((x, y), one.label, font=font, fill=colour, stroke_width=2, stroke_fill=0)
    draw.text((6, SIZE + 24), NOTICE, font=font, fill="white")
    return canvas


def _free_place(
    x: float, y: float, wide: float, high: float, end: float, taken: Sequence[tuple[float, float, float, float]]
) -> tuple[float, float]:
    """A readable place for a label: moved left until it ends inside its panel, and down past other labels."""
    x = min(x, end - wide - 2)
    for x1, y1, x2, y2 in sorted(taken, key=lambda one: one[1]):
        if x < x2 and x1 < x + wide and y < y2 and y1 < y + high:
            y = y2
    return x, y
