"""A study's scores as CSV, one row a score, and as Markdown, means over seeds and what differs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from diffvqa.evaluation.changes import INDUCED
from diffvqa.evaluation.equal_detection import AT_EQUAL_DETECTION
from diffvqa.evaluation.names import SCORES, find_score, system_name
from diffvqa.evaluation.page import Row
from diffvqa.evaluation.score import CONTROLS
from diffvqa.study.study_config import PROBE
from diffvqa.study.systems import MODEL, Column, Mean, System, columns_of

SIGNIFICANT = 0.05
"""The corrected p-value below which a difference is listed."""

FEW_PAIRS = 30
"""Pairs below which a rate is said to be of few."""

NONE = ("–",)
"""The cell of a score that nobody has."""

ABOUT = (
    "Means over seeds; in square brackets their 95 % interval over resampled patients (of several seeds the mean of "
    "their intervals), in round ones the lowest and the highest seed where there are several. Differences: first minus "
    "second, means over seeds, with 95 % intervals over the same resampled patients and p-values corrected, score by "
    "score, for all pairs of systems that were asked the same (Holm); those with a p-value below .05 are listed, "
    "comparisons.json has all. False changes at detection .9 are those at the threshold with which a system finds nine "
    "of ten changed pairs of the test split. Intervals and p-values say what other patients could change, not what "
    "other seeds could. Of controls that have the same scores one is shown."
)


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
                    of_cell = [result["cell"], *(result["settings"][axis] for axis in axes), result["images_seen"]]
                    rows.writerow([*of_cell, evaluation, system, path, score["value"], score["low"], score["high"]])
    return file.getvalue()


def read_csv(text: str) -> dict[str, dict[str, Any]]:
    """The scores that `write_csv` wrote: cell -> evaluation -> metrics of the model and its controls.

    Raises KeyError and ValueError for another text.
    """
    cells: dict[str, dict[str, Any]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        evaluations = cells.setdefault(row["cell"], {})
        part = evaluations.setdefault(row["evaluation"], {"model": {}, "controls": {}})
        for key in (
            *(["model"] if row["system"] == "model" else ["controls", row["system"]]),
            *row["score"].split("/"),
        ):
            part = part.setdefault(key, {})
        part.update({key: float(row[key]) for key in ("value", "low", "high")})
    return cells


def _flat(scores: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, float]]]:
    """Every score in nested metrics with its path."""
    if not isinstance(scores, Mapping):
        return
    if {"value", "low", "high"} <= scores.keys():
        yield path, scores
        return
    for key, part in scores.items():
        yield from _flat(part, f"{path}/{key}" if path else key)


def programs_of(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The versions of the program that finished cells were run by."""
    finished = [result for result in results if "error" not in result]
    return sorted({program for result in finished for program in result["program"].split(", ")})


def remarks_on(results: Sequence[Mapping[str, Any]], cells: int) -> list[str]:
    """Remarks for readers of the tables of a study of `cells` cells.

    That it is not whole, which cells failed, that several programs ran them, which answers could not be read, and which
    rates are of few pairs.
    """
    remarks = [f"Not whole: {len(results)} of {cells} cells were run."] if len(results) < cells else []
    remarks += [f"Failed: {result['cell']}: {result['error']}" for result in results if "error" in result]
    remarks += [
        f"An added test failed: {result['cell']}: {result['failed_test']}"
        for result in results
        if "failed_test" in result
    ]
    programs = programs_of(results)
    if len(programs) > 1:
        remarks.append(f"The cells were run by {len(programs)} different versions of the program.")
    for result in results:
        remarks += _remarks_on_pairs(result)
    return remarks


def _remarks_on_pairs(result: Mapping[str, Any]) -> Iterator[str]:
    for evaluation, metrics in result.get("evaluations", {}).items():
        changes = metrics["model"].get("changes") if evaluation != PROBE else None
        if not changes:
            continue
        if unreadable := changes["unreadable"]:
            yield (
                f"{result['cell']}, {evaluation}: {unreadable:,} of {changes['n']:,} answers cannot be read; they are "
                "false changes where nothing changed, and detect nothing elsewhere."
            )
        if changes.get(INDUCED) and (pairs := changes["pairs_taken_otherwise"]) < FEW_PAIRS:
            yield f"{result['cell']}, {evaluation}: induced changes are of {pairs} pairs, too few to tell anything."


def name_with_seeds(system: System, systems: Sequence[System]) -> str:
    """A system's name, with the number of its seeds where others have more."""
    most = max(len(one.cells) for one in systems)
    return system.name if len(system.cells) == most else f"{system.name} ({len(system.cells)} of {most} seeds)"


def asked_in_words(systems: Sequence[System], evaluation: str) -> str:
    """How many patients, and how much of them, an evaluation is of; for each, if systems were asked differently."""
    scores = [find_score(cell["evaluations"], (evaluation, "model")) for system in systems for cell in system.cells]
    in_words = _of_probe if evaluation == PROBE else _of_answers
    return " or ".join(dict.fromkeys(in_words(found) for found in scores if found))


