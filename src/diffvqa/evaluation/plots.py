"""Plots of scores for the report: false changes against the strength of a factor, accuracy against confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diffvqa.evaluation.axes import Axes
from diffvqa.evaluation.groups import factor_and_strength

Response = tuple[float, Mapping[str, float]]
"""A strength, and the false-change rate at it with its interval."""


def responses(groups: Mapping[str, Mapping]) -> dict[str, list[Response]]:
    """Factor -> false-change rates by strength, from the scores of groups called "FACTOR STRENGTH".

    A group in which every pair has changed has no such rate; a factor whose only strength is 0 has no curve.
    """
    found: dict[str, dict[float, Mapping[str, float]]] = {}
    for group, scores in groups.items():
        parts, rate = factor_and_strength(group), scores["false_change_rate"]
        if parts is not None and rate is not None:
            found.setdefault(parts[0], {})[parts[1]] = rate
    return {factor: sorted(rates.items()) for factor, rates in found.items() if rates.keys() != {0.0}}


def draw_response(factor: str, rates: Sequence[Response], top: float) -> str:
    """The false-change rates of one factor as an SVG element; top: the upper end of the axis, for all factors alike."""
    strengths = [strength for strength, _ in rates]
    first, last = min(0.0, *strengths), max(0.0, *strengths)
    axes = Axes((first, last if last > first else first + 1), (0.0, top), "strength")
    points = [(strength, rate["value"]) for strength, rate in rates]
    said = ", ".join(f"{value:.2f} at {strength:g}" for strength, value in points)
    return axes.draw(
        f"{factor}: false-change rate {said}",
        axes.intervals("interval", [(strength, rate["low"], rate["high"]) for strength, rate in rates]),
        axes.line("response", points),
        axes.dots("evaluation", points, 4),
    )


def highest(rates: Sequence[Response]) -> float:
    """The highest end of an interval."""
    return max(rate["high"] for _, rate in rates)


def draw_reliability(bins: Sequence[Mapping]) -> str:
    """Accuracy against mean confidence of each bin as an SVG element, the diagonal of a calibrated model behind."""
    axes = Axes((0.0, 1.0), (0.0, 1.0), "confidence")
    most = max(one["n"] for one in bins)
    shares = "".join(
        f'<rect class="count" x="{axes.x(one["low"]) + 1:.1f}" width="{axes.x(0.1) - axes.x(0) - 2:.1f}" '
        f'y="{axes.y(0.25 * one["n"] / most):.1f}" height="{axes.y(0) - axes.y(0.25 * one["n"] / most):.1f}"/>'
        for one in bins
    )
    points = [(one["confidence"]["value"], one["accuracy"]["value"]) for one in bins]
    spans = [(one["confidence"]["value"], one["accuracy"]["low"], one["accuracy"]["high"]) for one in bins]
    said = ", ".join(f"{accuracy:.2f} at {confidence:.2f}" for confidence, accuracy in points)
    return axes.draw(
        f"Accuracy against confidence: {said}",
        shares,
        axes.line("diagonal", [(0, 0), (1, 1)]),
        axes.intervals("interval", spans),
        axes.line("response", points),
        axes.dots("evaluation", points, 4),
    )
