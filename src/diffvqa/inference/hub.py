"""A model by its name: a folder, a model that comes with the package, or one of the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

import huggingface_hub

from diffvqa.errors import InputError
from diffvqa.sealed_folder import KINDS

NEEDED = tuple(f"*{kind}" for kind in KINDS)
"""Patterns of the files that are fetched of a model: text and weights, no pickles and no code."""

NOT_NEEDED = ("checkpoints/*", "encoder/*")

PHANTOM_SMALL = "phantom-small"
"""The model that comes with the package; it was trained on synthetic patients."""

_SHIPPED = Path(__file__).parents[1] / "shipped"
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def model_folder(source: str | os.PathLike[str]) -> Path:
    """The folder of a model: a local one, `phantom-small`, or else what the hub holds under the name `owner/name`.

    From the hub it is fetched once, into the library's cache. Raises InputError if there is neither.
    """
    name = os.fspath(source)
    if os.path.exists(name):
        return Path(name)
    if name == PHANTOM_SMALL:
        return _SHIPPED / name
    if not _HUB_NAME.fullmatch(name):
        raise InputError(
            f"there is no such folder; give that of a finished model, {PHANTOM_SMALL}, or a hub name (owner/name)",
            argument="model",
        )
    try:
        return Path(
            huggingface_hub.snapshot_download(name, allow_patterns=list(NEEDED), ignore_patterns=list(NOT_NEEDED))
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"{name!r} is no local folder, and cannot be fetched from the hub; "
            "check the name, the network and HF_HUB_OFFLINE, or give a folder",
            argument="model",
        ) from error
