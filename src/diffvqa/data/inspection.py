"""What is in a cohort, counted, and whether its files are whole."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from diffvqa.data.headers import why_incomplete
from diffvqa.data.problems import count_kinds
from diffvqa.data.pruning import without_images
from diffvqa.data.splits import shared_patients
from diffvqa.images import UnreadableImage, read_image
from diffvqa.records import QUESTION_TYPES, SPLITS, Cohort, Image, Problem, Source


def summarise(cohort: Cohort) -> dict[str, Any]:
    """Counts of everything: images, patients, studies, pairs with a prior, boxes, questions, splits, problems.

    Images and patients are counted in the split of their studies, questions in their own.
    """
    types = Counter(question.type for question in cohort.questions)
    order = [*(name for name in QUESTION_TYPES if name in types), *sorted(set(types) - set(QUESTION_TYPES))]
    of_split = {name: [study for study in cohort.studies if study.split == name] for name in SPLITS}
    shared = shared_patients(cohort)
    question_splits = Counter(question.split for question in cohort.questions)
    return {
        "images": sum(len(study.images) for study in cohort.studies),
        "patients": len({study.subject_id for study in cohort.studies}),
        "studies": len(cohort.studies),
        "pairs": len({question.pair for question in cohort.questions if question.pair.prior is not None}),
        "boxes": sum(len(image.regions) for study in cohort.studies for image in study.images),
        "questions": {name: types[name] for name in order},
        "splits": {
            name: {
                "images": sum(len(study.images) for study in studies),
                "patients": len({study.subject_id for study in studies}),
                "questions": question_splits[name],
            }
            for name, studies in of_split.items()
        },
        "shared_patients": shared.pop("any"),
        "shared": shared,
        "problems": count_kinds(cohort.problems),
    }


def check_files(cohort: Cohort, deep: bool = False) -> Cohort:
    """The cohort without the image files that are missing or damaged, judged by header and end marker.

    deep: every file is decoded to its end. What is left out is added to the cohort's problems.
    """
    images = [image for study in cohort.studies for image in study.images]

    def check(image: Image) -> Problem | None:
        where = Source(image.path.name)
        if not image.path.is_file():
            return Problem("image_missing", where, "the image file is not there")
        reason = _decode(image.path) if deep else why_incomplete(image.path)
        return Problem("image_unreadable", where, reason) if reason else None

    # Reading and decoding both leave the interpreter's lock, so threads are enough.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        found = zip(images, pool.map(check, images), strict=True)
        lost = {image.image_id: problem for image, problem in found if problem is not None}
    return without_images(cohort, lost)


def _decode(path: Path) -> str | None:
    try:
        read_image(path)
    except UnreadableImage as error:
        return str(error)
    return None
