"""What a study found, written down: every score, tables of means, figures, and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffvqa.data.files import write_text
from diffvqa.study.figures import draw_figures
from diffvqa.study.page import render_page
from diffvqa.study.systems import systems_of
from diffvqa.study.tables import write_csv, write_markdown


def write_summary(out: Path, results: Sequence[Mapping[str, Any]]) -> Path:
    """Write study.csv, study.md, figures/*.svg and study.html into `out`; the page's path."""
    systems = systems_of(results)
    evaluations = list(dict.fromkeys(name for result in results for name in result.get("evaluations", {})))
    write_text(out / "study.csv", write_csv(results))
    write_text(out / "study.md", write_markdown(systems, evaluations))
    figures = draw_figures(systems, evaluations)
    (out / "figures").mkdir(exist_ok=True)
    for name, drawing in figures.items():
        write_text(out / "figures" / f"{name}.svg", drawing)
    write_text(out / "study.html", render_page(systems, evaluations, figures, results))
    return out / "study.html"
