"""A question and the images that it is about, as a model has seen them, and what speaks against an answer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from diffvqa.answering import comparable
from diffvqa.answering.wordings import as_learnt, question_type
from diffvqa.errors import InputError, require_text
from diffvqa.findings import ABNORMALITIES_QUESTION, CHANGE, DIFFERENCE_QUESTION
from diffvqa.images.header import Header
from diffvqa.images.orientation import Orientation
from diffvqa.inference.input_check import OOD_REFUSAL, OOD_WARNING
from diffvqa.inference.model import EncodedImage

LONGEST_QUESTION = 500

ONE_IMAGE = "the question is about one image: the model is shown the current image alone"
"""The warning where others are given."""

FREE_WORDS = "the question is not in the words of Medical-Diff-VQA: how sure the model is of its answer is not known"
"""The warning where a question has no type."""

NOT_CHECKED = "whether the images are like the training data is not checked: it was not measured of this model"
"""The warning where a model has no input check."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question about images by their names (current, prior, prior 2, ...), looked at beforehand.

    warnings: what a reader should know. reason: why the images allow no answer, or None.
    """

    question: str
    images: Mapping[str, EncodedImage]
    warnings: tuple[str, ...]
    reason: str | None


def make_case(
    images: Mapping[str, EncodedImage], question: str | None, trust_order: bool = False, trust_identity: bool = False
) -> Case:
    """A case of images by their names, current first, then each the one before.

    Raises InputError if headers contradict the order or the identity, unless these are to be trusted. It also does so
    if two images are the same picture, and for a question that cannot be asked.
    """
    asked = read_question(question, alone=len(images) == 1)
    for (name, one), (other, another) in itertools.combinations(images.items(), 2):
        if one.digest == another.digest:
            raise InputError(
                f"{{{name}}} and {{{other}}} show the same picture; give different radiographs", mentions=(name, other)
            )
    headers = {name: image.header for name, image in images.items()}
    warnings = [*comparable.check_identity(headers, trust_identity), *comparable.check_order(headers, trust_order)]
    kind = question_type(asked)
    if kind is None:
        warnings.append(FREE_WORDS)
    elif kind != "difference" and len(images) > 1:
        warnings.append(ONE_IMAGE)
    of_images, reason = look_at(
        headers,
        {name: image.frame.orientation for name, image in images.items()},
        {name: image.out_of_distribution for name, image in images.items()},
    )
    return Case(asked, images, (*warnings, *of_images), reason)


def look_at(
    headers: Mapping[str, Header | None],
    orientations: Mapping[str, Orientation],
    scores: Mapping[str, float | None],
) -> tuple[list[str], str | None]:
    """Warnings about images, given by name, and the reason why they allow no answer, or None.

    scores: the out-of-distribution score of each image; None if it was not measured.
    """
    warnings = [*comparable.check_views(headers), *comparable.check_orientation(orientations)]
    if None in scores.values():
        warnings.append(NOT_CHECKED)
    unlike = {
        f"{name}: looks unlike the images that the model was trained on": score
        for name, score in scores.items()
        if score is not None and score > OOD_WARNING
    }
    warnings += [text for text, score in unlike.items() if score <= OOD_REFUSAL]
    reasons = comparable.why_not(headers)
    reasons += [text for text, score in unlike.items() if score > OOD_REFUSAL]
    return warnings, "; ".join(reasons) or None


def read_question(question: str | None, alone: bool) -> str:
    """The question as the model is asked it, about one image (alone) or several. Raises InputError."""
    if question is None:
        return ABNORMALITIES_QUESTION if alone else DIFFERENCE_QUESTION
    require_text(question, "question")
    question = as_learnt(question)
    if not question or len(question) > LONGEST_QUESTION:
        raise InputError(f"expected 1 to {LONGEST_QUESTION} characters, found {len(question)}", argument="question")
    if alone and question.startswith(CHANGE):
        raise InputError(
            "asks about a change and needs two radiographs; give {prior}, too",
            argument="question",
            mentions=("prior",),
        )
    return question
