"""From an evaluation folder to report.html."""

from __future__ import annotations

import json
from pathlib import Path

from diffvqa.errors import InputError
from diffvqa.evaluation.curves import read_curves
from diffvqa.evaluation.examples import read_examples, read_phrases
from diffvqa.evaluation.page import render_page
from diffvqa.evaluation.score import write_whole


def write_report(folder: str | Path) -> Path:
    """Write `report.html` into an evaluation folder and return its path.

    Needs `metrics.json` (score_folder writes it); shows `run.json`, `curves.jsonl`, `examples.jsonl` and
    `phrases.jsonl` where they are. The page is one file that loads nothing.
    Raises InputError for a file that is missing or cannot be read.
    """
    folder = Path(folder)
    metrics = _read_object(folder / "metrics.json")
    if metrics is None or "model" not in metrics:
        raise InputError(
            "metrics.json: expected the metrics of an evaluation folder, found none; score the folder first."
        )
    page = render_page(
        metrics,
        _read_object(folder / "run.json") or {},
        read_curves(folder),
        read_examples(folder),
        read_phrases(folder),
    )
    path = folder / "report.html"
    write_whole(path, page)
    return path


def _read_object(path: Path) -> dict | None:
    """The JSON object in a file, None where there is no such file."""
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path.name}: expected a JSON object, found something else.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path.name}: expected a JSON object, found something else.")
    return value
