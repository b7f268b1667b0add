"""A study's figures: recall against false changes, by factor, by step, and scores against images seen and time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from diffvqa.evaluation.drawing import draw
from diffvqa.evaluation.groups import factor_and_strength
from diffvqa.evaluation.names import find_score
from diffvqa.study.study_config import MAIN
from diffvqa.study.systems import F1, FALSE_CHANGES, RECALL, Mean, System, learning_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = {
    "recall": "Recall of changes against the false-change rate",
    "factors": "False-change rate against the strength of each factor of the acquisition",
    "steps": "Recall of what came or went by steps of severity",
    "images": "Change F1 against the images seen in stage 1",
    "time": "Change F1 against the seconds of stage 1",
}
"""Titles of an evaluation's figures, by the end of their names, in the order of the page."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F", "#882255", "#117733")
"""Told apart by the colour-blind too (Okabe and Ito, and two of Tol's); markers differ as well."""

MARKERS = "osD^vP*Xh<"
ACROSS = 4  # small panels side by side

Style = dict[str, Any]
Paint = Callable[["Axes"], None]


def draw_figures(systems: Sequence[System], evaluations: Sequence[str]) -> dict[str, str]:
    """Name -> SVG, of each evaluation what it has scores for; names begin with the evaluation's."""
    figures: dict[str, str] = {}
    # Seconds on other devices, or other numbers of cores, are no measure of one another.
    alike = len({(cell["device"], cell["threads"]) for system in systems for cell in system.cells}) == 1
    for evaluation in evaluations:
        drawn = {
            "recall": _recall_against_false_changes(systems, evaluation),
            "factors": _false_changes_by_factor(systems, evaluation),
            "steps": _recall_by_step(systems, evaluation),
            "images": _learning_curves(systems, evaluation, lambda one: one.images_seen, "images seen"),
            "time": _learning_curves(systems, evaluation, lambda one: one.seconds, "seconds of stage 1")
            if alike
            else None,
        }
        figures |= {f"{evaluation}-{name}": drawing for name, drawing in drawn.items() if drawing}
    return figures


def _recall_against_false_changes(systems: Sequence[System], evaluation: str) -> str | None:
    """A dot a seed, and a larger one for their mean."""
    found = []
    for system, style in zip(systems, _styles(), strict=False):
        seeds = [_point(System("", {}, [cell]), evaluation) for cell in system.cells]
        if mean := _point(system, evaluation):
            found.append((system.name, style, mean, [one for one in seeds if one]))
    if not found:
        return None

    def paint(axes: Axes) -> None:
        for name, style, mean, seeds in found:
            if len(seeds) > 1:
                rates, recalls = zip(*seeds, strict=True)
                axes.scatter(rates, recalls, s=14, alpha=0.5, linewidths=0, **style)
            axes.scatter(*mean, s=60, label=name, **style)
        axes.set(xlabel="false-change rate (lower is better)", ylabel="recall of changes")

    return _draw([paint], [evaluation])


def _point(system: System, evaluation: str) -> tuple[float, float] | None:
    false, recall = system.mean(evaluation, FALSE_CHANGES), system.mean(evaluation, RECALL)
    return (false.value, recall.value) if false and recall else None


def _false_changes_by_factor(systems: Sequence[System], evaluation: str) -> str | None:
    """A panel a factor: the false-change rate against its strength; the legend has the recall on the test split."""
    groups = _names(systems, evaluation, "groups")
    strengths: dict[str, list[float]] = {}
    for group in groups:
        if parts := factor_and_strength(group):
            strengths.setdefault(parts[0], []).append(parts[1])
    if not strengths:
        return None

    def panel(factor: str) -> Paint:
        def paint(axes: Axes) -> None:
            for system, style in zip(systems, _styles(), strict=False):
                points = [
                    (strength, system.mean(evaluation, f"groups/{factor} {strength:g}/false_change_rate"))
                    for strength in sorted(strengths[factor])
                ]
                _line(axes, points, _with_recall(system), style)
            axes.set(ylim=(0, 1), xticks=sorted(strengths[factor]))

        return paint

    return _draw([panel(factor) for factor in strengths], list(strengths), "strength", "false-change rate")


