"""A study's figures: what is found against what is invented, and scores against images seen and time."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from diffvqa.errors import InputError
from diffvqa.study.systems import System

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F", "#882255", "#117733")
"""Told apart by the colour-blind too (Okabe and Ito, and two of Tol's); markers differ as well."""

MARKERS = "osD^vP*Xh<"


def draw_figures(systems: Sequence[System], evaluations: Sequence[str]) -> dict[str, str]:
    """Name -> SVG. Raises InputError if matplotlib is not there."""
    figures = {
        f"{evaluation}-recall": _draw(lambda axes, name=evaluation: _recall_against_false_changes(axes, systems, name))
        for evaluation in evaluations
    }
    if len({(one.settings.get("objective", ""), one.images_seen) for one in systems}) > len(
        {one.settings.get("objective", "") for one in systems}
    ):
        for evaluation in evaluations:
            figures[f"{evaluation}-images"] = _draw(
                lambda axes, name=evaluation: _curves(axes, systems, name, lambda one: one.images_seen, "images seen")
            )
            figures[f"{evaluation}-time"] = _draw(
                lambda axes, name=evaluation: _curves(
                    axes, systems, name, lambda one: one.seconds, "seconds of stage 1"
                )
            )
    return figures


def _draw(paint: Callable[[Any], None]) -> str:
    try:
        import matplotlib
    except ImportError as error:
        raise InputError("a study draws with matplotlib: pip install 'diffvqa[study]'") from error
    matplotlib.use("svg")
    from matplotlib import pyplot

    # The same figure is the same text, and its words stay words.
    style = {"svg.hashsalt": "diffvqa", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(5.6, 3.8), layout="constrained")
        axes.spines[["top", "right"]].set_visible(False)
        paint(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
        pyplot.close(figure)
    drawn = file.getvalue()
    return drawn[drawn.index("<svg") :]


def _recall_against_false_changes(axes: Any, systems: Sequence[System], evaluation: str) -> None:
    """A dot a seed, and a larger one for their mean."""
    for number, system in enumerate(systems):
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        cells = [System("", {}, [cell]) for cell in system.cells]
        points = [
            (false.value, recall.value)
            for one in (*cells, system)
            if (recall := one.mean(evaluation, "changes/recall"))
            and (false := one.mean(evaluation, "changes/false_change_rate"))
        ]
        if not points:
            continue
        axes.scatter(*zip(*points[:-1], strict=True), s=14, alpha=0.5, linewidths=0, **style)
        axes.scatter(*points[-1], s=60, label=system.name, **style)
    axes.set(xlabel="false-change rate (lower is better)", ylabel="recall of changes", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(evaluation, loc="left")
    if axes.has_data():
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _curves(
    axes: Any, systems: Sequence[System], evaluation: str, place: Callable[[System], float | None], title: str
) -> None:
    """Change F1 against how long an objective was trained; a bar from the lowest to the highest seed."""
    objectives = list(dict.fromkeys(str(system.settings.get("objective", "")) for system in systems))
    for number, objective in enumerate(objectives):
        points = sorted(
            (place(one), f1.value, f1.value - f1.low, f1.high - f1.value)
            for one in systems
            if str(one.settings.get("objective", "")) == objective
            and place(one) is not None
            and (f1 := one.mean(evaluation, "changes/f1"))
        )
        if points:
            x, y, below, above = zip(*points, strict=True)
            axes.errorbar(
                x,
                y,
                yerr=(below, above),
                label=objective,
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                markersize=5,
                capsize=2,
            )
    axes.set(xlabel=title, ylabel="change F1", ylim=(0, None))
    axes.set_title(evaluation, loc="left")
    if axes.has_data():
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
