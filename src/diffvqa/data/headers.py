"""What the first and last bytes of an image file tell, without decoding it."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image as PillowImage

_ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND\xaeB\x60\x82"}
"""How a JPEG and a PNG file begin, and how they end."""

_TAIL = 64
"""Bytes at the end in which the end marker is looked for: some writers leave a few after it."""


def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height that the header of an image file states, or None if it has no header that can be read."""
    try:
        with PillowImage.open(path) as image:
            return image.size
    except Exception:  # Pillow's header readers raise many kinds on damaged files
        return None


def why_incomplete(path: Path) -> str | None:
    """Why a file is no whole JPEG or PNG, judged by how it begins and ends, or None if it seems to be one."""
    try:
        with open(path, "rb") as file:
            head = file.read(8)
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL))
            tail = file.read()
    except OSError:
        return "the file cannot be opened"
    for start, end in _ENDS.items():
        if head.startswith(start):
            return None if end in tail else "the file ends before its image does"
    return "neither a JPEG nor a PNG file"
