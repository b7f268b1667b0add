"""Pictures that commands write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from diffvqa.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


def require_new_picture(argument: str, path: Path | None, *inputs: Path | None) -> None:
    """Raise InputError if a picture would not be a PNG file, or would replace a radiograph."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise InputError(
            f"expected a file name that ends in .png, found {path.suffix or 'no ending'!r}", argument=argument
        )
    from diffvqa.files import require_plain, writing_to

    with writing_to(argument, "the picture cannot be written there"):
        require_plain(path)
    # Path.exists raises an error that names the folder if the folder may not be entered.
    if os.path.exists(path) and any(one and os.path.exists(one) and path.samefile(one) for one in inputs):
        raise InputError("would overwrite one of the radiographs; give another file name", argument=argument)


def save_picture(picture: Image, argument: str, path: Path) -> None:
    """Write a picture. Raises InputError, which names the argument, if the system refuses."""
    from diffvqa.files import write_picture, writing_to

    with writing_to(argument, "the picture cannot be written there"):
        write_picture(path, picture)
