"""Boxes as datasets give them, made to fit their images or dropped, and counted either way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from diffvqa.boxes import Box, clip
from diffvqa.cells import read_number
from diffvqa.records import Image, Problem, Regions, Source


def edges(numbers: Iterable[Any]) -> Iterator[float]:
    """x1, y1, x2, y2 of a box given by its x, y, width and height, numbers or their text; for `fit_box`."""
    x, y, width, height = map(read_number, numbers)
    yield from (x, y, x + width, y + height)


def scale_to(size: tuple[int, int], stated: tuple[str, str]) -> tuple[float, float]:
    """The factors of x and y from an image of the stated width and height to one of `size`; 1 if none is stated."""
    try:
        width, height = map(read_number, stated)
    except ValueError:
        return 1.0, 1.0
    return (size[0] / width, size[1] / height) if width > 0 and height > 0 else (1.0, 1.0)


def fit_box(
    corners: Iterable[Any],
    width: int,
    height: int,
    where: Source,
    problems: list[Problem],
    scale: tuple[float, float] = (1.0, 1.0),
) -> Box | None:
    """The part of a box (x1, y1, x2, y2, numbers or their text) inside an image of that width and height, in pixels.

    scale: what x and y are to be multiplied by to be pixels. None for what is no box or lies outside. Adds
    `box_clipped` or `box_dropped` to `problems`, at `where`.
    """
    try:
        x1, y1, x2, y2 = map(read_number, corners)
        box = Box(x1 * scale[0], y1 * scale[1], x2 * scale[0], y2 * scale[1])
    except (TypeError, ValueError, OverflowError):
        problems.append(Problem("box_dropped", where, "not four numbers that span an area"))
        return None
    if max(box.x2 - box.x1, box.y2 - box.y1) <= 1:
        problems.append(Problem("box_dropped", where, "no larger than a pixel; edges are in pixels, and not in shares"))
        return None
    if box.x1 >= 0 and box.y1 >= 0 and box.x2 <= width and box.y2 <= height:
        return box
    inside = clip(box, width, height)
    if inside is None:
        problems.append(Problem("box_dropped", where, "outside its image"))
    else:
        problems.append(Problem("box_clipped", where, "reached beyond its image"))
    return inside


def fit_to_file(image: Image, found: tuple[int, int], problems: list[Problem]) -> Image:
    """An image with the width and height found in its file; its boxes follow, or are left out if the shape differs too.

    Adds `size_differs` to `problems` where the dataset says otherwise.
    """
    width, height = found
    if found == (image.width, image.height):
        return image
    along, down = width / image.width, height / image.height
    resized = abs(along / down - 1) < 0.02
    reason = f"{width}x{height} pixels, its dataset says {image.width}x{image.height}: its boxes are " + (
        "scaled along" if resized else "left out, for the shape differs too"
    )
    problems.append(Problem("size_differs", Source(image.file), reason))
    regions = Regions.of(
        replace(
            region,
            box=Box(region.box.x1 * along, region.box.y1 * down, region.box.x2 * along, region.box.y2 * down),
        )
        for region in (image.regions if resized else ())
    )
    return replace(image, width=width, height=height, regions=regions)
