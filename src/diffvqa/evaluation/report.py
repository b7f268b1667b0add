"""From an evaluation folder to report.html."""

from __future__ import annotations

from pathlib import Path

from diffvqa.errors import InputError
from diffvqa.evaluation.curves import read_curves
from diffvqa.evaluation.examples import read_examples, read_phrases
from diffvqa.evaluation.page import render_page
from diffvqa.evaluation.predictions import read_object
from diffvqa.files import write_text


def write_report(folder: str | Path) -> Path:
    """Write `report.html` into an evaluation folder and return its path.

    Needs `metrics.json` (score_folder writes it); shows `run.json`, `curves.jsonl`, `examples.jsonl` and
    `phrases.jsonl` where they are. The page is one file that loads nothing.
    Raises InputError for a file that is missing or cannot be read.
    """
    folder = Path(folder)
    metrics = read_object(folder / "metrics.json")
    if metrics is None or "model" not in metrics:
        raise InputError(
            "metrics.json: expected the metrics of an evaluation folder, found none; score the folder first."
        )
    page = render_page(
        metrics,
        read_object(folder / "run.json") or {},
        read_curves(folder),
        read_examples(folder),
        read_phrases(folder),
    )
    path = folder / "report.html"
    write_text(path, page)
    return path
