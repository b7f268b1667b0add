"""Frozen features: encoded once, and again where a kill left less than all of them."""

from types import SimpleNamespace

import numpy as np
import pytest
from transformers import SiglipImageProcessorPil

from diffvqa.data.store import Store
from diffvqa.errors import RunFailed
from diffvqa.inference.features import encode_store


@pytest.fixture
def encode_into(store_folder):
    """Encode four images of the store into a folder; what they give, and how many had to be encoded."""
    store = Store.open(store_folder)
    processor = SiglipImageProcessorPil(image_mean=[0.5], image_std=[0.5])

    def encode_into(folder, key="key"):
        encoded = []

        def encode(pixel_values):
            encoded.extend(pixel_values)
            return pixel_values[:, 0, :4, :8]

        model = SimpleNamespace(encode=encode, processor=processor)
        found = encode_store(model, store, [image.image_id for image in store.images[:4]], folder, key)
        return {image: np.array(tokens) for image, tokens in found.items()}, len(encoded)

    return encode_into


def test_images_are_encoded_once(encode_into, tmp_path):
    first, encoded = encode_into(tmp_path)
    again, encoded_again = encode_into(tmp_path)
    assert (encoded, encoded_again) == (4, 0)
    assert all((again[image] == first[image]).all() for image in first)


def test_images_are_encoded_anew_for_another_model(encode_into, tmp_path):
    encode_into(tmp_path)
    assert encode_into(tmp_path, "another")[1] == 4


@pytest.mark.parametrize(
    ("name", "kept"), [("features.npy", None), ("features.npy", 0), ("features.npy", 200), ("features.json", 20)]
)
def test_what_is_not_whole_is_encoded_anew(encode_into, tmp_path, name, kept):
    first, _ = encode_into(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if kept is not None:
        (tmp_path / name).write_bytes(content[:kept])
    again, encoded = encode_into(tmp_path)
    assert encoded == 4
    assert again.keys() == first.keys()
    assert all((again[image] == first[image]).all() for image in first)
    assert encode_into(tmp_path)[1] == 0


def test_a_damaged_image_is_never_used_and_all_are_encoded_anew(encode_into, tmp_path):
    first, _ = encode_into(tmp_path)
    path = tmp_path / "features.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunFailed, match="give the same command again"):
        encode_into(tmp_path)
    again, encoded = encode_into(tmp_path)
    assert encoded == 4
    assert all((again[image] == first[image]).all() for image in first)


def test_what_a_kill_has_left_is_removed(encode_into, tmp_path):
    (tmp_path / "features.npy.1.unfinished").write_bytes(bytes(9))
    encode_into(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.json", "features.npy"]
