"""Facts about an image file without decoding it: the size of its picture, and whether the file is complete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from PIL import Image as PillowImage

from diffvqa.images import dicom
from diffvqa.images.header import ELEMENTS, Header, header_of, orientation_in, require_suitable
from diffvqa.images.opening import open_image
from diffvqa.images.orientation import Orientation, require_upright
from diffvqa.images.png_jpeg import exif_orientation
from diffvqa.images.shape import Seen, UnreadableImage, not_a_radiograph

_ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND\xaeB\x60\x82"}
"""How a JPEG and a PNG file begin, and how they end."""

_TAIL = 64
"""Bytes at the end in which the end marker is looked for: some writers leave a few after it."""


NO_HEADER = "neither a JPEG, a PNG nor a DICOM file with a header that can be read"
"""The reason for a file in which `image_size` finds no size."""


def image_size(path: Path) -> tuple[int, int] | None:
    """Width and height that the header of an image file states, or None if it has no header that can be read."""
    found = size_and_header(path)
    return found[0] if found else None


def size_and_header(path: Path) -> tuple[tuple[int, int], Header | None] | None:
    """The same beside what the header says if the file is a DICOM file."""
    try:
        with open_image(path) as opened:
            if dicom.is_dicom(opened, path):
                dataset = dicom.parse(opened, (*dicom.SHAPE, *ELEMENTS), stop_before_pixels=True)
                return dicom.size_of(dataset), header_of(dataset)
            return _opened_by_pillow(opened)[0], None
    except UnreadableImage:
        return None


def seen_whole(path: Path) -> Seen:
    """Facts about the picture of a file that seems to be a whole file of an upright frontal radiograph.

    Judged by how it begins and ends, and by its header. Raises UnreadableImage with the reason, without the path.
    """
    with open_image(path) as opened:
        if dicom.is_dicom(opened, path):
            dataset = dicom.parse(opened, (*dicom.SHAPE, *ELEMENTS), stop_before_pixels=True)
            header = header_of(dataset)
            require_suitable(header, orientation_in(dataset))
            dicom.require_whole(dataset, opened)
            size, remarks = dicom.size_of(dataset), tuple(header.remarks())
        else:
            _require_end(opened)
            (size, orientation), remarks = _opened_by_pillow(opened), ()
            require_upright(orientation)
    if reason := not_a_radiograph(*size):
        raise UnreadableImage(reason)
    return Seen(*size, remarks)


def _opened_by_pillow(opened: BinaryIO) -> tuple[tuple[int, int], Orientation]:
    try:
        with PillowImage.open(opened, formats=("PNG", "JPEG")) as image:
            return image.size, exif_orientation(image)
    except Exception as error:  # Pillow's header readers raise many kinds on damaged files
        raise UnreadableImage(NO_HEADER) from error


def _require_end(opened: BinaryIO) -> None:
    """Raises UnreadableImage for a file that does not begin or not end as JPEG and PNG files do.

    The file stands at its beginning, before and after.
    """
    head = opened.read(8)
    opened.seek(0, os.SEEK_END)
    opened.seek(max(0, opened.tell() - _TAIL))
    tail = opened.read()
    opened.seek(0)
    ends = [end for start, end in _ENDS.items() if head.startswith(start)]
    if not ends:
        raise UnreadableImage("neither a JPEG, a PNG nor a DICOM file")
    if ends[0] not in tail:
        raise UnreadableImage("the file ends before its image does")
