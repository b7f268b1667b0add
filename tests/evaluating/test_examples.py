"""The boxes that a dataset has of a finding: those whose phrases name it."""

from types import SimpleNamespace

import pytest

from diffvqa.boxes import Box, Frame
from diffvqa.evaluating.example_pictures import _reference_boxes
from diffvqa.records import Region


@pytest.mark.parametrize(
    ("phrase", "finding", "named"),
    [
        ("two masses, one of them calcified", "mass", True),
        ("massive effusion", "mass", False),
        ("no mass is seen", "mass", False),
    ],
)
def test_a_phrase_names_a_finding_in_whole_words(phrase, finding, named):
    region = Region(Box(1, 2, 30, 40), "left lung", (phrase,))
    image = SimpleNamespace(regions=(region,), frame=Frame.letterbox(64, 64, 64))
    found = _reference_boxes([finding], "image", SimpleNamespace(index={"image": 0}, images=[image]))
    expected = {"label": finding, "box": [1, 2, 30, 40], "kind": "reference"}
    assert found == ([expected] if named else [])


def test_the_smallest_box_is_shown():
    regions = [Region(Box(0, 0, side, side), str(side), ("edema",)) for side in (40, 20, 30)]
    image = SimpleNamespace(regions=regions, frame=Frame.letterbox(64, 64, 64))
    (found,) = _reference_boxes(["edema"], "image", SimpleNamespace(index={"image": 0}, images=[image]))
    assert found["box"] == [0, 0, 20, 20]
