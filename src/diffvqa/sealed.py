"""JSON files that say of themselves whether they are as they were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffvqa.files import write_text
from diffvqa.parsing import parse_json

SEAL = "sha256"
"""The key of the digest of all else in a file."""


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """An object with a digest of all else in it."""
    plain = {key: value for key, value in content.items() if key != SEAL}
    return {**plain, SEAL: _digest(plain)}


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with a digest of it, whole or not at all."""
    write_text(path, json.dumps(sealed(content), indent=1) + "\n")


def read_sealed(path: Path) -> dict[str, Any]:
    """The object that `write_sealed` wrote. One without a digest, of an older version, is taken as it is.

    Raises OSError where it cannot be read, and ValueError where it is damaged.
    """
    if path.is_fifo():
        raise ValueError("a pipe, of which nobody knows whether anything will come")
    found = parse_json(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("expected a JSON object")
    seal = found.pop(SEAL, None)
    if seal not in (None, _digest(found)):
        raise ValueError("the content is not that which was written")
    return found


def _digest(content: Mapping[str, Any]) -> str:
    # JSON gives lists for tuples, and texts for keys.
    content = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
