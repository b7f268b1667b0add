"""The report's sections: tables and charts of a folder's metrics, in the order in which they are shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffvqa.evaluation.breakdown import LEVEL
from diffvqa.evaluation.calibration import SHARES
from diffvqa.evaluation.curves import Curve
from diffvqa.evaluation.names import (
    BOX_SCORES,
    MEANINGS,
    SCORES,
    TASKS,
    change_scores,
    find_score,
    system_name,
    systems_of,
    value_and_interval,
)
from diffvqa.evaluation.page import Chart, Row, Table
from diffvqa.evaluation.published import PUBLISHED, SCORES_OF_ROW, remarks
from diffvqa.evaluation.report_charts import draw_curve, draw_reliability, draw_response, draw_scores, responses
from diffvqa.evaluation.text_scores import METRICS

ACCURACY = BOX_SCORES[0]
SHORT_TEXT_SCORES = ("exact", "bleu_1", "meteor", "rouge_l", "cider")  # most answers have one or two words
CALIBRATION_SCORES = ("ece", "auroc", *(f"selective_{share}" for share in SHARES))
COUNTS = {
    "n": "n",
    "unreadable": "Unreadable answers",
    "without_box": "Without a box",
    "pairs_unchanged": "Unchanged",
    "reference": "True changes",
    "predicted": "Stated",
    "source": "Source",
}
"""Titles of the tables' other columns, by their keys in the metrics."""

MOST_FINDINGS = 25
"""Findings that are shown, the most frequent ones; metrics.json holds them all."""

Rows = Mapping[str, Mapping[str, Any]]
"""Name of a row -> its scores and counts by their keys."""


@dataclass(frozen=True)
class Section:
    """A heading, a sentence or two, charts, tables, and what must be kept in mind."""

    title: str
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    about: str = ""
    notes: Sequence[str] = ()


def score_sections(metrics: Mapping) -> Iterator[Section]:
    """The sections that there are scores for; metrics: as score_folder returns them."""
    model = metrics["model"]
    if charts := list(_main_scores(metrics)):
        about = (
            f"Dots are scores, bars their 95 % intervals: {model['replicates']} resamples of the {model['patients']} "
            f"patients, the same for every system (seed {model['seed']})."
        )
        yield Section("In short", _paired(metrics), charts, about)
    if tables := list(_difference_tables(metrics)):
        yield Section("Difference questions", tables)
    if row := metrics.get("published_row"):
        yield _published(row)
    if any(model[part] for part in ("kinds", "steps", "findings")):
        yield Section("Which changes", [_parts_table(model)])
    if model["groups"]:
        yield _groups(model)
    if rows := _by_system(metrics, "calibration"):
        about = (
            "Confidence in answers to difference questions. "
            "An answer is right if it states all changes and nothing else."
        )
        charts = [draw_reliability(model["calibration"]["bins"])] if model["calibration"] else []
        table = _table(about, [*CALIBRATION_SCORES, "n"], [("", rows)], explained=CALIBRATION_SCORES)
        yield Section("Confidence", [table], charts)
    groups = [group for group in model["answers"] if group not in ("difference", "all")]
    if not groups and "difference" not in model["answers"] and not model["changes"]:
        groups = [group for group in model["answers"] if group == "all"]
    if groups:
        about = f"Questions on one image, by type. {_tokenizer(metrics)}"
        bodies = [(group.capitalize(), _by_system(metrics, "answers", group)) for group in groups]
        yield Section("Other questions", [_table(about, [*SHORT_TEXT_SCORES, "n"], bodies, explained=("exact",))])
    if tasks := model["grounding"]:
        about = "The overlap of the predicted box with the reference box; the best of several reference boxes counts."
        bodies = [(TASKS.get(task, task), _by_system(metrics, "grounding", task)) for task in tasks]
        table = _table(about, [*BOX_SCORES, "without_box", "n"], bodies, explained=BOX_SCORES)
        yield Section("Where: grounding", [table])


def curve_section(curves: Sequence[Curve]) -> Iterator[Section]:
    """The losses of training, if there are any."""
    if charts := [drawn for curve in curves if (drawn := draw_curve(curve))]:
        yield Section("Training", charts=charts)


def _main_scores(metrics: Mapping) -> Iterator[Chart]:
    model = metrics["model"]
    names = [name for name in change_scores(model["changes"]) if name != "precision"] if model["changes"] else []
    paths: dict[tuple[str, ...], str] = {("changes", name): SCORES[name] for name in names}
    paths |= {("grounding", task, ACCURACY): f"{task}: {SCORES[ACCURACY]}" for task in model["grounding"]}
    for path, title in paths.items():
        if scores := _by_system(metrics, *path):
            yield draw_scores(title, MEANINGS[path[-1]], scores)


def _paired(metrics: Mapping) -> list[Table]:
    """The model minus each control, on the rows that both have; none without a control that shares any."""
    columns: dict[str, Sequence[str]] = {SCORES["f1"]: ("changes", "f1")}
    columns |= {f"{task} accuracy": ("grounding", task, ACCURACY) for task in metrics["model"]["grounding"]}
    rows = []
    for name, pairs in metrics["paired"].items():
        scores = [find_score(pairs, path) for path in columns.values()]
        if any(scores):
            rows.append(Row(system_name(name), [_difference(score) for score in scores]))
    caption = "This model minus each control, with the interval of the paired difference: above 0, the model is better."
    return [Table(["This model minus …", *columns], [("", rows)], caption)] if rows else []


