"""Paired comparisons of systems on the same questions: differences, p-values, and Holm's correction."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffvqa.errors import InputError
from diffvqa.evaluation.box_scores import THRESHOLD, tally_grounding
from diffvqa.evaluation.changes import INDUCED, is_difference, on_the_same_repeats, reference_readings, tally_changes
from diffvqa.evaluation.equal_detection import (
    AT_EQUAL_DETECTION,
    changed_and_unchanged,
    find_threshold,
    flagged_in_resamples,
    tally_flagged,
)
from diffvqa.evaluation.intervals import Formula, Resamples, Tally, interval_around, resample_patients
from diffvqa.evaluation.predictions import TASKS_OF_ANSWERS, Prediction, notes_on_patients, read_predictions

COMPARED = (
    "f1",
    "false_change_rate",
    INDUCED,
    "recall",
    "detection_rate",
    AT_EQUAL_DETECTION,
    "flagged_unchanged",
    "aref_accuracy",
)
"""The scores that are compared: those of changes, and the share of AREF boxes with an IoU of at least 0.5."""

_COUNTS = {
    "f1": "n",
    "false_change_rate": "pairs_unchanged",
    INDUCED: "pairs_taken_otherwise",
    "recall": "pairs_changed",
    "detection_rate": "pairs_changed",
    "flagged_unchanged": "pairs_unchanged",
}
"""The scores of changes, and how many pairs each is of."""

FEWEST_REPLICATES = 5000
"""More than an interval needs, for the p-values."""

SMALLEST_P = 0.01
"""The corrected p-value that a difference in the same direction in all resamples has at most."""


Files = Mapping[str, Sequence[str | Path]]
"""System -> its evaluation folders or predictions files, one for each training seed."""


def compare(systems: Files, replicates: int | None = None, seed: int = 0, detected_in: Files | None = None) -> dict:
    """Every pair of systems in every score of COMPARED, on one set of resamples of patients.

    systems: the score of a system is the mean over its seeds. replicates: if not given FEWEST_REPLICATES, or as many as
    SMALLEST_P takes with so many pairs. detected_in: the test set whose changed pairs set the thresholds of equal
    detection, for the same systems and seeds; if not given, the set of `systems` itself.

    {"patients", "replicates", "seed", "notes",
     "systems": {name: {"seeds", and each score as {"value", "low", "high", "n"} or None}},
     "comparisons": {score: [{"first", "second", "value", "low", "high", "p", "p_holm"}]}}
    n: the rows of one seed that a score is of, the fewest of them; the induced-change rate has pairs of its own in each
    system, and is compared on those that are both systems' in all seeds. value: first minus second. p: two-sided, twice
    the smaller share of the resamples on one side of 0 (no difference), counting one resample more on each side; but no
    smaller than that of a sign test in which all patients in whom the two systems differ agree, for resamples of few
    patients are few. p_holm: corrected over all comparisons of this score (Holm 1979). A system without rows for a
    score, or with a score that is not defined, is left out of its comparisons.
    Raises InputError for fewer than two systems, for predictions on different questions or patients, and for those in
    which nothing can be compared.
    """
    if len(systems) < 2:
        raise InputError(f"expected at least two systems, NAME=FOLDER each under its own name; found {len(systems)}")
    if replicates is None:
        # The smallest p-value is 2 / (replicates + 1), and Holm multiplies it by the number of pairs.
        replicates = max(FEWEST_REPLICATES, math.ceil(2 * math.comb(len(systems), 2) / SMALLEST_P))
    read = {name: [_read(name, Path(path)) for path in paths] for name, paths in systems.items()}
    _require_same_questions(read)
    patients = _patients_of(read)
    resamples = resample_patients(patients, replicates, seed)
    detected, drawn = read, resamples
    if detected_in is not None:
        detected = {name: [_read(name, Path(path)) for path in detected_in[name]] for name in systems}
        # Other patients have draws of their own.
        drawn = resample_patients(_patients_of(detected), replicates, seed + 1)
    scores = {name: _scores_of(runs, resamples, detected[name], drawn) for name, runs in read.items()}
    if not any(score for found in scores.values() for score in found.values()):
        raise InputError("the files have neither difference questions nor AREF phrases: there is nothing to compare")
    return {
        "patients": len(set(patients.values())),
        "replicates": replicates,
        "seed": seed,
        "notes": notes_on_patients(patients),
        "systems": {
            name: {"seeds": len(read[name]), **{score: _described(found) for score, found in of_system.items()}}
            for name, of_system in scores.items()
        },
        "comparisons": {score: _compared(score, scores, resamples) for score in COMPARED},
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of several p-values, in their order."""
    order = np.argsort(p_values, kind="stable")
    multiples = np.arange(len(order), 0, -1) * np.array(p_values)[order]
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(multiples))
    return corrected.tolist()


