"""The truth about pairs: the prior image was taken before the current one, or the question is mended or left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from diffvqa.findings import turn_round
from diffvqa.records import Cohort, Pair, Problem, Question, Source

ReversedPairs = Literal["drop", "turn"]
"""Ways to treat a question whose prior image is the later one: leave it out, or turn it round with its answer."""


def settle_pairs(cohort: Cohort, reversed_pairs: ReversedPairs = "drop") -> Cohort:
    """The cohort with every pair in the order of time, as the studies' dates and times say.

    Reversed pairs are dropped or turned round, and ties kept as they stand; `pair_reversed` and `pair_tied` in the
    cohort's problems count them. A question is not turned where
    the same is asked of the pair in its right order.
    """
    order = {image.image_id: study.order for study in cohort.studies for image in study.images}
    problems: list[Problem] = []
    questions = tuple(_settle(cohort.questions, order, reversed_pairs, problems))
    return replace(cohort, questions=questions, problems=(*cohort.problems, *problems))


def _settle(
    questions: tuple[Question, ...], order: dict[str, float], reversed_pairs: ReversedPairs, problems: list[Problem]
) -> Iterator[Question]:
    asked = {(question.pair, question.text) for question in questions} if reversed_pairs == "turn" else set()
    for question in questions:
        prior, current = question.pair.prior, question.pair.current
        if prior is None or order[prior] < order[current]:
            yield question
            continue
        where = question.source or Source("questions")
        if order[prior] == order[current]:
            reason = "both images have the same time, or one of the same day has none; the order given is kept"
            problems.append(Problem("pair_tied", where, reason))
            yield question
            continue
        pair, answer = Pair(current=prior, prior=current), turn_round(question.answer)
        if reversed_pairs == "drop":
            outcome = "left out"
        elif answer is None:
            outcome = "left out, for its answer has no reading or several"
        elif (pair, question.text) in asked:
            outcome = "left out, for the same is asked of the pair in the right order"
        else:
            outcome = "turned round, with its answer"
            yield replace(question, pair=pair, answer=answer)
        problems.append(Problem("pair_reversed", where, f"the prior image is the later one: {outcome}"))