def _of_answers(scores: Mapping[str, Any]) -> str:
    words = f"{scores['patients']:,} patients"
    if changes := scores["changes"]:
        words += f", {changes['n']:,} questions of what has changed, {changes['pairs_unchanged']:,} of unchanged pairs"
    return words


def _of_probe(scores: Mapping[str, Any]) -> str:
    parts = {"images": ("findings", "mean"), "pairs": ("changes", "mean"), "boxes": ("boxes",)}
    found = {name: part for name, path in parts.items() if (part := find_score(scores, path))}
    return ", ".join(f"{part['n']:,} {name} of {part['patients']:,} patients" for name, part in found.items())


def table_of(
    systems: Sequence[System], evaluation: str, compared: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[Row]]:
    """The titles of an evaluation's columns, and its rows: the models of all systems, then their controls.

    Of controls that have the same scores there is one. False changes at one detection rate come from the comparisons.
    """
    columns = columns_of(systems, evaluation)
    equal = _at_equal_detection(compared)
    titles = [*(column.title for column in columns), *([SCORES[AT_EQUAL_DETECTION]] if equal else [])]

    def row(system: System, of: str, name: str) -> Row:
        last = [_with_interval(equal.get(system.name) if of == MODEL else None)] if equal else []
        return Row(name, [*_in_columns(system, columns, of), *last], of == MODEL)

    rows = [row(system, MODEL, name_with_seeds(system, systems)) for system in systems]
    for control in CONTROLS:
        seen: set[tuple[tuple[str, ...], ...]] = {(NONE,) * len(columns)}
        for system in systems:
            # Values and intervals: how many seeds a system has does not make its control another one.
            scores = tuple(cell[:2] for cell in _in_columns(system, columns, control))
            if scores not in seen:
                rows.append(row(system, control, f"{system_name(control)} ({system.name})"))
            seen.add(scores)
    return titles, rows


def _at_equal_detection(compared: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, float]]:
    """System -> its false changes where all find nine of ten changed pairs, of those that have them."""
    found = {name: scores.get(AT_EQUAL_DETECTION) for one in compared for name, scores in one["systems"].items()}
    return {name: score for name, score in found.items() if score}


def _in_columns(system: System, columns: Sequence[Column], of: str) -> tuple[tuple[str, ...], ...]:
    return tuple(in_writing(system.mean(column.evaluation, column.path, of)) for column in columns)


def write_markdown(
    systems: Sequence[System],
    comparisons: Mapping[str, Sequence[Mapping[str, Any]]],
    results: Sequence[Mapping[str, Any]],
    cells: int,
) -> str:
    """Two tables for each evaluation: systems with their controls, and the significant differences.

    cells: how many the study has, run or not.
    """
    remarks = [f"\n{one}\n" for one in remarks_on(results, cells)]
    parts = [f"{ABOUT} Research software, not for clinical use.\n", *remarks]
    for evaluation, compared in comparisons.items():
        titles, rows = table_of(systems, evaluation, compared)
        parts.append(f"\n## {evaluation}\n\n{asked_in_words(systems, evaluation)}\n\n")
        parts.append(f"| | {' | '.join(titles)} |\n|---|{'---|' * len(titles)}\n")
        for row in rows:
            parts.append(f"| {row.name} | {' | '.join(' '.join(cell) for cell in row.cells)} |\n")
        differences = list(significant(compared))
        if differences:
            parts.append("\n| first | second | score | difference | p |\n|---|---|---|---|---|\n")
            parts += [f"| {' | '.join(row)} |\n" for row in differences]
        elif compared:
            parts.append("\nNo difference was found that other patients would not explain as well.\n")
    return "".join(parts)


def significant(compared: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str, str]]:
    """The differences with a corrected p-value below SIGNIFICANT, in writing: both systems, score, difference, p."""
    for comparison in compared:
        for score, pairs in comparison["comparisons"].items():
            for pair in pairs:
                if pair["p_holm"] < SIGNIFICANT:
                    difference = f"{pair['value']:+.3f} ({pair['low']:+.3f} to {pair['high']:+.3f})"
                    p = f"{pair['p_holm']:.3f}" if pair["p_holm"] >= 0.0005 else "< 0.001"
                    yield pair["first"], pair["second"], SCORES[score], difference, p


def in_writing(mean: Mean | None) -> tuple[str, ...]:
    """A mean, its interval, its lowest and highest seed, and how many have it if not all; a dash where none has."""
    if mean is None:
        return NONE
    remarks = [f"{mean.lowest:.3f} to {mean.highest:.3f}"] if mean.seeds > 1 else []
    remarks += [f"{mean.seeds} of {mean.seeds_in_all} seeds"] if mean.seeds < mean.seeds_in_all else []
    in_round = (f"({'; '.join(remarks)})",) if remarks else ()
    return (*_value_and_interval(mean.value, mean.low, mean.high), *in_round)


def _with_interval(score: Mapping[str, float] | None) -> tuple[str, ...]:
    return _value_and_interval(score["value"], score["low"], score["high"]) if score else NONE


def _value_and_interval(value: float, low: float, high: float) -> tuple[str, str]:
    return f"{value:.3f}", f"[{low:.3f}, {high:.3f}]"
