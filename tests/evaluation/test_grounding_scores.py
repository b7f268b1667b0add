"""Grounding scores on boxes measured by hand."""

import pytest

from diffvqa.boxes import Box
from diffvqa.evaluation.box_scores import overlap, tally_grounding
from diffvqa.evaluation.intervals import resample_patients, score_tally
from diffvqa.evaluation.predictions import Prediction

TARGET = Box(0, 0, 10, 10)


def row(number, *boxes, references=(TARGET,), task="AREF"):
    return Prediction(str(number), task=task, boxes=boxes, reference_boxes=references)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(0, 0, 10, 10)], 1.0),
        ([(0, 0, 10, 5)], 0.5),
        ([(5, 0, 15, 10)], 1 / 3),
        ([(20, 20, 30, 30)], 0.0),
        ([], 0.0),
        ([(5, 5, 5, 9)], 0.0),
        ([(9, 9, 1, 1)], 0.0),
        ([(20, 20, 30, 30), (0, 0, 10, 10)], 0.0),  # only the first counts
    ],
)
def test_overlap(boxes, expected):
    assert overlap(row(1, *boxes)) == pytest.approx(expected)


def test_the_best_reference_box_counts():
    assert overlap(row(1, (20, 20, 30, 30), references=(TARGET, Box(20, 20, 30, 30)))) == 1


def test_tasks_apart_and_half_an_overlap_is_right():
    rows = [
        row(1, (0, 0, 10, 10)),
        row(2, (0, 0, 10, 5)),
        row(3, (0, 0, 10, 4)),
        row(4),
        row(5, (0, 0, 10, 10), task="CAREF"),
        Prediction("6", "yes", ("yes",)),
    ]
    tallies = tally_grounding(rows)
    assert list(tallies) == ["AREF", "CAREF"]
    assert tallies["AREF"].counts == {"n": 4, "without_box": 1}
    resamples = resample_patients({prediction.id: prediction.patient for prediction in rows}, 20, 0)
    scores = score_tally(tallies["AREF"], resamples)
    assert scores["accuracy_0.5"]["value"] == pytest.approx(2 / 4)
    assert scores["iou"]["value"] == pytest.approx((1 + 0.5 + 0.4 + 0) / 4)
    assert score_tally(tallies["CAREF"], resamples)["accuracy_0.5"] == {"value": 1.0, "low": 1.0, "high": 1.0}
