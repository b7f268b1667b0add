"""Names of groups of pairs that differ in acquisition only: a factor and its strength, or a repeat."""

from __future__ import annotations

import math

REPEAT = "repeat"
"""The group of pairs of one study taken twice in the same way: strength 0 of whatever else its patient's pairs vary."""


def factor_and_strength(group: str) -> tuple[str, float] | None:
    """The two parts of a group called "FACTOR STRENGTH", such as "rotation 0.5"; None for another name."""
    factor, _, strength = group.rpartition(" ")
    try:
        value = float(strength)
    except ValueError:
        return None
    return (factor, value) if factor and math.isfinite(value) else None
