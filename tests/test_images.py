"""Image files of every kind that the datasets hold, and damaged ones."""

import numpy as np
import pytest
from PIL import Image

from diffvqa.boxes import Box
from diffvqa.images import UnreadableImage, letterbox, read_image


@pytest.fixture
def ramp():
    return np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))


def test_grey_colour_and_transparent_files_give_the_same_pixels(tmp_path, ramp):
    rgb = np.repeat(ramp[:, :, None], 3, 2)
    rgba = np.concatenate([rgb, np.full_like(ramp, 7)[:, :, None]], 2)
    for name, pixels in (("grey", ramp), ("rgb", rgb), ("rgba", rgba)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        assert (read_image(tmp_path / f"{name}.png") == ramp).all()


def test_sixteen_bits_are_scaled_not_cut(tmp_path, ramp):
    Image.fromarray(ramp.astype(np.uint16) * 200).save(tmp_path / "deep.png")
    pixels = read_image(tmp_path / "deep.png")
    assert pixels.dtype == np.uint8
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert (np.diff(pixels[0].astype(int)) > 0).all()


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut"])
def test_a_file_that_is_no_image_gives_a_reason_without_its_path(tmp_path, ramp, kind):
    path = tmp_path / "patient-name.jpg"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no image")
    elif kind == "cut":
        Image.fromarray(ramp).save(path)
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnreadableImage) as caught:
        read_image(path)
    assert "patient-name" not in str(caught.value)


def test_a_bomb_is_refused_by_its_header(tmp_path):
    Image.new("1", (40_000, 4_000)).save(tmp_path / "bomb.png")
    with pytest.raises(UnreadableImage, match="too many"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (300, 200)])
def test_a_letterbox_keeps_the_picture_whole_and_its_boxes_in_place(shape):
    pixels = np.zeros(shape, np.uint8)
    pixels[10:30, 5:35] = 255
    square, frame = letterbox(pixels, 64)
    assert square.shape == (64, 64)
    rows, columns = np.nonzero(square > 127)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.allclose(found, frame.into(Box(5, 10, 35, 30)).as_tuple(), atol=1.5)
