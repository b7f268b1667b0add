"""Image files of every kind that the datasets hold, and damaged ones."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from diffvqa.boxes import Box, Frame
from diffvqa.images import Seen, UnreadableImage, letterbox, not_a_radiograph, read_image, read_squares
from diffvqa.images.intensities import equalise
from diffvqa.images.orientation import UPRIGHT
from diffvqa.images.radiograph import Radiograph
from diffvqa.images.undecoded import seen_whole


@pytest.fixture
def ramp():
    return np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))


def structured(width, height, seed=0, noise=3.0):
    """A picture with what radiographs have: smooth shades, sharp edges, grain; and a bright marker."""
    random = np.random.default_rng(seed)
    shades = random.normal(size=(9, 9)).astype(np.float32)
    picture = 110 + 40 * np.asarray(Image.fromarray(shades).resize((width, height), Image.Resampling.BICUBIC))
    picture[height // 2 :, width // 3 : width // 2] += 40
    picture[height // 8 : height // 6, width // 8 : width // 6] = 255
    picture += noise * random.normal(size=picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def test_files_of_every_mode_give_the_same_pixels(tmp_path, ramp):
    rgb = np.repeat(ramp[:, :, None], 3, 2)
    see_through = np.full_like(ramp, 7)[:, :, None]
    files = {
        "grey": Image.fromarray(ramp),
        "rgb": Image.fromarray(rgb),
        "rgba": Image.fromarray(np.concatenate([rgb, see_through], 2)),
        "la": Image.fromarray(np.concatenate([ramp[:, :, None], see_through], 2), "LA"),
        "palette": Image.fromarray(ramp).convert("P"),
    }
    for name, image in files.items():
        image.save(tmp_path / f"{name}.png")
        assert (read_image(tmp_path / f"{name}.png") == ramp).all(), name
        assert (read_image((tmp_path / f"{name}.png").read_bytes()) == ramp).all(), name
        assert (read_squares(tmp_path / f"{name}.png", [48])[1][0] == letterbox(ramp, 48)[0]).all(), name


def test_one_bit_is_black_and_white(tmp_path, ramp):
    Image.fromarray(ramp > 100).save(tmp_path / "bits.png")
    assert (read_image(tmp_path / "bits.png") == np.where(ramp > 100, 255, 0)).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_files_of_every_mode_are_read(tmp_path, ramp, mode):
    Image.fromarray(ramp).convert("RGB").convert(mode).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - ramp).mean() < 1.5


def test_sixteen_bits_are_scaled_not_cut(tmp_path, ramp):
    Image.fromarray(ramp.astype(np.uint16) * 200).save(tmp_path / "deep.png")
    pixels = read_image(tmp_path / "deep.png")
    assert pixels.dtype == np.uint8
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert (np.diff(pixels[0].astype(int)) > 0).all()


def test_a_few_outliers_do_not_darken_sixteen_bits(tmp_path, ramp):
    deep = np.kron(ramp, np.ones((4, 4))).astype(np.uint16) * 20
    Image.fromarray(deep).save(tmp_path / "plain.png")
    deep[0, :3] = 65535  # of 38,400
    Image.fromarray(deep).save(tmp_path / "marked.png")
    plain, marked = read_image(tmp_path / "plain.png"), read_image(tmp_path / "marked.png")
    assert (marked[1:] == plain[1:]).all()
    assert (marked[0, :3] == 255).all()


def test_sixteen_bits_of_nearly_one_level_keep_the_rest(tmp_path):
    deep = np.full((100, 100), 500, np.uint16)
    deep[50, 50] = 900
    Image.fromarray(deep).save(tmp_path / "dot.png")
    assert np.argwhere(read_image(tmp_path / "dot.png")).tolist() == [[50, 50]]
    deep[50, 50] = 500
    Image.fromarray(deep).save(tmp_path / "flat.png")
    assert not read_image(tmp_path / "flat.png").any()


@pytest.mark.parametrize("read", [read_image, lambda path: read_squares(path, [32])])
@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "cut", "other format"])
def test_a_file_that_is_no_image_gives_a_reason_without_its_path(tmp_path, ramp, kind, read):
    path = tmp_path / "patient-name.jpg"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no image")
    elif kind == "cut":
        Image.fromarray(ramp).save(path)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "other format":
        Image.fromarray(ramp).save(path, "EPS")
    with pytest.raises(UnreadableImage) as caught:
        read(path)
    assert "patient-name" not in str(caught.value)
    if path.is_file():
        with pytest.raises(UnreadableImage, match=str(caught.value)):
            read(path.read_bytes())


@pytest.mark.parametrize("read", [read_image, lambda path: read_squares(path, [32])])
def test_a_bomb_is_refused_by_its_header(tmp_path, read):
    Image.new("1", (40_000, 4_000)).save(tmp_path / "bomb.png")
    with pytest.raises(UnreadableImage, match="too many"):
        read(tmp_path / "bomb.png")


def test_the_shape_of_a_radiograph():
    assert not_a_radiograph(16, 64) is None
    assert not_a_radiograph(3056, 2544) is None
    assert "16" in not_a_radiograph(15, 40)
    assert "16" in not_a_radiograph(40, 15)
    assert "4 times" in not_a_radiograph(16, 65)
    assert "4 times" in not_a_radiograph(65, 16)


@pytest.mark.parametrize("read", [read_image, lambda path: read_squares(path, [32])])
@pytest.mark.parametrize("shape", [(15, 15), (20, 100), (100, 20)])
def test_what_has_another_shape_is_refused(tmp_path, shape, read):
    Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / "strip.png")
    with pytest.raises(UnreadableImage) as caught:
        read(tmp_path / "strip.png")
    assert str(caught.value) == not_a_radiograph(*shape[::-1])


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (300, 200)])
def test_a_letterbox_keeps_the_picture_whole_and_its_boxes_in_place(shape):
    pixels = np.zeros(shape, np.uint8)
    pixels[10:30, 5:35] = 255
    square, frame = letterbox(pixels, 64)
    assert square.shape == (64, 64)
    rows, columns = np.nonzero(square > 127)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.allclose(found, frame.into(Box(5, 10, 35, 30)).as_tuple(), atol=1.5)


@pytest.mark.parametrize(
    ("width", "height"),
    [(1001, 777), (777, 1001), (1024, 1024), (2543, 1999), (530, 2001), (257, 250), (101, 67), (16, 20)],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_reduced_decoding_shows_what_full_decoding_shows(tmp_path, width, height, mode):
    path = tmp_path / "a.jpg"
    Image.fromarray(structured(width, height)).convert(mode).save(path, quality=95)
    sizes = [64, 112]
    source, squares = read_squares(path, sizes)
    assert source == Seen(width, height)
    for size, square in zip(sizes, squares, strict=True):
        expected, frame = letterbox(read_image(path), size)
        assert frame == Frame.letterbox(width, height, size)
        assert (square.shape, square.dtype) == ((size, size), np.uint8)
        difference = np.abs(square.astype(int) - expected)
        assert difference.mean() < 0.5
        assert difference.max() < 16
        if max(width, height) <= 2 * max(sizes):
            assert not difference.any()  # too small to be reduced


@pytest.mark.parametrize("side", [1001, 1003, 1007])
def test_reduced_decoding_moves_nothing(tmp_path, side):
    """Pixels that rounding up adds at the end of a reduced picture would shift what lies there."""
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    Image.fromarray(((x + y) * (255 / (2 * side))).astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    (square,) = read_squares(tmp_path / "a.jpg", [64])[1]
    expected, _ = letterbox(read_image(tmp_path / "a.jpg"), 64)
    # One pixel of the square is 2 levels here: a shift by a quarter of a pixel would show.
    assert abs((square.astype(float) - expected)[-8:, -8:].mean()) < 0.5


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("number", range(1, 9))
def test_exif_says_which_way_up_a_picture_is(tmp_path, number, kind):
    path, pixels, exif = tmp_path / f"a.{kind}", structured(400, 300), Image.Exif()
    exif[0x0112] = number
    Image.fromarray(pixels).save(path, quality=95, exif=exif)
    found = Radiograph.from_file(path)
    assert np.abs(found.stored.astype(int) - pixels).mean() < 2  # boxes are in pixels as stored
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert (found.upright == expected).all()
    if number > 1:
        for read in (lambda: read_squares(path, [100]), lambda: seen_whole(path)):
            with pytest.raises(UnreadableImage, match="turned or mirrored"):
                read()
    else:
        assert seen_whole(path) == read_squares(path, [100])[0] == Seen(400, 300)


@pytest.mark.filterwarnings("error")
def test_a_damaged_exif_of_png_warns_of_nothing(tmp_path):
    damaged = b"MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03\xff\xff\xff\xff\0\x06\0\0"
    Image.fromarray(structured(400, 300)).save(tmp_path / "a.png", exif=damaged)
    read_image(tmp_path / "a.png")


def test_a_damaged_exif_says_nothing(tmp_path):
    Image.fromarray(structured(400, 300)).save(tmp_path / "a.jpg", exif=b"Exif\0\0damaged")
    assert Radiograph.from_file(tmp_path / "a.jpg").orientation == UPRIGHT


def png_of_16_bits(path, colours, values):
    """A PNG file of 16 bits. values: (height, width) or (height, width, values a pixel)."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("top", [4095, 65535, 255])