def _difference_tables(metrics: Mapping) -> Iterator[Table]:
    model = metrics["model"]
    if counts := model["changes"]:
        shown = change_scores(counts)
        caption = (
            f"The stated changes. {counts['n']} pairs: {counts['pairs_changed']} changed, "
            f"{counts['pairs_unchanged']} unchanged."
        )
        rows = _by_system(metrics, "changes")
        yield _table(caption, [*shown, "unreadable", "n"], [("", rows)], explained=shown)
    group = next((group for group in ("difference", "all") if group in model["answers"]), None)
    if group == "difference" or (group and model["changes"]):
        caption = f"The wording of the answers. {_tokenizer(metrics)}"
        rows = _by_system(metrics, "answers", group)
        yield _table(caption, [*METRICS, "n"], [("", rows)], explained=METRICS)


def _published(row: Mapping) -> Section:
    """The model's row below those that others have published."""
    rows: dict[str, Mapping[str, Any]] = {
        f"{one.system} ({one.year})": {**dict(zip(SCORES_OF_ROW, one.scores, strict=True)), "source": one.source}
        for one in PUBLISHED
    }
    rows["model"] = {**row, "source": f"this run, split {row['split']}"}
    caption = "Difference questions of Medical-Diff-VQA, as published, and this run."
    table = _table(caption, [*SCORES_OF_ROW, "n", "source"], [("", rows)])
    return Section("Beside published results", [table], notes=remarks(row))


def _parts_table(model: Mapping) -> Table:
    """The model's changes by kind, by steps of severity and by finding."""
    findings = dict(list(model["findings"].items())[:MOST_FINDINGS])
    # Stated changes have no steps.
    steps = {_steps(label): {**scores, "predicted": None} for label, scores in model["steps"].items()}
    named = (("By kind", model["kinds"]), ("By steps of severity", steps), ("By finding", findings))
    caption = (
        "This model's changes by finding, kind and step. Steps have recall only, because stated changes have none."
    )
    if len(findings) < len(model["findings"]):
        caption += f" The {MOST_FINDINGS} most frequent findings; metrics.json holds all {len(model['findings'])}."
    keys = ("recall", "precision", "f1", "reference", "predicted")
    return _table(caption, keys, [(heading, rows) for heading, rows in named if rows])


def _steps(label: str) -> str:
    number = label.removeprefix(f"{LEVEL} ")
    words = "1 step" if number == "1" else f"{number} steps"
    return f"level, {words}" if number != label else f"came or went, {words}"


def _groups(model: Mapping) -> Section:
    """The model's change scores by group, and its false changes against the strength of each factor."""
    caption = "This model's change scores for each group in the file."
    keys = ("n", "pairs_unchanged", "f1", "recall", "false_change_rate")
    table, factors = _table(caption, keys, [("", model["groups"])]), responses(model["groups"])
    if not factors:
        return Section("Groups of pairs", [table])
    highest = max(rate["high"] for rates in factors.values() for _, rate in rates)
    top = math.ceil(10 * max(0.1, highest)) / 10
    about = (
        "False-change rate against the strength of each factor, with 95 % intervals. Strength 0 is the repeats of the "
        "same patients. A system that never states a change has rate 0: read recall in the tables."
    )
    charts = [draw_response(factor, rates, top) for factor, rates in factors.items()]
    return Section("Groups of pairs", [table], charts, about)


def _by_system(metrics: Mapping, *path: str) -> Rows:
    """The value at a path of the metrics, for each system that has it."""
    return {name: found for name, system in systems_of(metrics).items() if (found := find_score(system, path))}


def _table(
    caption: str, keys: Sequence[str], bodies: Sequence[tuple[str, Rows]], explained: Sequence[str] = ()
) -> Table:
    """Rows with their scores and counts in the columns `keys`; explained: those of which the meaning is told."""
    written = [
        (
            heading,
            [
                Row(system_name(name), [_in_writing(scores.get(key)) for key in keys], name == "model")
                for name, scores in rows.items()
            ],
        )
        for heading, rows in bodies
    ]
    titles = {"bleu_1": "BLEU-1 to 4"}
    meanings = {titles.get(key, SCORES[key]): MEANINGS[key] for key in explained if key in MEANINGS}
    return Table(["", *(COUNTS.get(key) or SCORES[key] for key in keys)], written, caption, meanings)


def _in_writing(value: Any) -> tuple[str, ...]:
    """A score with its interval, a plain number or a text; a dash where there is none."""
    if value is None or isinstance(value, Mapping):
        return tuple(part for part in value_and_interval(value) if part)
    return (f"{value:.3f}" if isinstance(value, float) else str(value),)


def _difference(score: Mapping[str, float] | None) -> tuple[str, ...]:
    if score is None:
        return _in_writing(None)
    return (f"{score['value']:+.3f}", f"{score['low']:+.3f} to {score['high']:+.3f}")


def _tokenizer(metrics: Mapping) -> str:
    if metrics["tokenizer"] == "ptb":
        return "By pycocoevalcap's definitions, over its PTB tokens."
    if metrics["tokenizer"] is None:
        return "Exact agreement only: the other scores need pycocoevalcap."
    return f"Over {metrics['tokenizer']}: not comparable with published figures."
