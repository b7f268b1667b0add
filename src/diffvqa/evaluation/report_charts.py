"""The report's charts: a score of all systems, losses by step, false changes by strength, accuracy by confidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diffvqa.evaluation.curves import Curve, Point, thin
from diffvqa.evaluation.drawing import draw
from diffvqa.evaluation.groups import factor_and_strength
from diffvqa.evaluation.names import system_name, value_and_interval
from diffvqa.evaluation.page import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGES = {"pretrain": "Pretraining", "finetune": "Finetuning"}
MODEL, OTHER, LINE = "#0b62a4", "#7b858d", "#dcdfe0"
"""The colours of page.css by day; by night it turns whole drawings to their opposite in light."""

Response = tuple[float, Mapping[str, float]]
"""A strength, and the false-change rate at it with its interval."""


def draw_scores(title: str, meaning: str, scores: Mapping[str, Mapping[str, float]]) -> Chart:
    """A score of all systems that have it, by the key of the system: a dot on its interval, from 0 to 1."""

    def paint(axes: Axes) -> None:
        for place, (system, score) in enumerate(scores.items()):
            colour, weight = (MODEL, "bold") if system == "model" else (OTHER, "normal")
            axes.hlines(place, score["low"], score["high"], color=colour, linewidth=4, alpha=0.4)
            axes.plot(score["value"], place, "o", color=colour, clip_on=False)
            axes.text(1.04, place, f"{score['value']:.3f}", verticalalignment="center", fontweight=weight)
        axes.set(xlim=(0, 1), ylim=(len(scores) - 0.5, -0.5), xticks=(0, 1))
        axes.set_yticks(range(len(scores)), [system_name(system) for system in scores])
        axes.tick_params(left=False)
        axes.spines["left"].set_visible(False)

    parts = [f"{system_name(system)} {' ('.join(value_and_interval(score))})" for system, score in scores.items()]
    return _chart(paint, f"{title}: {', '.join(parts)}", title, meaning, (3, 0.4 + 0.24 * len(scores)))


def draw_curve(curve: Curve) -> Chart | None:
    """The losses of one stage by step, a long curve as means over equal stretches; None for a stage without any."""
    if not curve.loss and not curve.evaluation_loss:
        return None

    def paint(axes: Axes) -> None:
        _line(axes, thin(curve.loss), color=OTHER, label="training loss")
        _line(
            axes,
            thin(curve.evaluation_loss),
            color=MODEL,
            linestyle="--",
            marker="o",
            label="loss on the validation split",
        )
        axes.legend(frameon=False)
        axes.set(xlabel="step")

    losses = (("loss", curve.loss), ("evaluation loss", curve.evaluation_loss))
    ends = [f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for name, points in losses if points]
    return _chart(paint, f"{curve.stage}: {', '.join(ends)}", STAGES.get(curve.stage, curve.stage))


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


def draw_response(factor: str, rates: Sequence[Response], top: float) -> Chart:
    """The false-change rates of one factor; top: the upper end of the axis, for all factors alike."""

    def paint(axes: Axes) -> None:
        _with_intervals(axes, rates)
        axes.set(xlabel="strength", xticks=[strength for strength, _ in rates], ylim=(0, top))

    said = ", ".join(f"{rate['value']:.2f} at {strength:g}" for strength, rate in rates)
    return _chart(paint, f"{factor}: false-change rate {said}", factor)


def draw_reliability(bins: Sequence[Mapping]) -> Chart:
    """Accuracy against mean confidence of each bin, the diagonal of a calibrated model behind."""
    most = max(one["n"] for one in bins)
    points = [(one["confidence"]["value"], one["accuracy"]) for one in bins]

    def paint(axes: Axes) -> None:
        places, shares = [one["low"] for one in bins], [0.25 * one["n"] / most for one in bins]
        axes.bar(places, shares, width=0.095, align="edge", color=LINE)
        _line(axes, [(0, 0), (1, 1)], color=OTHER, linestyle="--")
        _with_intervals(axes, points)
        axes.set(xlabel="confidence", xlim=(0, 1), ylim=(0, 1))

    said = ", ".join(f"{accuracy['value']:.2f} at {confidence:.2f}" for confidence, accuracy in points)
    about = (
        "Accuracy in ten bins of confidence, with 95 % intervals. A calibrated confidence lies on the dashed diagonal; "
        "grey bars show how many answers a bin has."
    )
    return _chart(paint, f"Accuracy against confidence: {said}", "Reliability", about)


def _chart(
    paint: Callable[[Axes], None],
    description: str,
    title: str,
    caption: str = "",
    inches: tuple[float, float] = (4.4, 2.6),
) -> Chart:
    """A small chart of one panel, with a grid."""

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        axes.grid(axis="y", color=LINE)
        axes.set_axisbelow(True)
        paint(axes)

    return Chart(draw(fill, *inches), description, title, caption)


def _line(axes: Axes, points: Iterable[Point], **style: Any) -> None:
    if places := list(points):
        axes.plot(*zip(*places, strict=True), **style, linewidth=1.2, markersize=4)


def _with_intervals(axes: Axes, points: Sequence[Response]) -> None:
    """A line through scores, with a broad bar for the interval of each."""
    _line(axes, [(place, score["value"]) for place, score in points], color=MODEL, marker="o")
    places, scores = zip(*points, strict=True)
    lows, highs = ([score[end] for score in scores] for end in ("low", "high"))
    axes.vlines(places, lows, highs, color=MODEL, linewidth=4, alpha=0.3)
