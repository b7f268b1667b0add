"""The boxes of changes that a model states rightly, as lines of predictions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from diffvqa.boxes import Box, smallest_apart
from diffvqa.data.index import StoredImage
from diffvqa.data.store import Store
from diffvqa.evaluating.phrases import rounded, source_box
from diffvqa.evaluating.prediction_rows import Row
from diffvqa.findings import SHOWN_IN, Change, names_finding, read_changes
from diffvqa.inference.asking import Progress
from diffvqa.inference.finding_boxes import find_boxes
from diffvqa.models.captioner import Captioner
from diffvqa.models.folder import ModelFolder
from diffvqa.records import Question

MOST = 200
"""Changes whose boxes are looked at; drawn where there are more, for a captioner reads out each image many times."""

Lesions = Mapping[tuple[str, str], Sequence[Box]]
"""(image, finding) -> the boxes of what is there, in pixels of the file; known of synthetic patients alone."""


def predict_change_boxes(
    captioner: ModelFolder[Captioner],
    rows: Sequence[Row],
    questions: Sequence[Question],
    store: Store,
    features: Mapping[str, np.ndarray],
    lesions: Lesions,
    seed: int,
    progress: Progress | None = None,
    cluster: str | None = None,
) -> list[Row]:
    """Two rows for each rightly stated change and image that shows it: against the dataset's boxes, and the lesion's.

    rows: the model's answers; those to difference questions are looked at. features: of the captioner. The dataset's
    boxes are the smallest of those whose phrases name the finding (task CHANGE); a lesion's are its own (task LESION).
    """
    asked = {question.question_id: question for question in questions}
    right = [
        (asked[row["id"]], change)
        for row in rows
        if row["question_type"] == "difference"
        for change in sorted(_stated(row) & _true(row))
    ]
    if len(right) > MOST:
        chosen = np.random.default_rng(seed).choice(len(right), MOST, replace=False)
        right = [right[place] for place in sorted(chosen)]
    shown = [
        (question, change.finding, side, store.images[store.index[image]])
        for question, change in right
        for side, image in (("prior", question.pair.prior), ("current", question.pair.current))
        if side in SHOWN_IN[change.kind]
    ]
    wanted: dict[str, dict[str, None]] = defaultdict(dict)
    for _, finding, _, image in shown:
        wanted[image.image_id][finding] = None
    found = find_boxes(captioner, wanted, features, progress, cluster)
    made = []
    for question, finding, side, image in shown:
        boxes = [source_box(image, one.box) for one in found[image.image_id, finding]]
        references = {"CHANGE": _dataset_boxes(image, finding), "LESION": lesions.get((image.image_id, finding), ())}
        made += [
            {
                "id": f"{question.question_id}/{task}/{side}/{finding}",
                "task": task,
                "question": finding,
                "answer": "",
                "references": [],
                "boxes": [rounded(box) for box in boxes if box],
                "reference_boxes": [rounded(box) for box in true],
                "subject_id": question.subject_id,
            }
            for task, true in references.items()
            if true
        ]
    return made


def _stated(row: Row) -> set[Change]:
    return {Change(**change) for change in row["changes"] or ()}


def _true(row: Row) -> set[Change]:
    """The changes of all readings of the reference, or those that the truth has."""
    if "reference_changes" in row:
        return {Change(one["finding"], one["kind"], one["before"], one["after"]) for one in row["reference_changes"]}
    return set().union(*(reading for text in row["references"] for reading in read_changes(text)))


def _dataset_boxes(image: StoredImage, finding: str) -> list[Box]:
    named = (region for region in image.regions if any(names_finding(phrase, finding) for phrase in region.phrases))
    return smallest_apart(region.box for region in named)