def test_sixteen_bits_with_alpha_are_those_without(tmp_path, ramp, top):
    deep = (ramp.astype(float) / 236 * top).astype(np.uint16)
    png_of_16_bits(tmp_path / "grey.png", 0, deep)
    png_of_16_bits(tmp_path / "alpha.png", 4, np.stack([deep, np.full_like(deep, 65535)], -1))
    assert (read_image(tmp_path / "alpha.png") == read_image(tmp_path / "grey.png")).all()
    assert len(np.unique(read_image(tmp_path / "alpha.png"))) == 60
    assert seen_whole(tmp_path / "alpha.png") == Seen(60, 40)


@pytest.mark.parametrize(("colours", "values"), [(2, 3), (6, 4)])
def test_colours_of_sixteen_bits_are_refused_by_name(tmp_path, ramp, colours, values):
    png_of_16_bits(tmp_path / "a.png", colours, np.repeat(ramp[..., None], values, -1))
    for read in (read_image, lambda path: read_squares(path, [32])):
        with pytest.raises(UnreadableImage, match="colours of 16 bits"):
            read(tmp_path / "a.png")


def test_the_sizes_are_given_in_their_order(tmp_path):
    Image.fromarray(structured(400, 300)).save(tmp_path / "a.jpg")
    assert [len(square) for square in read_squares(tmp_path / "a.jpg", (96, 32, 64))[1]] == [96, 32, 64]


