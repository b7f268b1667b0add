"""Metrics of a predictions file, or of an evaluation folder with its controls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffvqa.errors import InputError
from diffvqa.evaluation import text_scores as text
from diffvqa.evaluation.box_scores import THRESHOLD, tally_grounding
from diffvqa.evaluation.breakdown import tally_findings, tally_groups, tally_kinds, tally_steps
from diffvqa.evaluation.calibration import Calibration, tally_calibration
from diffvqa.evaluation.changes import judge, tally_changes, tally_order
from diffvqa.evaluation.intervals import Resamples, Tally, difference, resample_patients, score_tally
from diffvqa.evaluation.predictions import (
    GROUNDING_TASKS,
    QUESTION_TASK,
    Prediction,
    notes_on_patients,
    read_object,
    read_predictions,
)
from diffvqa.evaluation.published import own_row
from diffvqa.files import write_text
from diffvqa.progress import progress_bar
from diffvqa.records import QUESTION_TYPES

CONTROLS = ("most_frequent", "retrieval", "two_readings", "exchanged", "other_prior", "blank_images", "mean_box")
"""The controls in the order in which they are shown; others come after them."""

EXCHANGED = "exchanged"
"""The control whose answers are the model's, to the images exchanged, and turned round."""


def score_file(
    path: str | Path, replicates: int = 1000, seed: int = 0, similarity: text.Similarity | None = None
) -> dict:
    """The metrics of one predictions file.

    {"n", "patients", "seed", "replicates", "tokenizer", "notes",
     "answers": {question type, or task of another text, or "all": {"n", and the scores in text.METRICS,
                 with a similarity also "bertscore"}},
     "changes": {"n", "pairs_changed", "pairs_unchanged", "unreadable", "reference_unreadable", "precision", "recall",
                 "f1", "coarse_f1", "detection_rate", "false_change_rate", "induced_change_rate"} or None,
     "findings": {finding: {"matched", "predicted", "reference", "precision", "recall", "f1"}},
     "kinds": {kind of change: the same}, "steps": {number, or "level N": the same without "precision" and "f1"},
     "groups": {group: as "changes"},
     "calibration": {"n", "right", "ece", "auroc", "selective_100", ..., "selective_20",
                     "bins": [{"low", "high", "n", "confidence", "accuracy"}]} or None,
     "grounding": {task: {"n", "without_box", "iou", "accuracy_0.5"}}}
    Each score is {"value", "low", "high"} with the limits of its 95 % interval, a bootstrap over patients; or None
    where it is not defined or cannot be had. Raises InputError for a file that cannot be read.
    """
    metrics, _, notes = _score_systems({"model": read_predictions(path)}, replicates, seed, similarity)
    return {**metrics["model"], "notes": notes}