def two_sided_p(drawn: np.ndarray, patients: int) -> float:
    """The two-sided p-value of a difference of 0 among resampled differences; undefined ones do not count.

    patients: in how many the systems differ. If all of them agreed, chance would do so too in 2 of 2 ** patients.
    """
    drawn = np.round(drawn[np.isfinite(drawn)], 10)
    one_side = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return min(1.0, max(2 * (int(one_side) + 1) / (drawn.size + 1), 2.0 ** (1 - patients)))


@dataclass(frozen=True)
class _Score:
    """A score, averaged over seeds: its value and that of each resample.

    tallies: those of the seeds. formula, of_patients: how it comes out of sums, and what each patient adds to them,
    (patients, columns), a seed's mean. n: of how many rows it is.
    """

    value: float
    drawn: np.ndarray
    tallies: Sequence[Tally]
    formula: Formula
    of_patients: np.ndarray
    n: int


def _read(name: str, path: Path) -> tuple[Prediction, ...]:
    try:
        return read_predictions(path / "predictions.jsonl" if path.is_dir() else path)
    except InputError as error:
        # All such files have one name.
        raise InputError(f"{name}: {error}") from error


def _require_same_questions(read: Mapping[str, Sequence[Sequence[Prediction]]]) -> None:
    """Raises InputError if two runs differ in what they were asked: in questions or references of a task of both."""
    first: dict[str, tuple[str, dict]] = {}
    for name, runs in read.items():
        for rows in runs:
            for task in dict.fromkeys(row.task for row in rows if row.task not in TASKS_OF_ANSWERS):
                asked = {row.id: _asked(row) for row in rows if row.task == task}
                other, expected = first.setdefault(task, (name, asked))
                missing, more = len(expected.keys() - asked.keys()), len(asked.keys() - expected.keys())
                changed = sum(asked[one] != expected[one] for one in asked.keys() & expected.keys())
                if missing or more or changed:
                    raise InputError(
                        f"{name}: expected the same questions as {other} (task {task}), found {missing} missing, "
                        f"{more} others and {changed} with another reference; "
                        "evaluate all systems on one split of one store"
                    )


def _patients_of(read: Mapping[str, Sequence[Sequence[Prediction]]]) -> dict[str, tuple[str, str]]:
    """Row id -> its patient, whichever file names it. Raises InputError if two name different ones."""
    patients: dict[str, tuple[str, str]] = {}
    for name, runs in read.items():
        for row in itertools.chain.from_iterable(runs):
            known = patients.get(row.id)
            if row.subject_id is not None and known not in (None, row.patient, ("id", row.id)):
                raise InputError(f"{name}: some lines have another `subject_id` than in the file of another system")
            if known is None or row.subject_id is not None:
                patients[row.id] = row.patient
    return patients


def _asked(row: Prediction) -> tuple:
    """The fields that identify a question. The text is not among them, because not every file has it."""
    readings = frozenset(reference_readings(row)) if is_difference(row) else None
    return row.references, row.reference_boxes, readings


def _scores_of(
    runs: Sequence[Sequence[Prediction]],
    resamples: Resamples,
    detected: Sequence[Sequence[Prediction]],
    detected_resamples: Resamples,
) -> dict[str, _Score | None]:
    changes = [tally_changes(rows) for rows in runs]
    boxes = [tally_grounding(rows).get("AREF") for rows in runs]
    found = {name: _mean(changes, name, count, resamples) for name, count in _COUNTS.items()}
    return {
        **found,
        AT_EQUAL_DETECTION: _at_equal_detection(runs, resamples, detected, detected_resamples),
        "aref_accuracy": _mean(boxes, f"accuracy_{THRESHOLD}", "n", resamples),
    }