@pytest.mark.parametrize("noise", [3.0, 30.0])
def test_equalising_makes_grey_values_equally_frequent_and_does_so_once(noise):
    pixels = structured(300, 200, noise=noise)[20:, :]
    once = equalise(pixels)
    assert (once.dtype, once.shape) == (np.uint8, pixels.shape)
    assert (once.min(), once.max()) == (0, 255)
    quarters = np.histogram(once, bins=4, range=(0, 256))[0] / once.size
    assert np.allclose(quarters, 0.25, atol=0.05)
    # The order of the levels is kept, and a second time changes next to nothing.
    order = np.argsort(pixels, axis=None, kind="stable")
    assert (np.diff(once.ravel()[order].astype(int)) >= 0).all()
    assert np.abs(equalise(once).astype(int) - once).max() <= 1


def test_equalising_undoes_brightness_and_contrast():
    pixels = structured(300, 200)
    darker = (pixels // 2 + 20).astype(np.uint8)
    assert np.abs(equalise(darker).astype(int) - equalise(pixels)).mean() < 3
    assert not equalise(np.full((20, 20), 7, np.uint8)).any()


@pytest.mark.skipif(not os.path.isfile("/proc/self/mem"), reason="a file that cannot be read is a Linux one here")
def test_a_file_that_cannot_be_read_is_no_image():
    for read in (read_image, lambda file: read_squares(file, [64])):
        with pytest.raises(UnreadableImage, match="cannot be read"):
            read("/proc/self/mem")
