"""Boxes that a dataset gives, made to fit, or left out with the reason."""

import pytest

from diffvqa.boxes import Box
from diffvqa.data.mending import fit_box
from diffvqa.records import Source


@pytest.mark.parametrize(
    ("corners", "box", "kinds"),
    [
        ((1, "2", 3.5, 4), Box(1, 2, 3.5, 4), []),
        (("1,5", "2", "3,25", "4,0"), Box(1.5, 2, 3.25, 4), []),
        # Thousands, or decimals: nobody knows.
        (("1", "2", "1,234", "4"), None, ["box_dropped"]),
        (("1", "0,125", "3", "4"), Box(1, 0.125, 3, 4), []),
        ((-1, 2, 30, 4), Box(0, 2, 10, 4), ["box_clipped"]),
        ((20, 2, 30, 4), None, ["box_dropped"]),
        # Shares of the picture, where pixels are expected.
        ((0.1, 0.2, 0.5, 0.6), None, ["box_dropped"]),
        ((0, 0, 1, 1), None, ["box_dropped"]),
        ((0, 0, 1.5, 1), Box(0, 0, 1.5, 1), []),
        ((3, 2, 1, 4), None, ["box_dropped"]),
        ((1, 2, 3), None, ["box_dropped"]),
        ((1, 2, None, 4), None, ["box_dropped"]),
        ((1, 2, "wide", 4), None, ["box_dropped"]),
        ((1, 2, float("nan"), 4), None, ["box_dropped"]),
        ((1, 2, 10**400, 4), None, ["box_dropped"]),
    ],
)
def test_a_box_fits_or_is_left_out(corners, box, kinds):
    problems = []
    assert fit_box(corners, 10, 8, Source("boxes.csv", 2), problems) == box
    assert [problem.kind for problem in problems] == kinds
