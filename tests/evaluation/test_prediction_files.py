"""Predictions files: what is read, and what is refused with the line and the field."""

import json

import pytest

from diffvqa.errors import InputError
from diffvqa.evaluation.predictions import read_predictions
from diffvqa.findings import Change

GOOD = {"id": "a", "answer": "yes", "references": ["no"]}


def write(tmp_path, *rows):
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_full_line_is_read(tmp_path):
    row = {
        **GOOD,
        "id": 7,
        "task": "CAREF",
        "subject_id": 12,
        "confidence": 1,
        "changes": [{"finding": " Infection ", "kind": "level", "before": "Mild", "after": "severe"}],
        "reference_changes": [],
        "boxes": [[0, 1, 2, 3]],
        "reference_boxes": [[0, 0, 2, 2]],
        "something_else": {"is": "passed over"},
    }
    (prediction,) = read_predictions(write(tmp_path, row, ""))
    assert (prediction.id, prediction.subject_id, prediction.confidence) == ("7", "12", 1.0)
    assert prediction.changes == {Change("pneumonia", "level", "mild", "severe")}
    assert prediction.reference_changes == frozenset()
    assert prediction.boxes == ((0.0, 1.0, 2.0, 3.0),)
    assert prediction.reference_boxes[0].area == 4


def test_absent_is_not_the_same_as_empty(tmp_path):
    absent, empty = read_predictions(write(tmp_path, GOOD, {**GOOD, "id": "b", "changes": []}))
    assert absent.changes is None
    assert empty.changes == frozenset()


def test_steps_are_kept_beside_the_changes_that_have_them(tmp_path):
    edema, hernia = {"finding": "Infection", "kind": "added", "steps": 2}, {"finding": "hernia", "kind": "missing"}
    row = {**GOOD, "changes": [{**hernia, "steps": "passed over"}], "reference_changes": [edema, hernia]}
    (prediction,) = read_predictions(write(tmp_path, row))
    assert prediction.reference_changes == {Change("pneumonia", "added"), Change("hernia", "missing")}
    assert prediction.reference_steps == {Change("pneumonia", "added"): 2}


def test_a_line_separator_inside_a_text_is_no_new_line(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps({**GOOD, "answer": "a\u2028b"}, ensure_ascii=False), encoding="utf-8")
    assert read_predictions(path)[0].answer == "a\u2028b"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": None}, "id"),
        ({"answer": None}, "answer"),
        ({"answer": 3}, "answer"),
        ({"answer": "\ud800"}, "answer"),
        ({"references": "no"}, "references"),
        ({"references": []}, "references"),
        ({"references": [" "]}, "references"),
        ({"references": [1]}, "references"),
        ({"confidence": float("nan")}, "confidence"),
        ({"confidence": "high"}, "confidence"),
        ({"confidence": True}, "confidence"),
        ({"boxes": [[0, 0, 1]]}, "boxes"),
        ({"boxes": [0, 0, 1, 1]}, "boxes"),
        ({"boxes": [[0, 0, 1, float("inf")]]}, "boxes"),
        ({"reference_boxes": [[2, 0, 1, 1]]}, "reference_boxes"),
        ({"task": "AREF"}, "reference_boxes"),
        ({"task": "aref"}, "task"),
        ({"confidence": 7}, "confidence"),
        ({"changed": -0.1}, "changed"),
        ({"changed": True}, "changed"),
        ({"changes": {"finding": "edema"}}, "changes"),
        ({"changes": [{"finding": "edema", "kind": "gone"}]}, "changes"),
        ({"changes": [{"finding": "edema", "kind": "level"}]}, "changes"),
        ({"reference_changes": [{"kind": "added"}]}, "reference_changes"),
        ({"reference_changes": [{"finding": "edema", "kind": "added", "steps": 0}]}, "reference_changes"),
        ({"reference_changes": [{"finding": "edema", "kind": "added", "steps": 1.5}]}, "reference_changes"),
        ({"reference_changes": [{"finding": "edema", "kind": "added", "steps": True}]}, "reference_changes"),
    ],
)
def test_a_bad_field_is_named_with_its_line(tmp_path, change, field):
    with pytest.raises(InputError, match=rf"line 2: field `{field}`"):
        read_predictions(write(tmp_path, GOOD, {**GOOD, "id": "b", **change}))


@pytest.mark.parametrize("line", ["{", "[1]", '"text"', "\x00"])
def test_a_line_that_is_no_object_is_named(tmp_path, line):
    with pytest.raises(InputError, match="line 2"):
        read_predictions(write(tmp_path, GOOD, line))


def test_an_id_that_comes_twice_is_refused_without_being_shown(tmp_path):
    row = {**GOOD, "id": "p10000032"}
    with pytest.raises(InputError, match=r"line 3: field `id`.*line 1") as caught:
        read_predictions(write(tmp_path, row, GOOD, row))
    assert "p10000032" not in str(caught.value)


def test_an_empty_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="empty"):
        read_predictions(write(tmp_path, "", " "))
    with pytest.raises(InputError, match="no such file"):
        read_predictions(tmp_path / "nothing.jsonl")
