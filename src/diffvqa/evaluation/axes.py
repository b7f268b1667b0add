"""The frame of a small plot, drawn as SVG: two axes with round numbers, and what is laid into them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]
"""A value along the horizontal axis and one along the vertical axis."""

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40


@dataclass(frozen=True)
class Axes:
    """A frame of WIDTH x HEIGHT: the ranges (low, high) of both axes, and what the horizontal one shows."""

    across: Point
    up: Point
    name: str

    def x(self, value: float) -> float:
        """Where a value lies from the left, in units of the drawing."""
        low, high = self.across
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """Where a value lies from the top, in units of the drawing."""
        low, high = self.up
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    def line(self, kind: str, points: Sequence[Point]) -> str:
        """A line through the points, of a kind that the style sheet knows."""
        path = " ".join(f"{self.x(across):.1f},{self.y(up):.1f}" for across, up in points)
        return f'<polyline class="{kind}" points="{path}"/>' if points else ""

    def dots(self, kind: str, points: Sequence[Point], radius: float = 3) -> str:
        """A dot at each point."""
        return "".join(
            f'<circle class="{kind}" cx="{self.x(across):.1f}" cy="{self.y(up):.1f}" r="{radius:g}"/>'
            for across, up in points
        )

    def intervals(self, kind: str, spans: Sequence[tuple[float, float, float]]) -> str:
        """An upright line for each (place, low, high)."""
        return "".join(
            f'<line class="{kind}" x1="{self.x(place):.1f}" x2="{self.x(place):.1f}" '
            f'y1="{self.y(low):.1f}" y2="{self.y(high):.1f}"/>'
            for place, low, high in spans
        )

    def draw(self, description: str, *parts: str) -> str:
        """The SVG element: the grid, then the parts in their order."""
        grid = [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(tick):.1f}" y2="{self.y(tick):.1f}"/>'
            f'<text x="{LEFT - 7}" y="{self.y(tick) + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
            for tick in ticks(*self.up)
        ]
        grid += [
            f'<line class="grid" x1="{self.x(tick):.1f}" x2="{self.x(tick):.1f}" y1="{HEIGHT - BOTTOM}" '
            f'y2="{HEIGHT - BOTTOM + 5}"/>'
            f'<text x="{self.x(tick):.1f}" y="{HEIGHT - BOTTOM + 19}" text-anchor="middle">{tick:.7g}</text>'
            for tick in ticks(*self.across, 4)
        ]
        start = f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">'
        name = f'<text class="axis" x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" text-anchor="end">{escape(self.name)}</text>'
        return "".join([start, *grid, name, *parts, "</svg>"])


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from within [low, high], at most `most` + 1 of them."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
