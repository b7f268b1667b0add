"""Places of findings from phrases that a captioner reads out again and again."""

import pytest

from diffvqa.boxes import Box
from diffvqa.inference import finding_boxes
from diffvqa.inference.finding_boxes import FindingBox, find_boxes

LEFT_LUNG, LEFT_BASE, RIGHT_BASE, HEART = (
    Box(70, 10, 110, 100),
    Box(72, 70, 110, 100),
    Box(10, 70, 50, 100),
    Box(40, 60, 90, 100),
)


def moved(box, by):
    return Box(*(corner + by for corner in box.as_tuple()))


@pytest.fixture
def places(monkeypatch):
    """The places of a finding in an image of which these phrases are read out, each (phrase, box, how often)."""

    def find(*said, finding="pleural effusion"):
        read = [FindingBox(moved(box, number / 10), phrase) for phrase, box, times in said for number in range(times)]
        monkeypatch.setattr(finding_boxes, "_read_images", lambda captioner, images, features: [read] * len(images))
        return find_boxes(None, {"a": [finding]}, {})["a", finding]

    return find


def corners(places):
    return [pytest.approx(one.box.as_tuple(), abs=1.1) for one in places]


def test_a_box_is_the_middle_of_what_is_said_again_and_again(places):
    (found,) = places(("small left pleural effusion", LEFT_BASE, 5))
    assert found == FindingBox(moved(LEFT_BASE, 0.2), "small left pleural effusion")


def test_what_denies_a_finding_or_names_another_places_nothing(places):
    assert places(("no pleural effusion", LEFT_BASE, 9), ("left lower lung nodule", LEFT_BASE, 9)) == ()


def test_the_smallest_box_in_each_place_is_taken(places):
    found = places(("left pleural effusion", LEFT_LUNG, 6), ("left pleural effusion", LEFT_BASE, 4))
    assert [LEFT_BASE.as_tuple()] == corners(found)


def test_a_side_that_is_said_more_often_is_taken_and_both_where_both_are(places):
    left, right = ("left pleural effusion", LEFT_BASE, 6), ("right pleural effusion", RIGHT_BASE, 4)
    assert [LEFT_BASE.as_tuple()] == corners(places(left, right))
    both = places(("bilateral pleural effusions", LEFT_BASE, 6), ("pleural effusions on both sides", RIGHT_BASE, 4))
    assert [LEFT_BASE.as_tuple(), RIGHT_BASE.as_tuple()] == corners(both)


def test_what_is_said_once_in_ten_times_is_no_place(places):
    found = places(("cardiomegaly", HEART, 9), ("cardiomegaly", RIGHT_BASE, 1), finding="cardiomegaly")
    assert [HEART.as_tuple()] == corners(found)


def test_an_image_without_findings_is_not_read(monkeypatch):
    monkeypatch.setattr(finding_boxes, "_read_images", lambda *_: pytest.fail("read"))
    assert find_boxes(None, {"a": []}, {}) == {}
