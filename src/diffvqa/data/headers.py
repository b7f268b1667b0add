"""What the header and the end of an image file tell, without decoding it."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image as PillowImage

from diffvqa.images import UnreadableImage, dicom, not_a_radiograph
from diffvqa.images.header import read_header
from diffvqa.images.orientation import UPRIGHT

_ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND\xaeB\x60\x82"}
"""How a JPEG and a PNG file begin, and how they end."""

_TAIL = 64
"""Bytes at the end in which the end marker is looked for: some writers leave a few after it."""


NO_HEADER = "neither a JPEG, a PNG nor a DICOM file with a header that can be read"
"""What is said of a file of which `image_size` finds none."""


def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height that the header of an image file states, or None if it has no header that can be read."""
    try:
        if dicom.is_dicom(path):
            return dicom.read_size(path)
        with PillowImage.open(path, formats=("PNG", "JPEG")) as image:
            return image.size
    except UnreadableImage:
        return None
    except Exception:  # Pillow's header readers raise many kinds on damaged files
        return None


def whole_size(path: Path) -> tuple[int, int]:
    """Width and height of a file that seems to be a whole JPEG, PNG or DICOM file of a radiograph's shape.

    Judged by how it begins and ends, and by its header. Raises UnreadableImage with the reason, without the path.
    """
    reason = dicom.why_incomplete(path) if dicom.is_dicom(path) else _why_cut(path)
    size = None if reason else image_size(path)
    if size is None:
        raise UnreadableImage(reason or NO_HEADER)
    if reason := not_a_radiograph(*size):
        raise UnreadableImage(reason)
    return size


def require_upright(path: Path) -> None:
    """Raises UnreadableImage for a DICOM file that says that its picture is stored turned or mirrored.

    Boxes of a dataset may be in pixels of either picture, and left and right in reports are the patient's.
    """
    header = read_header(path)
    if header is not None and header.orientation != UPRIGHT:
        raise UnreadableImage("stored turned or mirrored (PatientOrientation): save it upright")


def _why_cut(path: Path) -> str | None:
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
    return "neither a JPEG, a PNG nor a DICOM file"
