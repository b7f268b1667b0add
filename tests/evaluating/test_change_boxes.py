"""Which boxes of changes are scored, and against what."""

from types import SimpleNamespace

import pytest

from diffvqa.boxes import Box, Frame
from diffvqa.evaluating import change_boxes
from diffvqa.evaluating.change_boxes import predict_change_boxes
from diffvqa.evaluating.questions import question_row
from diffvqa.findings import DIFFERENCE_QUESTION, Change, write_changes
from diffvqa.inference.finding_boxes import FindingBox
from diffvqa.records import Pair, Question, Region

# Files of 200 x 100 pixels in a square of 100: half as large, with a border of 25 above.
LUNG, BASE = Box(100, 10, 180, 90), Box(110, 60, 180, 90)
IN_SQUARE = Box(55, 55, 90, 70)
ADDED, MISSING = Change("pleural effusion", "added"), Change("edema", "missing")
LEVEL = Change("atelectasis", "level", "mild", "severe")


@pytest.fixture
def store():
    regions = (
        Region(LUNG, "left lung", ("a left pleural effusion.", "no edema.", "mild atelectasis.")),
        Region(BASE, "left lower lung zone", ("a left pleural effusion.", "mild atelectasis.")),
    )
    images = [
        SimpleNamespace(image_id=name, regions=regions, frame=Frame.letterbox(200, 100, 100), width=200, height=100)
        for name in ("before", "now")
    ]
    return SimpleNamespace(images=images, index={"before": 0, "now": 1})


@pytest.fixture
def rows(store, monkeypatch):
    """The rows of boxes, by task, of an answer to a question about one pair; every finding is seen in one place."""
    asked_for = []

    def find(captioner, asked, features, progress=None, cluster=None):
        asked_for.append({image: list(findings) for image, findings in asked.items()})
        return {(image, name): (FindingBox(IN_SQUARE, name),) for image, names in asked.items() for name in names}

    monkeypatch.setattr(change_boxes, "find_boxes", find)

    def predict(stated, true, lesions=None):
        pair = Pair("now", "before")
        question = Question("q", "s", "difference", pair, DIFFERENCE_QUESTION, write_changes(true), "test")
        made = [question_row(question, write_changes(stated))]
        return predict_change_boxes(None, made, [question], store, {}, lesions or {}, 0), asked_for[-1]

    return predict


def test_a_right_change_is_held_against_the_smallest_box_in_pixels_of_the_file(rows):
    (row,), _ = rows([ADDED], [ADDED])
    assert row["task"] == "CHANGE"
    assert (row["question"], row["subject_id"]) == ("pleural effusion", "s")
    assert row["boxes"] == [[110.0, 60.0, 180.0, 90.0]]
    assert row["reference_boxes"] == [list(BASE.as_tuple())]


def test_what_is_wrong_or_not_stated_is_not_looked_for(rows):
    made, asked = rows([ADDED], [MISSING])
    assert (made, asked) == ([], {})


def test_a_change_is_looked_for_in_the_images_that_show_it(rows):
    made, asked = rows([ADDED, MISSING, LEVEL], [ADDED, MISSING, LEVEL])
    assert asked == {"before": ["atelectasis", "edema"], "now": ["atelectasis", "pleural effusion"]}
    # The dataset denies an edema: it has no box of it.
    assert [row["id"] for row in made] == [
        "q/CHANGE/prior/atelectasis", "q/CHANGE/current/atelectasis", "q/CHANGE/current/pleural effusion"
    ]  # fmt: skip


def test_lesions_have_rows_of_their_own(rows):
    made, _ = rows([ADDED, MISSING], [ADDED, MISSING], {("before", "edema"): [LUNG], ("now", "nodule"): [BASE]})
    assert [(row["task"], row["question"], row["reference_boxes"]) for row in made] == [
        ("LESION", "edema", [list(LUNG.as_tuple())]),
        ("CHANGE", "pleural effusion", [list(BASE.as_tuple())]),
    ]
