"""A study's scores as CSV, one row a score, and as Markdown, means over seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from diffvqa.study.systems import Mean, System, shown_scores


def write_csv(results: Sequence[Mapping[str, Any]]) -> str:
    """A row for each cell, evaluation, system (the model or a control) and score."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    axes = list(results[0]["settings"]) if results else []
    rows.writerow(["cell", *axes, "images_seen", "evaluation", "system", "score", "value", "low", "high"])
    for result in results:
        for evaluation, metrics in result.get("evaluations", {}).items():
            for system, scores in {"model": metrics["model"], **metrics["controls"]}.items():
                for path, score in _flat(scores):
                    of_cell = [result["cell"], *result["settings"].values(), result["images_seen"]]
                    rows.writerow([*of_cell, evaluation, system, path, score["value"], score["low"], score["high"]])
    return file.getvalue()


def _flat(scores: Any, path: str = "") -> list[tuple[str, Mapping[str, float]]]:
    """Every score in nested metrics with its path."""
    if not isinstance(scores, Mapping):
        return []
    if {"value", "low", "high"} <= scores.keys():
        return [(path, scores)]
    return [found for key, part in scores.items() for found in _flat(part, f"{path}/{key}" if path else key)]


def write_markdown(systems: Sequence[System], evaluations: Sequence[str]) -> str:
    """A table an evaluation, a row a system."""
    parts = [
        "Means over seeds, with the lowest and the highest where there are several. "
        "Research software, not for clinical use.\n"
    ]
    for evaluation in evaluations:
        columns = shown_scores(systems, evaluation)
        parts.append(f"\n## {evaluation}\n\n| | {' | '.join(columns.values())} |\n|---|{'---|' * len(columns)}\n")
        for system in systems:
            cells = [in_writing(system.mean(evaluation, path)) for path in columns]
            parts.append(f"| {system.name} | {' | '.join(cells)} |\n")
    return "".join(parts)


def in_writing(mean: Mean | None) -> str:
    """A mean with its lowest and highest seed; a dash where there is none."""
    if mean is None:
        return "–"
    return f"{mean.value:.3f}" + (f" ({mean.low:.3f} to {mean.high:.3f})" if mean.seeds > 1 else "")
