"""Images and boxes move together."""

import dataclasses
import math

import numpy as np
import pytest

from diffvqa.boxes import Box
from diffvqa.tasks.augmentation import Augmentation, augment

ALL = Augmentation(scale=0.2, shift=0.1, contrast=0.2, rotation=12, exposure=0.3, noise=0.02)


def draw(pixels, boxes, augmentation, seed, size):
    return augment(pixels, boxes, augmentation, np.random.default_rng(seed), size)


@pytest.mark.parametrize("seed", range(50))
def test_a_bright_rectangle_stays_in_its_box(seed):
    random = np.random.default_rng((seed, 1))
    strengths = {field.name: random.uniform(0, getattr(ALL, field.name)) for field in dataclasses.fields(ALL)}
    side, size = int(random.integers(128, 257)), 128
    x1, y1 = random.integers(int(0.3 * side), int(0.45 * side), 2)
    x2, y2 = random.integers(int(0.55 * side), int(0.7 * side), 2)
    pixels = np.zeros((side, side), np.uint8)
    pixels[y1:y2, x1:x2] = 255
    moved, (box,) = draw(pixels, [Box(x1, y1, x2, y2)], Augmentation(**strengths), seed, size)
    assert moved.shape == (size, size)
    rows, columns = np.nonzero(moved > 127)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.allclose(found, box.as_tuple(), atol=1.5)


def test_without_augmentation_nothing_moves():
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8)
    moved, boxes = draw(pixels, [Box(1, 2, 3, 4)], Augmentation(), 0, 32)
    assert (moved == pixels).all()
    assert boxes == [Box(1, 2, 3, 4)]


@pytest.mark.parametrize(("augmentation", "tolerance"), [(Augmentation(), 1), (Augmentation(shift=1e-9), 1)])
def test_a_larger_image_is_made_smaller_with_its_boxes(augmentation, tolerance):
    ramp = np.add.outer(np.arange(64.0), np.arange(64.0))
    moved, boxes = draw(ramp.astype(np.uint8), [Box(8, 16, 24, 64)], augmentation, 0, 32)
    expected = ramp.reshape(32, 2, 32, 2).mean((1, 3))
    # The outermost pixels have no neighbours to be drawn from on one side.
    assert np.abs(moved - expected)[1:-1, 1:-1].max() <= tolerance
    assert np.allclose(boxes[0].as_tuple(), (4, 8, 12, 32), atol=1e-6)


def test_the_same_seed_gives_the_same_image_and_another_seed_another():
    pixels = np.random.default_rng(0).integers(0, 255, (48, 48), dtype=np.uint8)
    first, again, other = (draw(pixels, [Box(9, 9, 30, 30)], ALL, seed, 32) for seed in (7, 7, 8))
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1] == again[1]
    assert first[0].tobytes() != other[0].tobytes()
    assert first[1] != other[1]


def test_strengths_that_are_zero_draw_nothing_more():
    # What is drawn after it (texts) stays what it was before there were rotation, exposure and noise.
    random, expected = np.random.default_rng(5), np.random.default_rng(5)
    augment(np.zeros((16, 16), np.uint8), [], Augmentation(scale=0.1, shift=0.1, contrast=0.1), random, 16)
    expected.uniform(size=5)
    assert random.random() == expected.random()


def test_no_movement_is_greater_than_its_strength_and_all_of_it_is_used():
    side, size, seeds = 150, 100, range(300)
    places = ((75, 75), (115, 75))  # the middle, and 40 pixels to the right of it
    boxes = [Box(x - 3, y - 3, x + 3, y + 3) for x, y in places]
    blank = np.zeros((side, side), np.uint8)
    angles, scales, shifts = [], [], []
    for seed in seeds:
        _, moved = draw(blank, boxes, Augmentation(scale=0.1, shift=0.05, rotation=8), seed, size)
        (x1, y1), (x2, y2) = (((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2) for box in moved)
        angles.append(math.degrees(math.atan2(y2 - y1, x2 - x1)))
        scales.append(math.hypot(x2 - x1, y2 - y1) / (40 * size / side))
        shifts += [(x1 - size / 2) / size, (y1 - size / 2) / size]
    for drawn, low, high in ((angles, -8, 8), (scales, 0.9, 1.1), (shifts, -0.05, 0.05)):
        margin = 0.1 * (high - low)
        assert low - 1e-9 <= min(drawn) < low + margin
        assert high - margin < max(drawn) <= high + 1e-9


def test_no_exposure_is_stronger_than_asked_for():
    grey = np.full((8, 8), 64, np.uint8)
    levels = [draw(grey, [], Augmentation(exposure=0.5), seed, 8)[0][0, 0] for seed in range(300)]
    darkest, brightest = (255 * (64 / 255) ** gamma for gamma in (1.5, 1 / 1.5))
    assert darkest - 1 <= min(levels) < darkest + 3
    assert brightest - 5 < max(levels) <= brightest
    # Evenly in the logarithm of gamma: as often brighter as darker.
    assert 120 < sum(level >= 64 for level in levels) < 180


def test_no_noise_is_stronger_than_asked_for():
    grey = np.full((64, 64), 128, np.uint8)
    deviations = [draw(grey, [], Augmentation(noise=0.04), seed, 64)[0].std() / 255 for seed in range(100)]
    assert 0.035 < max(deviations) < 0.042
    assert min(deviations) < 0.005


def test_a_box_that_is_turned_becomes_the_upright_box_around_its_corners():
    angles = []
    for seed in range(20):
        _, (box,) = draw(np.zeros((100, 100), np.uint8), [Box(30, 40, 70, 60)], Augmentation(rotation=20), seed, 100)
        # 40 wide and 20 high: turned, it is 40 cos + 20 sin wide and 40 sin + 20 cos high.
        width, height = box.x2 - box.x1, box.y2 - box.y1
        cosine, sine = (2 * width - height) / 60, (2 * height - width) / 60
        assert cosine**2 + sine**2 == pytest.approx(1)
        angles.append(math.degrees(math.asin(sine)))
    assert max(angles) > 15


def test_a_box_that_leaves_the_image_is_dropped_and_one_at_its_edge_clipped():
    random = np.random.default_rng(3)
    seen = set()
    for _ in range(50):
        _, boxes = augment(
            np.zeros((64, 64), np.uint8), [Box(0, 0, 6, 6), Box(20, 20, 40, 40)], Augmentation(shift=0.3), random, 64
        )
        assert boxes[1] is None or (boxes[1].x1 >= 0 and boxes[1].x2 <= 64)
        seen.add(None if boxes[0] is None else boxes[0].area < 36 - 1e-9)
        if boxes[0] is not None:
            assert boxes[0].area >= 18
    assert seen == {None, True, False}


def test_contrast_leaves_boxes_where_they_are():
    pixels = np.full((32, 32), 100, np.uint8)
    changed, boxes = draw(pixels, [Box(1, 2, 3, 4)], Augmentation(contrast=0.3), 1, 32)
    assert boxes == [Box(1, 2, 3, 4)]
    assert changed.dtype == np.uint8
    assert (changed != pixels).any()


@pytest.mark.parametrize(
    "strengths",
    [
        *({field.name: -0.1} for field in dataclasses.fields(Augmentation)),
        {"scale": 1.0},
        {"rotation": 90},
        {"noise": math.nan},
    ],
)
def test_a_strength_that_makes_no_sense_is_refused(strengths):
    with pytest.raises(ValueError, match=f"^{next(iter(strengths))} is at least 0 and below"):
        Augmentation(**strengths)
