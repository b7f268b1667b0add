"""A radiograph of a file: its pixels as stored, and what its header says."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diffvqa.boxes import Box, Frame, clip
from diffvqa.errors import InputError
from diffvqa.images import ImageFile, UnreadableImage
from diffvqa.images.header import Header
from diffvqa.images.orientation import UPRIGHT, Orientation
from diffvqa.images.reading import read_picture
from diffvqa.images.views import LATERAL

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """Width and height of a file's picture in pixels, and how it becomes upright."""

    width: int
    height: int
    orientation: Orientation

    def upright(self, box: Box) -> Box:
        """A box in pixels of the file, in pixels of the upright picture."""
        return self.orientation.into(box, self.width, self.height)

    def out_of_square(self, box: Box, size: int) -> Box | None:
        """A box in pixels of a model's square, in pixels of the file; None if nothing of it lies in the picture."""
        width, height = (self.height, self.width) if self.orientation.transposed else (self.width, self.height)
        inside = clip(Frame.letterbox(width, height, size).out_of(box), width, height)
        return None if inside is None else self.orientation.out_of(inside, width, height)


@dataclass(frozen=True, slots=True)
class Radiograph:
    """Grey pixels of a file as stored, uint8 (height, width), and its DICOM header if it has one.

    orientation: how they become upright, by that header or by EXIF.
    elements: of the DICOM file, those that were asked for beside; they may be the patient's, and are not shown.
    """

    stored: np.ndarray
    header: Header | None = None
    orientation: Orientation = UPRIGHT
    elements: Dataset | None = field(default=None, repr=False)

    @classmethod
    def from_file(cls, file: ImageFile, elements: Sequence[str] = ()) -> Radiograph:
        """The radiograph in a PNG, JPEG or DICOM file, by its path or its content, which is opened and parsed once.

        elements: names of further elements that are kept of a DICOM file. Raises UnreadableImage, with the reason but
        not the path.
        """
        return cls(*read_picture(file, elements))

    @property
    def frame(self) -> StoredFrame:
        """The frame of the stored pixels."""
        height, width = self.stored.shape
        return StoredFrame(width, height, self.orientation)

    @property
    def upright(self) -> np.ndarray:
        """The pixels with the head above and the patient's left on the right: uint8."""
        return self.orientation.upright(self.stored)

    @property
    def has_sides(self) -> bool:
        """Whether the patient's right is at the left edge of the upright picture; of a lateral view it is not."""
        return self.header is None or self.header.view != LATERAL

    @property
    def digest(self) -> bytes:
        """The same for the same picture only."""
        return hashlib.sha256(repr(self.stored.shape).encode() + self.stored.tobytes()).digest()


def read_radiograph(
    file: ImageFile | Radiograph, argument: str | None = None, elements: Sequence[str] = ()
) -> Radiograph:
    """The radiograph in a file, as `Radiograph.from_file` has it; one that is read already as it is.

    Raises InputError, naming the argument and not the path.
    """
    if isinstance(file, Radiograph):
        return file
    try:
        return Radiograph.from_file(file, elements)
    except UnreadableImage as error:
        raise InputError(
            f"expected a PNG, JPEG or DICOM radiograph, found {error}; give another file", argument=argument
        ) from error
