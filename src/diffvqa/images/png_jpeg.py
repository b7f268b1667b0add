"""PNG and JPEG files: opened without being decoded, which way up they are, and their grey."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import ExifTags
from PIL import Image as PillowImage

from diffvqa.images.intensities import distinct, stretch, to_bytes
from diffvqa.images.orientation import UPRIGHT, Orientation, orientation_of_exif
from diffvqa.images.shape import UnreadableImage, require_radiograph

_PNG = b"\x89PNG\r\n\x1a\n"
_BITS, _COLOURS = 24, 25
"""The places in a PNG file of the bits of a value and of the kind of pixel."""

_RGB, _GREY_ALPHA, _RGB_ALPHA = 2, 4, 6


@contextmanager
def not_decoded(opened: BinaryIO) -> Iterator[PillowImage.Image]:
    """A PNG or JPEG file, not yet decoded; what goes wrong with it inside the block is an UnreadableImage."""
    try:
        with warnings.catch_warnings():
            # Pillow's own bomb check is replaced by MAXIMUM_PIXELS, a limit made for radiographs. Other warnings are of
            # damage that Pillow reads past, such as that of EXIF.
            warnings.simplefilter("ignore")
            colours = _colours_of_16_bits(opened)
            if colours in (_RGB, _RGB_ALPHA):
                raise UnreadableImage("a PNG file of colours of 16 bits; save it in grey")
            # Other formats have no radiographs, but readers of their own that run what the file says (EPS).
            with PillowImage.open(
                _as_8_bits(opened) if colours == _GREY_ALPHA else opened, formats=("PNG", "JPEG")
            ) as image:
                require_radiograph(*image.size)
                yield _of_16_bits(image) if colours == _GREY_ALPHA else image
    except UnreadableImage:
        raise
    except PillowImage.DecompressionBombError as error:
        raise UnreadableImage("too many pixels") from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise UnreadableImage("not a PNG or JPEG file that can be decoded to its end") from error


def _colours_of_16_bits(opened: BinaryIO) -> int | None:
    """The kind of pixels in a PNG file of 16 bits, or None for another file. The file is rewound."""
    head = opened.read(_COLOURS + 1)
    opened.seek(0)
    return head[_COLOURS] if head.startswith(_PNG) and head[_BITS : _BITS + 1] == b"\x10" else None


def _as_8_bits(opened: BinaryIO) -> BinaryIO:
    """A PNG file of grey and alpha, 16 bits each, as if its four bytes a pixel were four values.

    Pillow would keep the upper byte alone.
    """
    content = bytearray(opened.read())
    content[_BITS], content[_COLOURS] = 8, _RGB_ALPHA
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    return io.BytesIO(content)


def _of_16_bits(image: PillowImage.Image) -> PillowImage.Image:
    """The grey of a file that was opened so."""
    values = np.asarray(image).astype(np.uint16)
    grey = PillowImage.fromarray(values[..., 0] << 8 | values[..., 1])
    grey.info = image.info
    return grey


def exif_orientation(image: PillowImage.Image) -> Orientation:
    """The orientation of the picture of a file, from its EXIF; damaged EXIF is ignored."""
    try:
        # PNG files are left out: Pillow would decode the picture to find an EXIF behind it.
        return orientation_of_exif(PillowImage.Image.getexif(image).get(ExifTags.Base.Orientation))
    except Exception:  # Pillow's readers raise many kinds on damaged ones
        return UPRIGHT


def to_grey(image: PillowImage.Image) -> PillowImage.Image:
    """A picture of any mode as grey of 8 bits; one of more bits is spread over its range."""
    if image.mode == "L":
        image.load()
        return image
    if image.mode.startswith("I"):
        levels, counts, places = distinct(np.asarray(image))
        return PillowImage.fromarray(to_bytes(stretch(levels, counts))[places])
    # Transparency carries no anatomy in the datasets that hold it: the colours alone count.
    return image.convert("RGB").convert("L")
