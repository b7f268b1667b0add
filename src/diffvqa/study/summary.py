"""The written results of a study: every score, tables of means, paired tests, figures, facts, and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffvqa.evaluation.comparison import compare
from diffvqa.files import write_text
from diffvqa.study.cells import evaluation_folder
from diffvqa.study.figures import draw_figures
from diffvqa.study.score_tables import asked_in_words, programs_of, remarks_on, write_csv, write_markdown
from diffvqa.study.study_config import MAIN, PROBE, QUESTIONS, STORE
from diffvqa.study.study_page import COMPARISONS, SCORES, SUMMARY, render_page
from diffvqa.study.systems import System, systems_of


def write_summary(out: Path, results: Sequence[Mapping[str, Any]], cells: int) -> Path:
    """Write study.csv, comparisons.json, summary.json, study.md, figures/*.svg and study.html; the page's path.

    cells: how many the study has, run or not.
    """
    systems = systems_of(results)
    evaluations = list(dict.fromkeys(name for result in results for name in result.get("evaluations", {})))
    comparisons = {name: _compared(out, systems, name) for name in evaluations}
    write_text(out / SCORES, write_csv(results))
    write_text(out / COMPARISONS, json.dumps(comparisons, indent=1) + "\n")
    write_text(out / "study.md", write_markdown(systems, comparisons, results, cells))
    figures = draw_figures(systems, evaluations)
    (out / "figures").mkdir(exist_ok=True)
    for path in (out / "figures").glob("*.svg"):
        if path.stem not in figures:
            path.unlink()
    for name, drawing in figures.items():
        write_text(out / "figures" / f"{name}.svg", drawing)
    summary = {
        "facts": _facts(systems, results),
        "remarks": remarks_on(results, cells),
        "asked": {name: asked_in_words(systems, name) for name in evaluations},
        "cells": [{key: value for key, value in result.items() if key != "evaluations"} for result in results],
    }
    write_text(out / SUMMARY, json.dumps(summary, indent=1) + "\n")
    write_text(out / "study.html", render_page(systems, comparisons, figures, summary))
    return out / "study.html"


def _facts(systems: Sequence[System], results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    finished = [result for result in results if "error" not in result]
    return {
        "Systems": str(len(systems)),
        "Cells finished": str(len(finished)),
        "Program": ", ".join(programs_of(results)) or "not recorded",
        "Device": ", ".join(sorted({result["device"] for result in finished})) or "none yet",
        "Images seen in stage 1": ", ".join(f"{number:,}" for number in sorted({one.images_seen for one in systems})),
    }


def _compared(out: Path, systems: Sequence[System], evaluation: str) -> list[dict[str, Any]]:
    if evaluation == PROBE:
        return []
    groups: dict[str, dict[str, list[str]]] = {}
    for system in systems:
        cells = [cell["cell"] for cell in system.cells if evaluation in cell["evaluations"]]
        if cells:
            groups.setdefault(_asked(system.settings, evaluation), {})[system.name] = cells

    def folders(group: Mapping[str, Sequence[str]], of: str) -> dict[str, list[Path]]:
        return {name: [evaluation_folder(out, cell, of) for cell in cells] for name, cells in group.items()}

    # A set without changed pairs has no threshold of its own.
    return [
        compare(folders(group, evaluation), detected_in=folders(group, MAIN))
        for group in groups.values()
        if len(group) > 1
    ]


def _asked(settings: Mapping[str, Any], evaluation: str) -> str:
    """The questions for a system, as far as the axes say: its trained types, on the test split of its store."""
    types = {}
    for axis, value in settings.items():
        if axis.startswith(QUESTIONS):
            shares = value if isinstance(value, Mapping) else {axis: value}
            types[axis] = sorted(kind for kind, share in shares.items() if share)
    return str((settings.get(STORE) if evaluation == MAIN else None, types))
