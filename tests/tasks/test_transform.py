"""Images and boxes move together."""

import numpy as np
import pytest

from diffvqa.boxes import Box
from diffvqa.tasks.transform import Augmentation, augment


@pytest.mark.parametrize("seed", range(8))
def test_a_bright_rectangle_stays_in_its_box(seed):
    pixels = np.zeros((128, 128), np.uint8)
    pixels[40:70, 50:90] = 255
    moved, (box,) = augment(
        pixels, [Box(50, 40, 90, 70)], Augmentation(scale=0.2, shift=0.1), np.random.default_rng(seed)
    )
    rows, columns = np.nonzero(moved > 127)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.allclose(found, box.as_tuple(), atol=1.01)


def test_without_augmentation_nothing_moves():
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8)
    moved, boxes = augment(pixels, [Box(1, 2, 3, 4)], Augmentation(), np.random.default_rng(0))
    assert (moved == pixels).all()
    assert boxes == [Box(1, 2, 3, 4)]


def test_a_box_that_leaves_the_image_is_dropped_and_one_at_its_edge_clipped():
    random = np.random.default_rng(3)
    for _ in range(50):
        _, boxes = augment(
            np.zeros((64, 64), np.uint8),
            [Box(0, 0, 6, 6), Box(20, 20, 40, 40)],
            Augmentation(shift=0.3),
            random,
        )
        assert boxes[1] is None or (boxes[1].x1 >= 0 and boxes[1].x2 <= 64)
        if boxes[0] is not None:
            assert boxes[0].area >= 18


def test_contrast_leaves_boxes_where_they_are():
    pixels = np.full((32, 32), 100, np.uint8)
    changed, boxes = augment(pixels, [Box(1, 2, 3, 4)], Augmentation(contrast=0.3), np.random.default_rng(1))
    assert boxes == [Box(1, 2, 3, 4)]
    assert changed.dtype == np.uint8
    assert (changed != pixels).any()
