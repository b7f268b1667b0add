import pytest

from diffvqa.data.chronology import settle_pairs
from diffvqa.records import Cohort, Image, Pair, Question, Source, Study

WHAT = "what has changed compared to the reference image?"


def _cohort(*pairs, orders=(1.0, 2.0, 2.0)):
    """Images a, b, c of one patient; pairs: (prior, current, answer)."""
    studies = tuple(
        Study(name, "p", order, "train", (Image(name, f"{name}.png", 10, 10),))
        for name, order in zip("abc", orders, strict=True)
    )
    questions = tuple(
        Question(str(row), "p", "difference", Pair(current, prior), WHAT, answer, "train", Source("q.csv", row))
        for row, (prior, current, answer) in enumerate(pairs, start=2)
    )
    return Cohort(studies, questions)


ADDED = "the main image has an additional finding of edema than the reference image."
MISSING = "the main image is missing the finding of edema than the reference image."


def test_pairs_in_order_stay_and_ties_are_counted():
    cohort = _cohort(("a", "b", ADDED), ("b", "c", ADDED))
    settled = settle_pairs(cohort)
    assert settled.questions == cohort.questions
    assert [(one.kind, one.source) for one in settled.problems] == [("pair_tied", ("q.csv", 3))]


def test_reversed_pairs_are_dropped_or_turned():
    cohort = _cohort(("b", "a", ADDED))
    assert settle_pairs(cohort).questions == ()
    (turned,) = settle_pairs(cohort, "turn").questions
    assert (turned.pair, turned.answer) == (Pair(current="b", prior="a"), MISSING)
    for choice in ("drop", "turn"):
        assert [one.kind for one in settle_pairs(cohort, choice).problems] == ["pair_reversed"]


def test_turning_twice_gives_the_same_question():
    cohort = _cohort(("b", "a", f"the level of edema has changed from mild to severe. {MISSING}"))
    once = settle_pairs(cohort, "turn")
    again = settle_pairs(Cohort(_cohort(orders=(2.0, 1.0, 1.0)).studies, once.questions), "turn")
    assert [one.answer for one in again.questions] == [one.answer for one in cohort.questions]


@pytest.mark.parametrize(
    "answer", ["quite different", "the level of edema has changed from mild to moderate to severe."]
)
def test_what_cannot_be_turned_is_left_out_and_counted(answer):
    settled = settle_pairs(_cohort(("b", "a", answer)), "turn")
    assert settled.questions == ()
    assert [one.kind for one in settled.problems] == ["pair_reversed"]


def test_a_pair_asked_both_ways_is_asked_once():
    settled = settle_pairs(_cohort(("a", "b", MISSING), ("b", "a", ADDED)), "turn")
    assert [one.question_id for one in settled.questions] == ["2"]
    assert len(settled.problems) == 1
