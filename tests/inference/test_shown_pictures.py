"""What a model is shown of a picture: the same of a file and of a store."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from diffvqa.data.store import Store
from diffvqa.images.intensities import AS_STORED, EQUALISED, equalise
from diffvqa.images.orientation import Orientation
from diffvqa.images.radiograph import Radiograph, read_radiograph
from diffvqa.inference.shown_pictures import StorePixels, show_radiograph, show_stored
from diffvqa.sealed import write_sealed


@pytest.fixture(scope="module")
def stored(store_folder, tmp_path_factory):
    """The store, but of a dataset whose grey values are as stored."""
    folder = tmp_path_factory.mktemp("as_stored") / "store"
    shutil.copytree(store_folder, folder)
    about = json.loads((folder / "store.json").read_text())
    write_sealed(folder / "store.json", {**about, "datasets": ["table"]})
    return Store.open(folder)


def test_a_store_as_stored_is_equalised_inside_the_picture_and_margins_stay_black(stored):
    with_margin = 0
    for position, image in enumerate(stored.images):
        square = stored.pixels(position)
        left, top = int(image.frame.left), int(image.frame.top)
        width, height = (round(side * image.frame.scale) for side in (image.width, image.height))
        inside = np.s_[top : top + height, left : left + width]
        expected = np.zeros_like(square)
        expected[inside] = equalise(square[inside])
        with_margin += left > 0
        assert (show_stored(stored, position, EQUALISED) == expected).all()
        assert (show_stored(stored, position, AS_STORED) == square).all()
    assert with_margin


def test_an_equalised_store_is_shown_as_it_is(store_folder):
    store = Store.open(store_folder)
    for position in range(3):
        for intensity in (AS_STORED, EQUALISED):
            assert (show_stored(store, position, intensity) == store.pixels(position)).all()


def test_the_pixels_of_a_store_go_by_the_names_of_images(stored):
    name = stored.images[2].image_id
    assert (StorePixels(stored, AS_STORED)[name] == stored.pixels(2)).all()
    assert (StorePixels(stored, EQUALISED)[name] == show_stored(stored, 2, EQUALISED)).all()
    assert set(StorePixels(stored, AS_STORED)) == set(stored.index)


@pytest.mark.parametrize("intensity", [AS_STORED, EQUALISED])
def test_a_file_is_shown_as_the_store_shows_it(stored, cohort_folder, intensity):
    """But for the reduced decoding of JPEG files, a fraction of a grey level, which equalising makes a few."""
    for position in range(4):
        (path,) = cohort_folder.rglob(f"{stored.images[position].image_id}.jpg")
        shown = show_radiograph(read_radiograph(path, "x"), stored.size, intensity).astype(int)
        assert np.abs(shown - show_stored(stored, position, intensity)).mean() < 1.5


def test_grey_values_are_equalised_after_the_picture_was_resized_and_without_its_margins():
    """A store holds nothing larger, so that files must not be equalised before."""
    random = np.random.default_rng(0)
    # Nothing in it is black, so that margins that counted would make it darker or brighter.
    pixels = (30 + 225 * random.random((300, 200)) ** 4).astype(np.uint8)
    resized = np.asarray(
        Image.fromarray(pixels).resize((43, 64), Image.Resampling.BILINEAR, reducing_gap=2.0), dtype=np.uint8
    )
    shown = show_radiograph(Radiograph(pixels), 64, EQUALISED)
    assert (shown[:, 10:53] == equalise(resized)).all()
    assert not shown[:, :10].any()
    assert not shown[:, 53:].any()


def test_a_file_is_shown_upright():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    mirrored = Radiograph(pixels[:, ::-1], orientation=Orientation(mirrored_x=True))
    assert (show_radiograph(mirrored, 64, AS_STORED) == pixels).all()
