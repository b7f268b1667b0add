"""A cohort without the images that turned out to be missing or damaged, and without what was built on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from diffvqa.records import Cohort, Problem, Question, Source, Study


def without_images(cohort: Cohort, lost: Mapping[str, Problem]) -> Cohort:
    """The cohort without the images whose identifiers are lost, each with the problem that says why.

    Studies that lose their last image go too, and questions on a lost image, which are `question_without_image`.
    """
    if not lost:
        return cohort
    problems = [*cohort.problems, *lost.values()]
    studies = tuple(_studies(cohort, lost))
    return replace(
        cohort, studies=studies, questions=tuple(_questions(cohort, lost, problems)), problems=tuple(problems)
    )


def _studies(cohort: Cohort, lost: Mapping[str, Problem]) -> Iterator[Study]:
    for study in cohort.studies:
        images = tuple(image for image in study.images if image.image_id not in lost)
        if images:
            yield study if len(images) == len(study.images) else replace(study, images=images)


def _questions(cohort: Cohort, lost: Mapping[str, Problem], problems: list[Problem]) -> Iterator[Question]:
    for question in cohort.questions:
        if any(image in lost for image in question.pair.images):
            where = question.source or Source("questions")
            problems.append(Problem("question_without_image", where, "an image of it cannot be read"))
        else:
            yield question
