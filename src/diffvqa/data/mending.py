"""Boxes as datasets give them, made to lie inside their images or dropped, and counted either way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from diffvqa.boxes import Box, clip
from diffvqa.records import Problem, Source


def fit_box(corners: Iterable[Any], width: int, height: int, where: Source, problems: list[Problem]) -> Box | None:
    """The part of a box (x1, y1, x2, y2, in pixels, numbers or their text) inside an image of that width and height.

    None for what is no box or lies outside. Adds `box_clipped` or `box_dropped` to `problems`, at `where`.
    """
    try:
        box = Box(*map(float, corners))
    except (TypeError, ValueError):
        problems.append(Problem("box_dropped", where, "not four numbers that span an area"))
        return None
    if box.x1 >= 0 and box.y1 >= 0 and box.x2 <= width and box.y2 <= height:
        return box
    inside = clip(box, width, height)
    if inside is None:
        problems.append(Problem("box_dropped", where, "outside its image"))
    else:
        problems.append(Problem("box_clipped", where, "reached beyond its image"))
    return inside
