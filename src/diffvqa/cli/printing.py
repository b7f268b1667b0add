"""Output that several commands print."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TextIO


def say(message: str, file: TextIO | None = None) -> None:
    """Print once, also if several processes train together."""
    if os.environ.get("RANK", "0") == "0":
        print(message, file=file)


def print_result(result: dict, table: Callable[[dict], Any], as_json: bool = False) -> None:
    """Print the result as one JSON object or as a table."""
    from rich.console import Console

    if as_json:
        print(json.dumps(result, indent=2, allow_nan=False))
    else:
        Console().print(table(result))


def counts_in_words(counts: dict[str, int]) -> str:
    """Counts as `name count, name count`."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())
