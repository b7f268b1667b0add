"""Loss curves for the report: read from a file, thinned to be drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffvqa.errors import InputError
from diffvqa.evaluation.predictions import is_number, read_lines

Point = tuple[float, float]
"""A step and a loss, or whatever else a chart has along its two axes."""

MOST = 1e15
"""A step or a loss as large as this is no number."""

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
        if not isinstance(stage, str) or not is_number(step, MOST):
            raise InputError(f"curves.jsonl, line {number}: expected `stage` as a text and `step` as a number.")
        for points, value in zip(
            stages.setdefault(stage, ([], [])), (row.get("loss"), row.get("evaluation_loss")), strict=True
        ):
            if is_number(value, MOST):
                points.append((float(step), float(value)))
    return [Curve(stage, tuple(sorted(losses)), tuple(sorted(checks))) for stage, (losses, checks) in stages.items()]


def thin(points: Sequence[Point]) -> list[Point]:
    """The curve with at most MOST_POINTS points: a longer curve becomes means over equal stretches."""
    stretch = math.ceil(len(points) / MOST_POINTS)
    parts = [points[start : start + stretch] for start in range(0, len(points), max(stretch, 1))]
    return [(sum(step for step, _ in part) / len(part), sum(loss for _, loss in part) / len(part)) for part in parts]
