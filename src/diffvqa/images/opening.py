"""An image file by its path or by its content, opened in one place."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from diffvqa.images.shape import UnreadableImage

ImageFile = str | os.PathLike[str] | bytes
"""A file's path, or all of its content."""


@contextmanager
def open_image(file: ImageFile) -> Iterator[BinaryIO]:
    """The content of a file that is there and not empty.

    Raises UnreadableImage, with the reason but not the path, also where reading fails inside the block.
    """
    content: BinaryIO = io.BytesIO(file) if isinstance(file, bytes) else _open_path(file)
    with content as opened:
        try:
            if not opened.read(1):
                raise UnreadableImage("an empty file")
            opened.seek(0)
            yield opened
        except OSError as error:
            raise UnreadableImage("the file cannot be read") from error


def _open_path(path: str | os.PathLike[str]) -> BinaryIO:
    # Path.is_file would raise for a folder that may not be entered, and name it.
    if not os.path.isfile(path):
        raise UnreadableImage("a folder" if os.path.isdir(path) else "no such file")
    try:
        return open(path, "rb")
    except OSError as error:
        raise UnreadableImage("the file cannot be opened") from error
