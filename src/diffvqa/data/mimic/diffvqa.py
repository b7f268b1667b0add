"""Medical-Diff-VQA: questions on one image or on a pair, checked against the times of the studies."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from diffvqa.cells import has_words
from diffvqa.data.mimic.jpg import SPLITS
from diffvqa.data.rows import find_table, identifier, read_rows
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
    columns = ("study_id", "ref_id", "question_type", "question", "answer", "split")
    for number, row in read_rows(path, columns, problems, once=True):
        where = Source(path.name, number)
        kind, split = row["question_type"].lower(), SPLITS.get(row["split"].lower(), "")
        text, answer = " ".join(row["question"].split()), " ".join(row["answer"].split())
        current = identifier(row["study_id"])
        # Every row names a reference; it means something in difference rows only.
        prior = identifier(row["ref_id"]) if kind == "difference" else None
        if not has_words(answer):
            problems.append(Problem("answer_empty", where, "the row has no answer"))
        elif not text or not kind:
            problems.append(Problem("row_incomplete", where, "the row has no question or no type"))
        elif not split:
            problems.append(Problem("split_unknown", where, f"expected one of {', '.join(SPLITS)}"))
        elif current not in by_id or (prior is not None and prior not in by_id):
            reason = "a study of the question has no frontal image that is there"
            problems.append(Problem("question_without_image", where, reason))
        elif prior == current:
            problems.append(Problem("pair_of_one_study", where, "the reference is the study itself"))
        elif prior is not None and by_id[prior].subject_id != by_id[current].subject_id:
            problems.append(Problem("pair_of_two_patients", where, "the two studies belong to different patients"))
        else:
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
