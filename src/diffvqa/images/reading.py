"""PNG, JPEG and DICOM files as grey pixels, or as squares of one size."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image as PillowImage

from diffvqa.boxes import Frame
from diffvqa.images import dicom
from diffvqa.images.header import ELEMENTS, Header, header_of
from diffvqa.images.intensities import distinct, stretch, to_bytes
from diffvqa.images.opening import ImageFile, open_image
from diffvqa.images.orientation import require_upright
from diffvqa.images.shape import UnreadableImage, require_radiograph
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


def read_picture(file: ImageFile, elements: Sequence[str] = ()) -> tuple[np.ndarray, Header | None, Dataset | None]:
    """The same grey pixels, and of a DICOM file its header and these further elements, by their names.

    The file is opened and parsed once. Raises UnreadableImage, with the reason but not the path.
    """
    with open_image(file) as opened:
        if dicom.is_dicom(opened, file):
            dataset = dicom.parse(opened, (*dicom.PICTURE, *ELEMENTS, *elements))
            return _pixels(dataset, opened), header_of(dataset), dicom.take_elements(dataset, elements)
        with _not_decoded(opened) as image:
            # The grey of a JPEG file in colour is one of its channels: no way round by red, green and blue.
            image.draft("L", None)
            return np.asarray(_to_grey(image)), None, None


def read_squares(file: ImageFile, sizes: Sequence[int]) -> tuple[tuple[int, int], list[np.ndarray]]:
    """Width and height of a file's picture in pixels, and the picture letterboxed into a square of each of `sizes`.

    The squares are uint8 (size, size) in the frames of `Frame.letterbox(width, height, size)`. A JPEG file is decoded
    only as large as the largest of them needs, so that they differ from `letterbox(read_image(file), size)` by a
    fraction of a grey level. Raises UnreadableImage, with the reason but not the path, also for a DICOM file that says
    that its picture is stored turned or mirrored.
    """
    with open_image(file) as opened:
        if dicom.is_dicom(opened, file):
            dataset = dicom.parse(opened, (*dicom.PICTURE, *ELEMENTS))
            require_upright(header_of(dataset).orientation)
            pixels = _pixels(dataset, opened)
            return pixels.shape[::-1], [letterbox(pixels, size)[0] for size in sizes]
        with _not_decoded(opened) as image:
            source = image.size
            width, height = inner_size(Frame.letterbox(*source, max(sizes)), source)
            drafted = image.draft("L", (math.ceil(GAP * width), math.ceil(GAP * height)))
            picture = _to_grey(image)
            box = drafted[1] if drafted else None
            return source, [lay_into_square(picture, source, size, box)[0] for size in sizes]


def _pixels(dataset: Dataset, opened: BinaryIO) -> np.ndarray:
    require_radiograph(*dicom.size_of(dataset))
    return dicom.pixels_of(dataset, opened)


@contextmanager
def _not_decoded(opened: BinaryIO) -> Iterator[PillowImage.Image]:
    """A PNG or JPEG file, not yet decoded; what goes wrong with it inside the block is an UnreadableImage."""
    try:
        with warnings.catch_warnings():
            # Pillow's own bomb check is replaced by MAXIMUM_PIXELS, a limit made for radiographs.
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            # Other formats have no radiographs, but readers of their own that run what the file says (EPS).
            with PillowImage.open(opened, formats=("PNG", "JPEG")) as image:
                require_radiograph(*image.size)
                yield image
    except UnreadableImage:
        raise
    except PillowImage.DecompressionBombError as error:
        raise UnreadableImage("too many pixels") from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise UnreadableImage("not a PNG or JPEG file that can be decoded to its end") from error


def _to_grey(image: PillowImage.Image) -> PillowImage.Image:
    if image.mode == "L":
        image.load()
        return image
    if image.mode.startswith("I"):
        levels, counts, places = distinct(np.asarray(image))
        return PillowImage.fromarray(to_bytes(stretch(levels, counts))[places])
    # Transparency carries no anatomy in the datasets that hold it: the colours alone count.
    return image.convert("RGB").convert("L")
