"""Which files and which shapes are no radiograph."""

from __future__ import annotations

from typing import NamedTuple

MAXIMUM_PIXELS = 120_000_000
"""More pixels than any radiograph has; a larger header is taken for a decompression bomb."""

SHORTEST_SIDE = 16
"""Pixels; what is smaller is an icon, or a file gone wrong."""

MOST_ELONGATED = 4
"""How many times the shorter side the longer one may be; what is longer is a strip cut off, or a ruler."""


class Seen(NamedTuple):
    """Width and height of a file's picture in pixels, and what else should be known of it, as `Header.remarks` says."""

    width: int
    height: int
    remarks: tuple[str, ...] = ()


class UnreadableImage(Exception):
    """A file that holds no image that can be read; the message is the reason, without the path."""


def not_a_radiograph(width: int, height: int) -> str | None:
    """Why a picture of that width and height in pixels can be no radiograph, or None if it can."""
    if min(width, height) < SHORTEST_SIDE:
        return f"{width}x{height} pixels: a side is shorter than {SHORTEST_SIDE}"
    if max(width, height) > MOST_ELONGATED * min(width, height):
        return f"{width}x{height} pixels: one side is more than {MOST_ELONGATED} times the other"
    return None


def require_radiograph(width: int, height: int) -> None:
    """Raises UnreadableImage for a picture of too many pixels, or of a shape that no radiograph has."""
    if width * height > MAXIMUM_PIXELS:
        raise UnreadableImage(f"{width}x{height} pixels are too many")
    reason = not_a_radiograph(width, height)
    if reason:
        raise UnreadableImage(reason)
