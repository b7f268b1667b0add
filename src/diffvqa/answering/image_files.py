"""The image files of a question by their names: current, prior, prior 2 and so on, each read once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

from diffvqa.errors import InputError
from diffvqa.images import ImageFile
from diffvqa.images.radiograph import Radiograph

Given = ImageFile | Radiograph
"""A radiograph as a file, by its path or its content, or read already."""


def name_files(current: Given, prior: Given | Sequence[Given] | None) -> dict[str, Given]:
    """The current file, and the prior or several of them, nearest first, by their names.

    Raises InputError, naming both arguments, where two are the same file.
    """
    priors = [prior] if isinstance(prior, str | bytes | os.PathLike | Radiograph) else list(prior or ())
    files = {"current": current}
    for number, one in enumerate(priors, start=1):
        files["prior" if number == 1 else f"prior {number}"] = one
    for (name, one), (other, another) in itertools.combinations(files.items(), 2):
        if _same_file(one, another):
            raise InputError(
                f"{{{name}}} and {{{other}}} are the same file; give different radiographs", mentions=(name, other)
            )
    return files


def _same_file(a: Given, b: Given) -> bool:
    if not (isinstance(a, str | os.PathLike) and isinstance(b, str | os.PathLike)):
        return False  # their pixels are compared later
    # Path.exists would raise for a folder that may not be entered, and name it.
    return os.path.exists(a) and os.path.exists(b) and os.path.samefile(a, b)
