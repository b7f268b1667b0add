"""Which program ran a cell: figures of different ones should not be taken for one measurement."""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files
from pathlib import Path

from diffvqa import __version__


@functools.lru_cache(maxsize=1)
def program_version() -> str:
    """The version of this package with a digest of its source, such as `0.1.0 (1f0c2a9b7e33)`."""
    package, digest = Path(str(files("diffvqa"))), hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name, content = path.relative_to(package).as_posix(), path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"{__version__} ({digest.hexdigest()[:12]})"
