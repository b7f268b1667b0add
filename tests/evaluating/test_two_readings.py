"""The control that reads two images one by one, and compares what it has read."""

import pytest

from diffvqa.evaluating import controls
from diffvqa.evaluating.controls import two_readings
from diffvqa.findings import (
    ABNORMALITIES_QUESTION,
    ANY_ABNORMALITY_QUESTION,
    DIFFERENCE_QUESTION,
    Change,
    level_question,
    write_changes,
)
from diffvqa.inference import image_findings
from diffvqa.inference.asking import WrittenAnswer
from diffvqa.records import Pair, Question

SAID = {
    ("before", ANY_ABNORMALITY_QUESTION): "yes.",
    ("before", ABNORMALITIES_QUESTION): "edema, pleural effusion.",
    ("before", level_question("edema")): "mild.",
    ("before", level_question("pleural effusion")): "small",
    ("now", ANY_ABNORMALITY_QUESTION): "yes.",
    ("now", ABNORMALITIES_QUESTION): "edema, hernia.",
    ("now", level_question("edema")): "severe",
    ("now", level_question("hernia")): "",
    ("again", ANY_ABNORMALITY_QUESTION): "yes.",
    ("again", ABNORMALITIES_QUESTION): "hernia, edema.",
    ("again", level_question("edema")): "severe.",
    ("again", level_question("hernia")): "small",
    ("clear", ANY_ABNORMALITY_QUESTION): "no.",
    ("clear", ABNORMALITIES_QUESTION): "nodule.",
}


@pytest.fixture(autouse=True)
def model(monkeypatch):
    """A model that says fixed words of each image."""

    def answer(folder, questions, features, beams=1, cluster=None):
        return [WrittenAnswer(SAID[pair.current, text], 0.9) for pair, text in questions]

    monkeypatch.setattr(controls, "answer_questions", answer)
    monkeypatch.setattr(image_findings, "answer_questions", answer)


def asked(number, current, prior, text=DIFFERENCE_QUESTION):
    return Question(str(number), "s", "difference", Pair(current, prior), text, "nothing has changed.", "test")


def test_two_lists_of_findings_with_their_levels_are_compared():
    questions = [
        asked(1, "now", "before"),
        asked(2, "before", "now"),
        asked(3, "clear", "before"),
        asked(4, "now", "again"),
    ]
    rows = two_readings(None, questions, dict.fromkeys(("before", "now", "clear", "again")))
    edema = Change("edema", "level", "mild", "severe"), Change("edema", "level", "severe", "mild")
    assert [row["answer"] for row in rows] == [
        write_changes([edema[0], Change("hernia", "added"), Change("pleural effusion", "missing")]),
        write_changes([edema[1], Change("hernia", "missing"), Change("pleural effusion", "added")]),
        write_changes([Change("edema", "missing"), Change("pleural effusion", "missing")]),
        write_changes([]),
    ]
    assert [row["id"] for row in rows] == ["1", "2", "3", "4"]


def test_a_question_about_a_part_of_the_images_is_left_out():
    assert two_readings(None, [asked(1, "now", "before", "what has changed in the left lung?")], {}) == []
