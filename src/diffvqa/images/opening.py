"""An image file by its path or by its content, opened in one place."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from diffvqa.images.shape import UnreadableImage

ImageFile = str | os.PathLike[str] | bytes
"""A file's path, or all of its content."""


def open_image(file: ImageFile) -> BinaryIO:
    """The content of a file that is there and not empty. Raises UnreadableImage, with the reason but not the path."""
    opened = io.BytesIO(file) if isinstance(file, bytes) else _open_path(file)
    try:
        empty = not opened.read(1)
        opened.seek(0)
    except OSError as error:
        opened.close()
        raise UnreadableImage("the file cannot be read") from error
    if empty:
        opened.close()
        raise UnreadableImage("an empty file")
    return opened


def _open_path(path: str | os.PathLike[str]) -> BinaryIO:
    # Not Path.is_file, which raises where a folder may not be entered, and names it.
    if not os.path.isfile(path):
        raise UnreadableImage("a folder" if os.path.isdir(path) else "no such file")
    try:
        return open(path, "rb")
    except OSError as error:
        raise UnreadableImage("the file cannot be opened") from error
