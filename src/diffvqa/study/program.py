"""Which program ran a cell: figures of different ones should not be taken for one measurement."""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable

from diffvqa import __version__


@functools.lru_cache(maxsize=1)
def program_version() -> str:
    """The version of this package with a digest of its source, such as `0.1.0 (1f0c2a9b7e33)`."""
    digest = hashlib.sha256()
    for name, content in _sources(files("diffvqa"), ""):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"{__version__} ({digest.hexdigest()[:12]})"


def _sources(folder: Traversable, path: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            found += _sources(entry, name)
        elif name.endswith(".py"):
            found.append((name, entry.read_bytes()))
    return found
