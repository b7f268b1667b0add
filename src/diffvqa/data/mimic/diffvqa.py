"""Medical-Diff-VQA: questions on one image or on a pair, checked against the times of the studies."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from diffvqa.data.mimic.jpg import SPLITS, identifier
from diffvqa.data.rows import find_table, read_rows
from diffvqa.errors import InputError
from diffvqa.records import QUESTION_TYPES, Pair, Problem, Question, Source, Study


def read_questions(root: Path, studies: Iterable[Study], problems: list[Problem]) -> list[Question]:
    """The questions whose images are among those of `studies`, in the order of the table even where it is reversed.

    `problems` gets what is skipped or doubtful.

    Raises InputError for a missing column.
    """
    path = find_table(root, "mimic_pair_questions.csv", "mimic_pair_questions.csv.gz")
    if path is None:
        raise InputError("mimic:diffvqa: no mimic_pair_questions.csv in the folder given; give medical-diff-vqa")
    by_id = {study.study_id: study for study in studies}
    images = _frontal_images(root, by_id, problems)
    questions: list[Question] = []
    seen: set[int] = set()
    columns = ("study_id", "ref_id", "question_type", "question", "answer", "split")
    for number, row in read_rows(path, columns, problems):
        where = Source(path.name, number)
        kind, split = row["question_type"].lower(), SPLITS.get(row["split"].lower(), "")
        text, answer = " ".join(row["question"].split()), " ".join(row["answer"].split())
        current = identifier(row["study_id"])
        # Every row names a reference; it means something in difference rows only.
        prior = identifier(row["ref_id"]) if kind == "difference" else None
        # Of 700,000 rows a hash each is kept, not the text.
        key = hash(tuple(row.values()))
        skipped = _reason_to_skip(key in seen, kind, text, answer, split, current, prior, by_id)
        seen.add(key)
        if skipped:
            problems.append(Problem(skipped[0], where, skipped[1]))
            continue
        if kind not in QUESTION_TYPES:
            problems.append(Problem("question_type_unknown", where, f"type {kind!r} is kept"))
        questions.append(
            Question(
                question_id=f"{current}-{number}",
                subject_id=by_id[current].subject_id,
                type=sys.intern(kind),
                pair=Pair(current=images[current], prior=None if prior is None else images[prior]),
                # Few different ones among many rows: each is kept once.
                text=sys.intern(text),
                answer=sys.intern(answer),
                split=split,
                source=where,
            )
        )
    return questions


def _reason_to_skip(
    duplicated: bool,
    kind: str,
    text: str,
    answer: str,
    split: str,
    current: str,
    prior: str | None,
    studies: dict[str, Study],
) -> tuple[str, str] | None:
    """(kind of problem, reason) for a row that cannot become a question, or None."""
    if duplicated:
        return "row_duplicated", "the same row stands above"
    if answer.lower() in ("", "nan"):
        return "answer_empty", "the row has no answer"
    if not text or not kind:
        return "row_incomplete", "the row has no question or no type"
    if not split:
        return "split_unknown", f"expected one of {', '.join(SPLITS)}"
    if any(study_id not in studies for study_id in (current, prior) if study_id is not None):
        return "question_without_image", "a study of the question has no frontal image that is there"
    if prior is None:
        return None
    if prior == current:
        return "pair_of_one_study", "the reference is the study itself"
    if studies[prior].subject_id != studies[current].subject_id:
        return "pair_of_two_patients", "the two studies belong to different patients"
    return None


def _frontal_images(root: Path, studies: dict[str, Study], problems: list[Problem]) -> dict[str, str]:
    """Study -> the image that its questions are about: the one the dataset names if frontal, else its first."""
    images = {study_id: study.images[0].image_id for study_id, study in studies.items()}
    path = find_table(root, "mimic_all.csv", "mimic_all.csv.gz")
    if path is None:
        problems.append(
            Problem("part_missing", Source("mimic_all.csv"), "each study's first frontal image is taken instead")
        )
        return images
    seen: set[str] = set()
    for number, row in read_rows(path, ("study_id", "dicom_id"), problems):
        study_id = identifier(row["study_id"])
        if study_id in seen:
            problems.append(Problem("row_duplicated", Source(path.name, number), "the study has a row already"))
            continue
        seen.add(study_id)
        study = studies.get(study_id)
        if study and any(image.image_id == row["dicom_id"] for image in study.images):
            images[study_id] = row["dicom_id"]
    return images
