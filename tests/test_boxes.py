"""Geometry of boxes, and the frame of a letterboxed image."""

import numpy as np
import pytest

from diffvqa.boxes import Box, Frame, clip, intersection_over_union, mean_box, smallest_apart


def naive_overlap(a, b, grid=40):
    """The same by counting cells."""
    x, y = np.meshgrid(np.arange(grid) + 0.5, np.arange(grid) + 0.5)
    inside = [(x > c.x1) & (x < c.x2) & (y > c.y1) & (y < c.y2) for c in (a, b)]
    return (inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum()


def random_box(random):
    x1, y1 = random.integers(0, 30, 2)
    return Box(x1, y1, x1 + random.integers(1, 10), y1 + random.integers(1, 10))


def test_overlap_equals_counting_cells():
    random = np.random.default_rng(0)
    for _ in range(200):
        a, b = random_box(random), random_box(random)
        assert intersection_over_union(a, b) == pytest.approx(naive_overlap(a, b))
        assert intersection_over_union(a, b) == intersection_over_union(b, a)
        assert intersection_over_union(a, a) == 1


@pytest.mark.parametrize("corners", [(0, 0, 0, 1), (0, 0, 1, 0), (2, 0, 1, 1), (float("nan"), 0, 1, 1)])
def test_a_box_without_area_is_refused(corners):
    with pytest.raises(ValueError, match="box"):
        Box(*corners)


def test_clipping():
    assert clip(Box(-5, -5, 5, 5), 10, 10) == Box(0, 0, 5, 5)
    assert clip(Box(10, 0, 20, 5), 10, 10) is None


def test_the_mean_of_boxes():
    assert mean_box([Box(0, 0, 2, 2), Box(2, 4, 6, 8)]) == Box(1, 2, 4, 5)


@pytest.mark.parametrize(("width", "height"), [(100, 200), (301, 77), (64, 64), (1, 999)])
def test_a_frame_takes_a_box_in_and_out_again(width, height):
    frame = Frame.letterbox(width, height, 128)
    whole = frame.into(Box(0, 0, width, height))
    assert whole.x1 >= 0
    assert whole.y1 >= 0
    assert max(whole.x2 - whole.x1, whole.y2 - whole.y1) == pytest.approx(128)
    box = Box(width * 0.1, height * 0.2, width * 0.7, height * 0.9)
    assert frame.out_of(frame.into(box)).as_tuple() == pytest.approx(box.as_tuple())


def test_of_boxes_that_hold_one_another_the_smallest_is_kept():
    inner, outer, beside = Box(2, 2, 4, 4), Box(0, 0, 10, 10), Box(20, 0, 24, 4)
    assert smallest_apart([outer, beside, inner, inner]) == [inner, beside]
    # Less than half of the smaller one is shared.
    assert smallest_apart([outer, Box(9, 0, 12, 4)]) == [Box(9, 0, 12, 4), outer]
    assert smallest_apart([]) == []