def _at_equal_detection(
    runs: Sequence[Sequence[Prediction]],
    resamples: Resamples,
    detected: Sequence[Sequence[Prediction]],
    detected_resamples: Resamples,
) -> _Score | None:
    """The false changes of a system at the thresholds with which its seeds find equally many changed pairs."""
    tallies, drawn = [], []
    for rows, others in zip(runs, detected, strict=True):
        pairs, other_pairs = changed_and_unchanged(rows), changed_and_unchanged(others)
        threshold = find_threshold(other_pairs[0], detected_resamples) if other_pairs else None
        tally = tally_flagged(pairs[1], threshold.value) if pairs and threshold else None
        if tally is None or pairs is None or threshold is None:
            return None
        tallies.append(tally)
        drawn.append(flagged_in_resamples(pairs[1], threshold, resamples))
    return _mean(tallies, AT_EQUAL_DETECTION, "pairs_unchanged", resamples, drawn)


def _mean(
    of_seeds: Sequence[Tally | None],
    name: str,
    count: str,
    resamples: Resamples,
    drawn: Sequence[np.ndarray] | None = None,
) -> _Score | None:
    """The mean of a score over the seeds; None where one of them lacks it.

    count: that of the rows it is of. drawn: the score of each resample, where sums do not tell it.
    """
    tallies = [tally for tally in of_seeds if tally is not None]
    if len(tallies) < len(of_seeds):
        return None
    values = [tally.formulas[name](tally.columns.sum(axis=0)) for tally in tallies]
    drawn = drawn or [tally.formulas[name](resamples.sums(tally)) for tally in tallies]
    value, n = float(np.mean(values)), min(tally.counts[count] for tally in tallies)
    if not np.isfinite(value):
        return None
    of_patients = np.mean([resamples.of_patients(tally) for tally in tallies], axis=0)
    return _Score(value, np.mean(drawn, axis=0), tallies, tallies[0].formulas[name], of_patients, n)


def _described(score: _Score | None) -> dict | None:
    return None if score is None else {**interval_around(score.value, score.drawn), "n": score.n}


def _compared(
    name: str, scores: Mapping[str, Mapping[str, _Score | None]], resamples: Resamples
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    known = {system: score for system, found in scores.items() if (score := found[name]) is not None}
    for (first, one), (second, other) in itertools.combinations(known.items(), 2):
        both = _on_the_same_pairs(one, other, resamples) if name == INDUCED else (one, other)
        if both is not None:
            rows.append({"first": first, "second": second, **_difference(*both)})
    corrected = holm([row["p"] for row in rows])
    return [{**row, "p_holm": value} for row, value in zip(rows, corrected, strict=True)]


def _difference(one: _Score, other: _Score) -> dict[str, float]:
    drawn = one.drawn - other.drawn
    p = two_sided_p(drawn, int((_matters(one, other) | _matters(other, one)).sum()))
    return {**interval_around(one.value - other.value, drawn), "p": p}


def _on_the_same_pairs(first: _Score, second: _Score, resamples: Resamples) -> tuple[_Score, _Score] | None:
    """The induced-change rates of two systems, of the patients whose repeats both told in all seeds."""
    common = on_the_same_repeats([*first.tallies, *second.tallies])
    parts = (common[: len(first.tallies)], common[len(first.tallies) :])
    one, other = (_mean(part, INDUCED, _COUNTS[INDUCED], resamples) for part in parts)
    return None if one is None or other is None else (one, other)


def _matters(one: _Score, other: _Score) -> np.ndarray:
    """Whether a score would be another if a patient's answers were those of the other system, (patients,)."""
    total = one.of_patients.sum(axis=0)
    exchanged = one.formula(total - one.of_patients + other.of_patients)
    return ~np.isclose(exchanged, one.formula(total), rtol=0, atol=1e-12)
