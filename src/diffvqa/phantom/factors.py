"""The factors of an acquisition, one at a time: the same patient taken again with one of them changed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from diffvqa.phantom.acquisition import REACH, Acquisition

STEP = 3 / 7
"""A step of a factor, as a share of its REACH. From the near side of the middle, two steps stay inside; three go to the
edge or just beyond."""

STRENGTHS = (1, 2, 3)
"""How many steps a factor is moved."""

MOVED = (
    "dose", "contrast", "scatter", "zoom", "shift", "rotation", "turn", "tilt", "inspiration", "clipping",
    "collimation",
)  # fmt: skip
"""The factors that move by steps; each is the field of an Acquisition of that name, the dose with the noise."""

NONE, VIEW, DEVICES = "none", "view", "devices"
"""Factors without steps: nothing but another exposure; PA for AP or the other way round; other devices."""

FACTORS = {VIEW: (1,), DEVICES: (1,), **dict.fromkeys(MOVED, STRENGTHS)}
"""Every factor with its strengths."""


def vary(acquisition: Acquisition, factor: str, strength: int) -> Acquisition:
    """The same but for one factor, moved by so many steps across its middle; NONE and DEVICES leave all as it is.

    The dose moves by its logarithm, and the noise against it by as many steps; both directions of a shift and both ends
    of the clipping move together. Collimation closes in from all four sides.
    """
    if factor in (NONE, DEVICES):
        return acquisition
    if factor == VIEW:
        return replace(acquisition, view="AP" if acquisition.view == "PA" else "PA")
    value = getattr(acquisition, factor)
    if factor == "dose":
        dose = round(math.exp(_move(factor, math.log(value), strength)), 5)
        return replace(acquisition, dose=dose, noise=_noise(acquisition.noise, dose < value, strength))
    moved: Any  # a number or several, as the field has it
    if isinstance(value, tuple):
        moved = tuple(_move(factor, one, strength) for one in value)
    else:
        moved = _move(factor, value, strength)
    return replace(acquisition, **{factor: moved})


def _noise(value: float, more: bool, strength: int) -> float:
    """Noise with steps more or less of it, held inside the reach where it began on that side of the middle."""
    middle, reach = REACH["noise"]
    moved = value + (1.0 if more else -1.0) * strength * STEP * reach
    edge = max(1.0, strength * STEP) * reach
    return round(min(max(moved, middle - edge), middle + edge), 5)


def _move(factor: str, value: float, strength: int) -> float:
    middle, reach = REACH[factor]
    towards = -1.0 if value > middle else 1.0
    moved = value + towards * strength * STEP * reach
    return round(max(moved, 0.0) if factor in ("scatter", "clipping") else moved, 5)
