"""The report's sections on what lies behind the main scores: published rows, kinds of change, groups, confidence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from diffvqa.evaluation.breakdown import LEVEL
from diffvqa.evaluation.calibration import SHARES
from diffvqa.evaluation.names import SCORES, systems_of
from diffvqa.evaluation.page_tables import Cells, meanings_of, score_table
from diffvqa.evaluation.plots import draw_reliability, draw_response, highest, responses
from diffvqa.evaluation.published import PUBLISHED, SCORES_OF_ROW, remarks

CALIBRATION_SCORES = ("ece", "auroc", *(f"selective_{share}" for share in SHARES))
PART_SCORES = ("recall", "precision", "f1")
MOST_FINDINGS = 25
"""Findings that are shown, the most frequent ones; metrics.json holds them all."""


def published_section(metrics: Mapping) -> str:
    """The model's row below those that others have published."""
    row = metrics.get("published_row")
    if row is None:
        return ""
    rows: list[tuple[str, Cells]] = []
    for one in PUBLISHED:
        cells = [(SCORES[key], score) for key, score in zip(SCORES_OF_ROW, one.scores, strict=True)]
        rows.append((f"{one.system} ({one.year})", [*cells, ("n", None), ("Source", one.source)]))
    cells = [(SCORES[key], row[key]) for key in SCORES_OF_ROW]
    rows.append(("model", [*cells, ("n", row["n"]), ("Source", f"this run, split {row['split']}")]))
    said = "".join(f"<p>{escape(remark)}</p>" for remark in remarks(row))
    table = score_table("Difference questions of Medical-Diff-VQA, as published, and this run.", [("", rows)])
    return f'<h2>Beside published results</h2>{table}<div class="notes" role="note">{said}</div>'


def parts_section(model: Mapping) -> str:
    """The model's changes by finding, by kind and by steps of severity."""
    findings = dict(list(model["findings"].items())[:MOST_FINDINGS])
    named = (("By kind", model["kinds"]), ("By steps of severity", model["steps"]), ("By finding", findings))
    bodies = []
    for heading, entries in named:
        rows: list[tuple[str, Cells]] = []
        for label, scores in entries.items():
            cells = [(SCORES[key], scores.get(key)) for key in PART_SCORES]
            by_steps = heading == "By steps of severity"
            counts = [("True changes", scores["reference"]), ("Stated", None if by_steps else scores["predicted"])]
            rows.append((_steps(label) if by_steps else label, [*cells, *counts]))
        if rows:
            bodies.append((heading, rows))
    if not bodies:
        return ""
    caption = "This model's changes taken apart. What is stated has no steps, so by steps there is recall only."
    if len(findings) < len(model["findings"]):
        caption += f" The {MOST_FINDINGS} most frequent findings; metrics.json holds all {len(model['findings'])}."
    return f"<h2>Which changes</h2>{score_table(caption, bodies)}"


def _steps(label: str) -> str:
    number = label.removeprefix(f"{LEVEL} ")
    words = "1 step" if number == "1" else f"{number} steps"
    return f"level, {words}" if number != label else f"came or went, {words}"


def groups_section(model: Mapping) -> str:
    """The model's change scores by group, and its false changes against the strength of each factor."""
    if not model["groups"]:
        return ""
    rows = []
    for group, scores in model["groups"].items():
        counts = [("n", scores["n"]), ("Unchanged", scores["pairs_unchanged"])]
        rows.append((group, [*counts, *((SCORES[key], scores[key]) for key in ("f1", "recall", "false_change_rate"))]))
    table = score_table("This model's change scores by the groups that the file names.", [("", rows)])
    factors = responses(model["groups"])
    plots = ""
    if factors:
        top = math.ceil(10 * max(0.1, *map(highest, factors.values()))) / 10
        drawn = "".join(
            f'<section class="panel"><h3>{escape(factor)}</h3>{draw_response(factor, rates, top)}</section>'
            for factor, rates in factors.items()
        )
        plots = (
            "<p>False-change rate against the strength of each factor, with 95 % intervals. Strength 0 are the repeats "
            "of the same patients. Whoever never states a change is at 0 throughout: recall is in the "
            f'tables.</p><div class="panels">{drawn}</div>'
        )
    return f"<h2>Groups of pairs</h2>{plots}{table}"


def calibration_section(metrics: Mapping) -> str:
    """What the confidence is worth: the scores of every system that has one, and the model's bins."""
    rows: list[tuple[str, Cells]] = []
    for name, system in systems_of(metrics).items():
        if scores := system["calibration"]:
            rows.append((name, [*((SCORES[key], scores[key]) for key in CALIBRATION_SCORES), ("n", scores["n"])]))
    if not rows:
        return ""
    caption = "Confidence in answers to difference questions; right is who says all that has changed and nothing else."
    plot = ""
    if scores := metrics["model"]["calibration"]:
        plot = (
            f'<div class="panels"><section class="panel"><h3>Reliability</h3>{draw_reliability(scores["bins"])}'
            "<p>Accuracy in ten bins of confidence, with 95 % intervals. A calibrated confidence lies on the dashed "
            "diagonal; grey bars show how many answers a bin has.</p></section></div>"
        )
    return f"<h2>Confidence</h2>{plot}{score_table(caption, [('', rows)])}{meanings_of(CALIBRATION_SCORES)}"
