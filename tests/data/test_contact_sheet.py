import numpy as np
import pytest
from PIL import Image as PillowImage

from diffvqa.data import read_sources
from diffvqa.data.contact_sheet import CAPTION, COLUMNS, TILE, draw_sheet
from diffvqa.data.prepare import prepare
from diffvqa.images.colours import BOX_COLOURS

WIDTH, HEIGHT = 40, 20
BOX = (10, 5, 20, 15)
IN_TILE = (64, 96, 128, 160)
"""The box in pixels of a tile: 6.4 times as large, below a margin of 64."""

BOXED = 3


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Eight images of more or less dark grey; three have a box, and are white inside it."""
    folder = tmp_path_factory.mktemp("sheet")
    x1, y1, x2, y2 = BOX
    for number in range(8):
        pixels = np.full((HEIGHT, WIDTH), 10 * number, np.uint8)
        pixels[0, 0] += 1  # of one grey alone it is no picture
        if number < BOXED:
            pixels[y1:y2, x1:x2] = 255
        PillowImage.fromarray(pixels).save(folder / f"{number}.png")
    rows = "".join(f"P{number},1,{number}.png\n" for number in range(8))
    (folder / "images.csv").write_text(f"patient,order,image\n{rows}")
    boxes = "".join(f"{number}.png,{x1},{y1},{x2},{y2},opacity\n" for number in range(BOXED))
    (folder / "boxes.csv").write_text(f"image,x1,y1,x2,y2,phrase\n{boxes}")
    return prepare(read_sources([f"table:{folder}"]), folder / "store", WIDTH)


def tiles(sheet, count):
    pixels = np.asarray(sheet)
    for number in range(count):
        left, top = number % COLUMNS * TILE, number // COLUMNS * (TILE + CAPTION)
        yield pixels[top : top + TILE, left : left + TILE]


def coloured(tile):
    return (tile == BOX_COLOURS[0]).all(axis=-1)


@pytest.mark.parametrize("seed", range(5))
def test_half_of_the_images_have_boxes_where_there_are_as_many(store, seed):
    for count, boxed in ((2, 1), (4, 2), (8, BOXED)):
        sheet = draw_sheet(store, count, seed)
        assert sum(coloured(tile).any() for tile in tiles(sheet, count)) >= boxed
        assert sheet.width == min(count, COLUMNS) * TILE


def test_no_image_is_shown_twice(store):
    shown = {tile[TILE // 2, 200:].tobytes() for tile in tiles(draw_sheet(store, 8), 8)}
    assert len(shown) == 8


def test_a_box_stands_around_what_it_marks(store):
    x1, y1, x2, y2 = IN_TILE
    found = [tile for tile in tiles(draw_sheet(store, 8), 8) if coloured(tile).any()]
    for tile in found:
        rows, columns = np.nonzero(coloured(tile))
        # The phrase is written in the box, and may be wider; nothing but the box is as low as its last row.
        across = columns[rows == rows.max()]
        edges = (columns.min(), rows.min(), across.max(), rows.max())
        assert np.abs(np.subtract(edges, (x1, y1, x2, y2))).max() <= 1
        assert tile[y2 - 8, x1 + 8 : x2 - 8].min() > 200
        assert tile[y1 + 8 : y2 - 8, x1 - 16].max() < 60


def test_the_seed_draws_the_images(store):
    first, same, other = (draw_sheet(store, 4, seed).tobytes() for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_every_picture_has_its_sides_marked(store):
    for tile in tiles(draw_sheet(store, 8), 8):
        middle = tile[TILE // 2 - 8 : TILE // 2 + 8].min(-1)
        assert middle[:, :16].max() == middle[:, -16:].max() == 255
