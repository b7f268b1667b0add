"""Loss curves for the report: read from a file, drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from diffvqa.errors import InputError
from diffvqa.evaluation.predictions import read_lines

Point = tuple[float, float]
"""A step and a loss."""

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40
MOST_POINTS = 240
"""More steps than this are drawn as means over equal stretches."""


@dataclass(frozen=True)
class Curve:
    """The losses of one stage of training, each a list of (step, loss) in order of steps."""

    stage: str
    loss: tuple[Point, ...]
    evaluation_loss: tuple[Point, ...]


def read_curves(folder: Path) -> list[Curve]:
    """The curves of an evaluation folder, from `curves.jsonl`, by stage in the file's order; none without that file.

    A loss that is not a finite number is left out. Raises InputError for a line without a stage or a step.
    """
    path = folder / "curves.jsonl"
    if not path.exists():
        return []
    stages: dict[str, tuple[list[Point], list[Point]]] = {}
    for number, row in read_lines(path):
        stage, step = row.get("stage"), row.get("step")
        if not isinstance(stage, str) or not _is_finite(step):
            raise InputError(f"curves.jsonl, line {number}: expected `stage` as a text and `step` as a number.")
        for points, value in zip(
            stages.setdefault(stage, ([], [])), (row.get("loss"), row.get("evaluation_loss")), strict=True
        ):
            if _is_finite(value):
                points.append((float(step), float(value)))
    return [Curve(stage, tuple(sorted(losses)), tuple(sorted(checks))) for stage, (losses, checks) in stages.items()]


def thin(points: Sequence[Point]) -> list[Point]:
    """At most MOST_POINTS points: means over equal stretches of a longer curve."""
    stretch = math.ceil(len(points) / MOST_POINTS)
    parts = [points[start : start + stretch] for start in range(0, len(points), max(stretch, 1))]
    return [(sum(step for step, _ in part) / len(part), sum(loss for _, loss in part) / len(part)) for part in parts]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from within [low, high], at most `most` + 1 of them."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def draw_curve(curve: Curve) -> str:
    """One stage as an SVG element: training loss as a line, evaluation loss as a dashed line with dots."""
    loss, checks = thin(curve.loss), thin(curve.evaluation_loss)
    points = [*loss, *checks]
    if not points:
        return ""
    steps, losses = zip(*points, strict=True)
    first, last = min(steps), max(max(steps), min(steps) + 1)
    low, high = min(losses), max(losses)
    margin = 0.05 * (high - low) or 0.5
    low, high = low - margin, high + margin

    def across(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / (last - first)

    def down(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    def line(kind: str, values: Sequence[Point]) -> str:
        path = " ".join(f"{across(step):.1f},{down(value):.1f}" for step, value in values)
        return f'<polyline class="{kind}" points="{path}"/>' if values else ""

    parts = [
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_describe(curve))}">',
        *(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down(tick):.1f}" y2="{down(tick):.1f}"/>'
            f'<text x="{LEFT - 7}" y="{down(tick) + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
            for tick in ticks(low, high)
        ),
        *(
            f'<line class="grid" x1="{across(tick):.1f}" x2="{across(tick):.1f}" y1="{HEIGHT - BOTTOM}" '
            f'y2="{HEIGHT - BOTTOM + 5}"/>'
            f'<text x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 19}" text-anchor="middle">{tick:.7g}</text>'
            for tick in ticks(first, last, 4)
        ),
        f'<text class="axis" x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" text-anchor="end">step</text>',
        line("training", loss),
        line("evaluation", checks),
        *(
            f'<circle class="evaluation" cx="{across(step):.1f}" cy="{down(value):.1f}" r="3"/>'
            for step, value in checks
        ),
        "</svg>",
    ]
    return "".join(parts)


def _describe(curve: Curve) -> str:
    losses = (("loss", curve.loss), ("evaluation loss", curve.evaluation_loss))
    ends = [f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for name, points in losses if points]
    return f"{curve.stage}: {', '.join(ends)}"


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