def score_folder(folder: str | Path, replicates: int = 1000, seed: int = 0) -> dict:
    """Score `predictions.jsonl` and `controls/*.jsonl` of an evaluation folder; write `metrics.json` there.

    {"model": as score_file, "controls": {name: the same}, "paired": {name: model minus this control},
     "published_row": as published.own_row, from what `run.json` says of the run, or None,
     "tokenizer", "seed", "replicates", "notes"}. An entry of "paired" holds, for those that both have,
    "changes": {"f1"}, "grounding": {task: {"accuracy_0.5"}} and "answers": {type: {"exact"}}, each with "n" rows in
    common and the interval of the paired difference. All systems share the same resamples of patients.
    Raises InputError for a file that cannot be read and for a control with an id that the model has not.
    """
    folder = Path(folder)
    systems = {"model": read_predictions(folder / "predictions.jsonl")}
    ids = {prediction.id for prediction in systems["model"]}
    for path in sorted((folder / "controls").glob("*.jsonl"), key=_place_of_control):
        systems[path.stem] = read_predictions(path)
        strangers = sum(prediction.id not in ids for prediction in systems[path.stem])
        if strangers:
            raise InputError(
                f"controls/{path.name}: expected the ids of predictions.jsonl, found {strangers} others; "
                "write the control's predictions for the same rows."
            )
    scored, paired, notes = _score_systems(systems, replicates, seed)
    model = scored.pop("model")
    run = read_object(folder / "run.json") or {}
    missing = (run.get("truth") or {}).get("missing")
    if missing:
        notes.append(f"{missing} difference questions are of pairs that the truth does not have: not joined.")
    metrics = {
        "model": model,
        "controls": scored,
        "paired": paired,
        "published_row": own_row(model, run),
        "tokenizer": model["tokenizer"],
        "seed": seed,
        "replicates": replicates,
        "notes": notes,
    }
    write_text(folder / "metrics.json", json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    return metrics


@dataclass(frozen=True)
class _Tallies:
    """All that can be scored of one system."""

    answers: Mapping[str, Tally]
    changes: Tally | None
    parts: Mapping[str, Mapping[str, Tally]]
    calibration: Calibration | None
    grounding: Mapping[str, Tally]


def _model_minus(model: _Tallies, control: _Tallies, resamples: Resamples) -> dict:
    """The paired differences of the model to one control."""

    def compare(first: Mapping[str, Tally], second: Mapping[str, Tally], score: str) -> dict:
        pairs = {key: difference(first[key], second[key], score, resamples) for key in first if key in second}
        return {key: {score: value} for key, value in pairs.items() if value is not None}

    first, second = ({"changes": one.changes} if one.changes else {} for one in (model, control))
    return {
        "changes": None,
        **compare(first, second, "f1"),
        "grounding": compare(model.grounding, control.grounding, f"accuracy_{THRESHOLD}"),
        "answers": compare(model.answers, control.answers, "exact"),
    }


def _score_systems(
    systems: Mapping[str, Sequence[Prediction]], replicates: int, seed: int, similarity: text.Similarity | None = None
) -> tuple[dict[str, dict], dict[str, dict], list[str]]:
    """The metrics of several systems, the model minus each of the others, and notes.

    They are scored together: one tokenization, one run of METEOR, one set of resamples.
    """
    groups = {name: _answer_groups(predictions) for name, predictions in systems.items()}
    spoken = [row for by_type in groups.values() for rows in by_type.values() for row in rows]
    tallies, metrics = {}, {}
    with progress_bar("score predictions") as progress:
        progress(0, len(systems))
        tokens = text.tokenize(words for row in spoken for words in (row.answer, *row.references))
        notes = list(tokens.notes) if spoken else []
        meteor: dict = {}
        if spoken and tokens.tokenizer == text.PTB:
            meteor, found = text.meteor_statistics(tokens.pair(row) for row in spoken)
            notes += found
        similar = text.score_pairs(spoken, similarity) if similarity and spoken else None
        # The model's file says who the patients are; a control's rows follow by their ids.
        patients = {row.id: row.patient for row in systems["model"]}
        resamples = resample_patients(patients, replicates, seed)
        for name, predictions in systems.items():
            answers = {}
            for group, rows in groups[name].items():
                answers[group], found = text.tally_text(rows, tokens, meteor, similar)
                notes += found
            tallies[name] = _tally_system(predictions, answers)
            metrics[name] = {
                "n": len(predictions),
                "patients": len({patients[row.id] for row in predictions}),
                "seed": seed,
                "replicates": replicates,
                "tokenizer": tokens.tokenizer,
                **_metrics(tallies[name], resamples),
            }
            progress(len(metrics), len(systems))
    notes += notes_on_patients(patients)
    left_out = (metrics["model"]["changes"] or {}).get("reference_unreadable", 0)
    if left_out:
        notes.append(f"{left_out} difference questions have a reference that is not in the answer grammar: left out.")
    if EXCHANGED in systems and tallies["model"].changes:
        order = tally_order(systems["model"], systems[EXCHANGED])
        metrics["model"]["changes"]["order_consistency"] = score_tally(order, resamples)["f1"] if order else None
    paired = {name: _model_minus(tallies["model"], tallies[name], resamples) for name in systems if name != "model"}
    return metrics, paired, list(dict.fromkeys(notes))


def _tally_system(predictions: Sequence[Prediction], answers: Mapping[str, Tally]) -> _Tallies:
    judged = judge(predictions)
    parts = {
        "findings": tally_findings(judged),
        "kinds": tally_kinds(judged),
        "steps": tally_steps(judged),
        "groups": tally_groups(predictions),
    }
    return _Tallies(answers, tally_changes(predictions), parts, tally_calibration(judged), tally_grounding(predictions))


def _answer_groups(predictions: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """The rows with a text to score, by question type (or task), and all questions together; "all" comes last."""
    spoken = [row for row in predictions if row.references and row.task not in GROUNDING_TASKS]
    questions = [row for row in spoken if row.task == QUESTION_TASK]
    groups: dict[str, list[Prediction]] = {}
    for row in spoken:
        name = row.question_type if row.task == QUESTION_TASK else row.task
        if name is not None:
            groups.setdefault(name, []).append(row)
    known = [name for name in QUESTION_TYPES if name in groups]
    ordered = {name: groups[name] for name in [*known, *sorted(set(groups) - set(known))]}
    return {**ordered, "all": questions} if questions else ordered


def _metrics(tallies: _Tallies, resamples: Resamples) -> dict:
    def scores(tally: Tally) -> dict:
        return {**tally.counts, **score_tally(tally, resamples)}

    def calibration(found: Calibration) -> dict:
        bins = [{"low": one.low, "high": one.high, **scores(one.tally)} for one in found.bins]
        return {**scores(found.tally), "bins": bins}

    return {
        "answers": {
            group: {"n": tally.counts["n"], **dict.fromkeys(text.METRICS), **score_tally(tally, resamples)}
            for group, tally in tallies.answers.items()
        },
        "changes": None if tallies.changes is None else scores(tallies.changes),
        **{part: {label: scores(tally) for label, tally in found.items()} for part, found in tallies.parts.items()},
        "calibration": None if tallies.calibration is None else calibration(tallies.calibration),
        "grounding": {task: scores(tally) for task, tally in tallies.grounding.items()},
    }


def _place_of_control(path: Path) -> tuple[int, str]:
    return (CONTROLS.index(path.stem) if path.stem in CONTROLS else len(CONTROLS), path.stem)
