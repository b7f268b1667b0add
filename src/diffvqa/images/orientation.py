"""Pictures that were stored turned or mirrored, brought upright; and boxes brought back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffvqa.boxes import Box
from diffvqa.images.shape import UnreadableImage


@dataclass(frozen=True, slots=True)
class Orientation:
    """The steps that turn a stored picture upright: exchange rows and columns, then mirror along x, along y."""

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    def upright(self, stored: np.ndarray) -> np.ndarray:
        """The picture with the head above and the patient's left on the right. stored: (height, width)."""
        turned = stored.T if self.transposed else stored
        turned = turned[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1]
        return np.ascontiguousarray(turned)

    def into(self, box: Box, width: int, height: int) -> Box:
        """A box in pixels of the stored picture, which has that width and height, in pixels of the upright one."""
        x1, y1, x2, y2 = box.as_tuple()
        if self.transposed:
            x1, y1, x2, y2, width, height = y1, x1, y2, x2, height, width
        if self.mirrored_x:
            x1, x2 = width - x2, width - x1
        if self.mirrored_y:
            y1, y2 = height - y2, height - y1
        return Box(x1, y1, x2, y2)

    def out_of(self, box: Box, width: int, height: int) -> Box:
        """A box in pixels of the upright picture, which has that width and height, in pixels of the stored one."""
        x1, y1, x2, y2 = box.as_tuple()
        if self.mirrored_x:
            x1, x2 = width - x2, width - x1
        if self.mirrored_y:
            y1, y2 = height - y2, height - y1
        return Box(y1, x1, y2, x2) if self.transposed else Box(x1, y1, x2, y2)


UPRIGHT = Orientation()
"""The orientation of a picture that is stored upright."""


def orientation_of(directions: Sequence[str]) -> Orientation:
    r"""The orientation from the directions of rows and columns in the patient (PatientOrientation in DICOM).

    L\F, to the left and to the feet, is upright. Directions are ambiguous, and count as upright, unless one is left or
    right only and the other head or feet only.
    """
    if len(directions) != 2:
        return UPRIGHT
    row, column = directions
    transposed = row in ("H", "F")
    if transposed:
        row, column = column, row
    if row not in ("L", "R") or column not in ("H", "F"):
        return UPRIGHT
    return Orientation(transposed, row == "R", column == "H")


_EXIF = {
    2: Orientation(mirrored_x=True),
    3: Orientation(mirrored_x=True, mirrored_y=True),
    4: Orientation(mirrored_y=True),
    5: Orientation(transposed=True),
    6: Orientation(transposed=True, mirrored_x=True),
    7: Orientation(transposed=True, mirrored_x=True, mirrored_y=True),
    8: Orientation(transposed=True, mirrored_y=True),
}


def orientation_of_exif(value: object) -> Orientation:
    """The orientation from the number in EXIF (tag 0x0112). Any number but 2 to 8 counts as upright."""
    return _EXIF.get(value, UPRIGHT) if isinstance(value, int) else UPRIGHT


def require_upright(orientation: Orientation) -> None:
    """Raises UnreadableImage for a picture that is stored turned or mirrored.

    Boxes of a dataset may be in pixels of either picture, and left and right in reports are the patient's.
    """
    if orientation != UPRIGHT:
        raise UnreadableImage("stored turned or mirrored (PatientOrientation or EXIF): save it upright")
