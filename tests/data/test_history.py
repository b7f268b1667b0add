"""Earlier images of the same patient: before the prior, the nearest first, one a study."""

from types import SimpleNamespace

import pytest

from diffvqa.data.history import with_earlier
from diffvqa.data.store import Store
from diffvqa.records import Pair, Question


def store():
    """One patient with four studies, the second in two views, and another patient."""
    rows = [("p", 1, "a", "PA"), ("p", 2, "b-ap", "AP"), ("p", 2, "b", "PA"), ("p", 3, "c", "PA"), ("p", 4, "d", "PA")]
    rows.append(("q", 1, "x", "PA"))
    images = [
        SimpleNamespace(subject_id=subject, order=float(order), study_id=f"{subject}{order}", image_id=name, view=view)
        for subject, order, name, view in rows
    ]
    return SimpleNamespace(images=images, index={image.image_id: place for place, image in enumerate(images)})


def ask(current, prior):
    return Question("1", "p", "difference", Pair(current, prior), "what has changed?", "nothing.", "train")


@pytest.mark.parametrize(
    ("current", "prior", "count", "earlier"),
    [
        ("d", "c", 2, ("b", "a")),
        ("d", "c", 1, ("b",)),
        ("d", "b-ap", 3, ("a",)),
        ("d", "a", 3, ()),
        ("d", "c", 0, ()),
    ],
)
def test_what_came_before_the_prior(current, prior, count, earlier):
    (question,) = with_earlier([ask(current, prior)], store(), count)
    assert question.pair == Pair(current, prior, earlier)


def test_a_question_on_one_image_stays_so():
    asked = Question("1", "p", "presence", Pair("d"), "is there edema?", "no", "train")
    assert with_earlier([asked], store(), 2) == [asked]


def test_a_store_knows_the_order_of_studies(store_folder):
    opened = Store.open(store_folder)
    differences = [question for question in opened.questions if question.type == "difference"]
    found = with_earlier(differences, opened, 2)
    assert any(question.pair.earlier for question in found)
    for question in found:
        orders = [opened.images[opened.index[image]].order for image in question.pair.images]
        assert orders == sorted(orders, reverse=True)
        subjects = {opened.images[opened.index[image]].subject_id for image in question.pair.images}
        assert subjects == {question.subject_id}
