"""Counts of a cohort, and checks of its files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffvqa.data.index import StoredImage
from diffvqa.data.mending import fit_to_file
from diffvqa.data.problems import count_kinds, left_out, notes
from diffvqa.data.pruning import without_images
from diffvqa.data.splits import shared_patients
from diffvqa.data.store import Store
from diffvqa.images import Seen, UnreadableImage
from diffvqa.images.header import require_suitable
from diffvqa.images.radiograph import Radiograph
from diffvqa.images.undecoded import seen_whole
from diffvqa.records import QUESTION_TYPES, SPLITS, Cohort, Image, Problem, Source, Study
from diffvqa.workers import usable_cores

OTHER = "other"
"""The name under which questions of unknown types are counted."""


def summarise(cohort: Cohort) -> dict[str, Any]:
    """Count images, patients, studies, pairs with a prior, boxes, questions, splits and problems of a cohort.

    Images and patients count in the split of their studies, questions in their own split.
    """
    # A type that is not known is not named: a column that has slipped may hold anything.
    types = Counter(one.type if one.type in QUESTION_TYPES else OTHER for one in cohort.questions)
    of_split = {name: [study for study in cohort.studies if study.split == name] for name in SPLITS}
    shared = shared_patients(cohort)
    question_splits = Counter(question.split for question in cohort.questions)
    return {
        "images": sum(len(study.images) for study in cohort.studies),
        "patients": len({study.subject_id for study in cohort.studies}),
        "studies": len(cohort.studies),
        "pairs": len({question.pair for question in cohort.questions if question.pair.prior is not None}),
        "boxes": sum(len(image.regions) for study in cohort.studies for image in study.images),
        "questions": {name: types[name] for name in (*QUESTION_TYPES, OTHER) if name in types},
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


def summarise_store(store: Store) -> dict[str, Any]:
    """The same counts of a store, with the problems that were met in preparing it."""
    studies: dict[tuple[str, str], list[StoredImage]] = defaultdict(list)
    for image in store.images:
        studies[image.subject_id, image.study_id].append(image)
    cohort = Cohort(tuple(_study(images) for images in studies.values()), tuple(store.questions))
    return {**summarise(cohort), "problems": store.problems}


def _study(images: Sequence[StoredImage]) -> Study:
    first = images[0]
    # The places of their files are not recorded.
    of_study = (Image(one.image_id, Path(one.image_id), one.width, one.height, one.view, one.regions) for one in images)
    return Study(first.study_id, first.subject_id, first.order, first.split, tuple(of_study))


def check_files(cohort: Cohort, deep: bool = False) -> Cohort:
    """The cohort without the image files that are missing or damaged, judged by header and end marker.

    deep: every file is decoded to its end. What is left out or remarked, and images of another size than their dataset
    says, are added to the cohort's problems.
    """
    images = [image for study in cohort.studies for image in study.images]

    def check(image: Image) -> Problem | Seen:
        where = Source(image.file)
        if not image.path.is_file():
            return Problem("image_missing", where, "the image file is not there")
        try:
            if not deep:
                return seen_whole(image.path)
            radiograph = Radiograph.from_file(image.path)
            require_suitable(radiograph.header, radiograph.orientation)
            remarks = tuple(radiograph.header.remarks()) if radiograph.header else ()
            return Seen(radiograph.frame.width, radiograph.frame.height, remarks)
        except UnreadableImage as error:
            return left_out(image, str(error))

    lost: dict[str, Problem] = {}
    remarked: list[Problem] = []
    # Reading and decoding both leave the interpreter's lock, so threads are enough.
    with ThreadPoolExecutor(max_workers=min(8, usable_cores())) as pool:
        for image, found in zip(images, pool.map(check, images), strict=True):
            if isinstance(found, Problem):
                lost[image.image_id] = found
            else:
                remarked += notes(image, found.remarks)
                fit_to_file(image, (found.width, found.height), remarked)
    checked = without_images(cohort, lost)
    return replace(checked, problems=(*checked.problems, *remarked)) if remarked else checked
