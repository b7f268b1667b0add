"""The report of an evaluation folder: report.html."""

from __future__ import annotations

import json
from pathlib import Path

from diffvqa.errors import InputError
from diffvqa.evaluation.changes import best_agreement
from diffvqa.evaluation.curves import read_curves
from diffvqa.evaluation.example_rows import Example, read_examples, read_phrases
from diffvqa.evaluation.page import render
from diffvqa.evaluation.predictions import read_object
from diffvqa.evaluation.report_sections import curve_section, score_sections
from diffvqa.files import write_text
from diffvqa.findings import Change, read_changes


def write_report(folder: str | Path) -> Path:
    """Write `report.html` into an evaluation folder, and return its path.

    The folder needs `metrics.json`, which score_folder writes. The page also shows `run.json`, `curves.jsonl`,
    `examples.jsonl` and `phrases.jsonl`, if they are there. It is one file that loads nothing. Raises InputError for a
    file that is missing or cannot be read.
    """
    folder = Path(folder)
    metrics = read_object(folder / "metrics.json")
    if metrics is None or "model" not in metrics:
        raise InputError(
            "metrics.json: expected the metrics of an evaluation folder, found none; score the folder first."
        )
    run = read_object(folder / "run.json") or {}
    page = render(
        "evaluation/report.html",
        facts={str(name).replace("_", " ").capitalize(): _fact(value) for name, value in run.items()},
        metrics=metrics,
        sections=[*score_sections(metrics), *curve_section(read_curves(folder))],
        examples=[(example, _agreement(example)) for example in read_examples(folder)],
        phrases=read_phrases(folder),
    )
    path = folder / "report.html"
    write_text(path, page)
    return path


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _agreement(example: Example) -> list[tuple[str, str, str, str]]:
    """Which changes the answer finds, misses and invents: (kind, mark, change, verdict), never told by colour alone."""
    reference, predicted = read_changes(example.reference), read_changes(example.answer)
    if not reference:
        return []
    if not predicted:
        return [("false", "✕", "The answer cannot be read as changes", "it counts as wrong")]
    stated, true = best_agreement(predicted, reference)
    verdicts = (
        ("found", "✓", stated & true, "found"),
        ("missed", "○", true - stated, "missed"),
        ("false", "✕", stated - true, "not in the reference"),
    )
    items = [
        (kind, mark, _describe(change), verdict)
        for kind, mark, changes, verdict in verdicts
        for change in sorted(changes)
    ]
    return items or [("found", "✓", "Nothing has changed", "agreed")]


def _describe(change: Change) -> str:
    how = f"{change.before} → {change.after}" if change.kind == "level" else change.kind
    return f"{change.finding}: {how}"
