"""Earlier images of the same patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from diffvqa.data.index import StoredImage
from diffvqa.data.store import Store
from diffvqa.records import Question


def with_earlier(questions: Iterable[Question], store: Store, count: int) -> list[Question]:
    """The questions, their pairs completed with up to `count` images from before the prior, the nearest first.

    One image a study, taken in the prior's view where the study has one.
    """
    if count == 0:
        return list(questions)
    of_patient: dict[str, list[StoredImage]] = defaultdict(list)
    for image in store.images:
        of_patient[image.subject_id].append(image)
    return [_completed(question, store, of_patient[question.subject_id], count) for question in questions]


def _completed(question: Question, store: Store, images: list[StoredImage], count: int) -> Question:
    pair = question.pair
    if pair.prior is None:
        return question
    prior = store.images[store.index[pair.prior]]
    studies: dict[str, list[StoredImage]] = defaultdict(list)
    for image in sorted(images, key=lambda image: (-image.order, image.image_id)):
        if image.order < prior.order and image.image_id != pair.current:
            studies[image.study_id].append(image)
    chosen = [min(found, key=lambda image: image.view != prior.view).image_id for found in studies.values()]
    return replace(question, pair=replace(pair, earlier=tuple(chosen[:count])))