def _recall_by_step(systems: Sequence[System], evaluation: str) -> str | None:
    """Recall by step of severity, of findings that appeared or vanished; a change of level is another task."""
    steps = [one for one in _names(systems, evaluation, "steps") if one.isdecimal()]
    if len(steps) < 2:
        return None

    def paint(axes: Axes) -> None:
        for system, style in zip(systems, _styles(), strict=False):
            points = [(int(step), system.mean(evaluation, f"steps/{step}/recall")) for step in steps]
            _line(axes, points, system.name, style)
        axes.set(
            xlabel="steps of severity",
            ylabel="recall of what came or went",
            ylim=(0, None),
            xticks=[int(one) for one in steps],
        )

    return _draw([paint], [evaluation])


def _learning_curves(
    systems: Sequence[System], evaluation: str, place: Callable[[System], float | None], title: str
) -> str | None:
    """Change F1 against how long stage 1 was; none where no two systems of which that is known differ by it alone."""
    curves = learning_curves([one for one in systems if one.mean(evaluation, F1) and place(one) is not None])
    if all(len(curve) == 1 for curve in curves.values()):
        return None

    def paint(axes: Axes) -> None:
        for (name, curve), style in zip(curves.items(), _styles(), strict=False):
            points = sorted((place(one) or 0, number, one) for number, one in enumerate(curve))
            _line(axes, [(where, one.mean(evaluation, F1)) for where, _, one in points], name, style)
        axes.set(xlabel=title, ylabel="change F1", ylim=(0, None))

    return _draw([paint], [evaluation])


def _names(systems: Sequence[System], evaluation: str, part: str) -> list[str]:
    """The groups, or steps, that an evaluation of any cell has scores of."""
    cells = [cell["evaluations"] for system in systems for cell in system.cells]
    parts = [find_score(evaluations, (evaluation, "model", part)) for evaluations in cells]
    return list(dict.fromkeys(name for found in parts for name in found or ()))


def _with_recall(system: System) -> str:
    recall = system.mean(MAIN, RECALL)
    return f"{system.name} (recall {recall.value:.2f})" if recall else system.name


def _line(axes: Axes, points: Sequence[tuple[float, Mean | None]], name: str, style: Style) -> None:
    """A line through means, with bars of their intervals over patients."""
    known = [(x, mean) for x, mean in points if mean]
    if known:
        bars = [[mean.value - mean.low for _, mean in known], [mean.high - mean.value for _, mean in known]]
        places, values = [x for x, _ in known], [mean.value for _, mean in known]
        axes.errorbar(places, values, bars, label=name, markersize=5, linewidth=1.2, elinewidth=0.6, **style)


def _styles() -> Iterator[Style]:
    """Colour and marker of one line after the other, without end."""
    for turn in itertools.count():
        for place, colour in enumerate(COLOURS):
            # Colours come again, with other markers.
            yield {"color": colour, "marker": MARKERS[(place + turn) % len(MARKERS)]}


def _draw(panels: Sequence[Paint], titles: Sequence[str], x: str = "", y: str = "") -> str:
    """Panels as one SVG; several share their axes' titles and one legend."""
    columns = min(len(panels), ACROSS)
    rows = math.ceil(len(panels) / columns)

    def fill(figure: Figure) -> None:
        every = list(figure.subplots(rows, columns, sharey=len(panels) > 1, squeeze=False).flat)
        for axes, paint, title in zip(every, panels, titles, strict=False):
            paint(axes)
            axes.set_title(title, loc="left", fontsize=9)
        for axes in every[len(panels) :]:
            axes.set_visible(False)
        handles, labels = every[0].get_legend_handles_labels()
        if len(panels) == 1 and handles:
            every[0].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        elif len(panels) > 1:
            figure.supxlabel(x, fontsize=9)
            figure.supylabel(y, fontsize=9)
            figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside upper center", ncols=3)

    return draw(fill, *((5.6, 3.8) if len(panels) == 1 else (2.2 * columns, 1.9 * rows + 0.9)))
