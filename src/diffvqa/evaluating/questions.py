"""The model's answers to questions of a split, as lines of predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from diffvqa.evaluating.prediction_rows import Row
from diffvqa.findings import read_changes, turn_round
from diffvqa.inference.asking import Progress, answer_questions
from diffvqa.inference.confidence import ConfidenceScale
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import ModelFolder
from diffvqa.records import Pair, Question


def predict_answers(
    folder: ModelFolder[DifferenceModel],
    questions: Sequence[Question],
    features: Mapping[str, np.ndarray],
    progress: Progress | None = None,
    beams: int = 1,
    cluster: str | None = None,
) -> tuple[list[Row], list[Row]]:
    """The model's rows for these questions, and the rows of the control `exchanged`.

    The control is the same model shown prior and current image the other way round, and its answer turned round. It has
    rows only for difference questions about two images; an answer that cannot be turned round is empty. Both are asked
    together, because a model that weighs changes reads both orders for either. cluster: the address of a Ray cluster
    that answers.
    """
    asked = []
    for question in questions:
        asked.append((question.pair, question.text))
        if exchanged := _exchanged(question):
            asked.append(exchanged)
    written = answer_questions(folder, asked, features, progress, beams, cluster)
    answers = dict(zip(asked, written, strict=True))
    rows, controls = [], []
    for question in questions:
        answer = answers[question.pair, question.text]
        row = {**question_row(question, answer.text), "confidence": round(answer.confidence, 6)}
        rows.append(row if answer.changed is None else {**row, "changed": round(answer.changed, 6)})
        if exchanged := _exchanged(question):
            controls.append(question_row(question, turn_round(answers[exchanged].text) or ""))
    return rows, controls


def _exchanged(question: Question) -> tuple[Pair, str] | None:
    """A difference question about two images with these the other way round; None for other questions."""
    pair = question.pair
    if question.type != "difference" or pair.prior is None or pair.earlier:
        return None
    return Pair(current=pair.prior, prior=pair.current), question.text


def rescaled(rows: Iterable[Row], scale: ConfidenceScale) -> list[Row]:
    """The rows, the confidence of answers to difference questions being the probability that they are right."""
    return [
        {**row, "confidence": round(scale.probability(row["confidence"]), 6)}
        if row["question_type"] == "difference"
        else row
        for row in rows
    ]


def flagged(rows: Iterable[Row], threshold: float) -> list[Row]:
    """The rows; those that say how probable any change is say too whether the pair is flagged."""
    return [{**row, "flagged": row["changed"] >= threshold} if "changed" in row else row for row in rows]


def question_row(question: Question, answer: str) -> Row:
    """The line of an answer to a question; of a difference question with the changes that it states."""
    row: Row = {
        "id": question.question_id,
        "task": "question",
        "question_type": question.type,
        "question": question.text,
        "answer": answer,
        "references": [question.answer],
        "subject_id": question.subject_id,
    }
    if question.type == "difference":
        readings = read_changes(answer)
        row["changes"] = [asdict(change) for change in sorted(readings[0])] if readings else None
    return row
