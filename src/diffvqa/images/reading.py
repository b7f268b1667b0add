"""PNG, JPEG and DICOM files as grey pixels, or as squares of one size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from diffvqa.boxes import Frame
from diffvqa.images import dicom
from diffvqa.images.header import ELEMENTS, Header, header_of, orientation_in, require_suitable
from diffvqa.images.opening import ImageFile, open_image
from diffvqa.images.orientation import Orientation, require_upright
from diffvqa.images.png_jpeg import exif_orientation, not_decoded, to_grey
from diffvqa.images.shape import Seen, UnreadableImage, require_radiograph
from diffvqa.images.squares import GAP, inner_size, lay_into_square, letterbox

if TYPE_CHECKING:
    from pydicom import Dataset


def read_image(file: ImageFile) -> np.ndarray:
    """The grey pixels of a PNG, JPEG or DICOM file: uint8, shape (height, width), higher is brighter.

    They are those of the file as stored, which boxes refer to: an orientation in EXIF is not applied. Pixels of more
    than 8 bits are spread from the 0.1 to the 99.9 percentile, or through the window that a DICOM file states.
    Raises UnreadableImage, with the reason but not the path.
    """
    return read_picture(file)[0]


def read_picture(
    file: ImageFile, elements: Sequence[str] = ()
) -> tuple[np.ndarray, Header | None, Orientation, Dataset | None]:
    """The same grey pixels, how they become upright, and of a DICOM file its header and these further elements.

    The file is opened and parsed once. Raises UnreadableImage, with the reason but not the path.
    """
    with open_image(file) as opened:
        if dicom.is_dicom(opened, file):
            dataset = dicom.parse(opened, (*dicom.PICTURE, *ELEMENTS, *elements))
            taken = dicom.take_elements(dataset, elements)
            return _pixels(dataset, opened), header_of(dataset), orientation_in(dataset), taken
        with not_decoded(opened) as image:
            # The grey of a JPEG file in colour is one of its channels: no way round by red, green and blue.
            image.draft("L", None)
            return np.asarray(to_grey(image)), None, exif_orientation(image), None


def read_squares(file: ImageFile, sizes: Sequence[int]) -> tuple[Seen, list[np.ndarray]]:
    """The picture of a file, letterboxed into a square of each of `sizes`, and facts about it.

    The squares are uint8 (size, size) in the frames of `Frame.letterbox(width, height, size)`. A JPEG file is decoded
    only as large as the largest square needs. The squares differ from `letterbox(read_image(file), size)` by a fraction
    of a grey level. Raises UnreadableImage, with the reason and without the path. It also does so for a picture that is
    stored turned or mirrored, or is no frontal chest radiograph.
    """
    with open_image(file) as opened:
        if dicom.is_dicom(opened, file):
            dataset = dicom.parse(opened, (*dicom.PICTURE, *ELEMENTS))
            header = header_of(dataset)
            require_suitable(header, orientation_in(dataset))
            pixels = _pixels(dataset, opened)
            _require_shades(pixels.min(), pixels.max())
            height, width = pixels.shape
            return Seen(width, height, tuple(header.remarks())), [letterbox(pixels, size)[0] for size in sizes]
        with not_decoded(opened) as image:
            source = image.size
            width, height = inner_size(Frame.letterbox(*source, max(sizes)), source)
            drafted = image.draft("L", (math.ceil(GAP * width), math.ceil(GAP * height)))
            picture = to_grey(image)
            require_upright(exif_orientation(image))
            _require_shades(*picture.getextrema())
            box = drafted[1] if drafted else None
            return Seen(*source), [lay_into_square(picture, source, size, box)[0] for size in sizes]


def _require_shades(darkest: object, brightest: object) -> None:
    """Raises UnreadableImage for a picture of one grey."""
    if darkest == brightest:
        raise UnreadableImage("a picture of one grey alone; nothing is to be seen in it")


def _pixels(dataset: Dataset, opened: BinaryIO) -> np.ndarray:
    require_radiograph(*dicom.size_of(dataset))
    return dicom.pixels_of(dataset, opened)
