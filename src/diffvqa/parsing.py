"""Texts of files as values: whatever is wrong with a text is a ValueError."""

from __future__ import annotations

import json
from typing import Any

import yaml


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also for a text with too many levels."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it has too many levels") from error


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, without objects of Python. Raises ValueError, also for a text with too many levels."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    except RecursionError as error:
        raise ValueError("it has too many levels") from error
