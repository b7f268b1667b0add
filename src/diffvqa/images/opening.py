"""An image file by its path or by its content, opened in one place."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

from diffvqa.images.shape import UnreadableImage

ImageFile = str | os.PathLike[str] | bytes
"""A file's path, or all of its content."""


def open_image(file: ImageFile) -> BinaryIO:
    """The content of a file that is there and not empty. Raises UnreadableImage, with the reason but not the path."""
    opened = io.BytesIO(file) if isinstance(file, bytes) else _open_path(Path(file))
    if not opened.read(1):
        opened.close()
        raise UnreadableImage("an empty file")
    opened.seek(0)
    return opened


def _open_path(path: Path) -> BinaryIO:
    if not path.is_file():
        raise UnreadableImage("a folder" if path.is_dir() else "no such file")
    try:
        return open(path, "rb")
    except OSError as error:
        raise UnreadableImage("the file cannot be opened") from error
