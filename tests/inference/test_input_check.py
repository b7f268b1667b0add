"""The input check: what it calls unlike, and that it is kept as it is."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from diffvqa.errors import InputError
from diffvqa.inference.input_check import FILE, fit_input_check, load_input_check, save_input_check


def tokens(n, seed, shift=0.0, spread=1.0):
    """Patch tokens whose parts are correlated."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(12, 12))
    return random.normal(shift, spread, size=(n, 16, 12)) @ mixing


@pytest.fixture(scope="module")
def check():
    return fit_input_check(tokens(800, 1), tokens(400, 2))


def test_one_in_a_hundred_of_the_same_kind_is_called_unlike(check):
    assert (check.score(tokens(400, 2)) > 1).mean() == pytest.approx(0.01, abs=0.003)
    assert (check.score(tokens(2000, 3)) > 1).mean() < 0.03


@pytest.mark.parametrize("other", [{"shift": 2.0}, {"spread": 4.0}, {"spread": 0.0}])
def test_another_place_and_another_spread_are_unlike(check, other):
    assert (check.score(tokens(50, 4, **other)) > 1).all()


def test_scale_and_place_of_the_features_do_not_matter(check):
    scaled = fit_input_check(3 * tokens(800, 1) + 5, 3 * tokens(400, 2) + 5)
    images = tokens(50, 5, shift=0.5)
    assert scaled.score(3 * images + 5) == pytest.approx(check.score(images), rel=1e-4)


def test_each_image_is_judged_alone(check):
    images = tokens(20, 6)
    one_by_one = [check.score(image[None])[0] for image in images]
    assert check.score(images) == pytest.approx(one_by_one)


def test_what_is_saved_is_loaded(check, tmp_path):
    save_input_check(check, tmp_path)
    images = tokens(20, 7)
    assert load_input_check(tmp_path).score(images) == pytest.approx(check.score(images), rel=1e-3)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"no tensors")])
def test_a_damaged_file_is_one_line(check, tmp_path, damage):
    save_input_check(check, tmp_path)
    damage(tmp_path / FILE)
    with pytest.raises(InputError, match="finetune"):
        load_input_check(tmp_path)


def test_what_is_no_number_is_unlike(check):
    images = tokens(4, 8)
    images[1, 3, 2], images[2, 0, 0] = np.nan, np.inf
    unlike = check.score(images) > 1e6
    assert list(unlike) == [False, True, True, False]


@pytest.mark.parametrize(
    ("part", "value"),
    [(part, value) for part in ("mean", "deviation", "precision", "limit") for value in (np.nan, np.inf)]
    + [("deviation", 0.0), ("deviation", -1.0), ("limit", 0.0), ("limit", -1.0), ("precision", -1.0)],
)
def test_a_check_that_measures_nothing_is_refused(check, tmp_path, part, value):
    save_input_check(check, tmp_path)
    parts = load_file(tmp_path / FILE)
    parts[part].flat[0] = value
    save_file(parts, tmp_path / FILE)
    with pytest.raises(InputError, match="damaged"):
        load_input_check(tmp_path)
