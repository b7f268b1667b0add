"""Loss masks against tables written by hand, and pixels by the processor's convention."""

import numpy as np
import torch
from transformers import SiglipImageProcessorPil

from diffvqa.records import Pair
from diffvqa.tasks import collate


def test_the_labels_of_questions_are_the_next_tokens_of_the_answer():
    made = collate.collate_questions([([1, 10, 11], [20, 21, 2]), ([1, 12], [22, 2])], padding=0)
    assert made["input_ids"].tolist() == [[1, 10, 11, 20, 21], [1, 12, 22, 0, 0]]
    assert made["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert made["labels"].tolist() == [[-100, -100, 20, 21, 2], [-100, 22, 2, -100, -100]]


def test_texts_of_an_image_are_packed_into_its_row():
    no = -100
    made = collate.pack_texts(
        [[(([1, 10], [20, 2]), False), (([1, 11], [21, 22, 2]), True)], [(([1, 12], [2]), False)]],
        mask=3,
        padding=0,
        masks=4,
    )
    assert made["input_ids"].tolist() == [[1, 10, 20, 1, 11, 3, 3, 3, 3], [1, 12, 0, 0, 0, 0, 0, 0, 0]]
    assert made["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2, 3, 4, 5], [0, 1, 0, 0, 0, 0, 0, 0, 0]]
    assert made["text_index"].tolist() == [[0, 0, 0, 1, 1, 1, 1, 1, 1], [0, 0, *[-1] * 7]]
    assert made["parallel"].int().tolist() == [[0, 0, 0, 1, 1, 1, 1, 1, 1], [0] * 9]
    assert made["labels"].tolist() == [[no, 20, 2, no, no, 21, 22, 2, no], [no, 2, *[no] * 7]]


def test_the_masks_do_not_betray_the_length_of_a_target():
    short, long = (collate.pack_texts([[(([1, 10], [20] * n + [2]), True)]], 3, 0, masks=8) for n in (1, 6))
    assert short["input_ids"].tolist() == long["input_ids"].tolist()


def test_an_image_without_texts_has_an_empty_row():
    made = collate.pack_texts([[]], mask=3, padding=0, masks=4)
    assert (made["labels"] == -100).all()


def test_prompts_are_padded_on_the_left():
    made = collate.collate_prompts([[1, 5, 6], [1]], padding=0)
    assert made["input_ids"].tolist() == [[1, 5, 6], [0, 0, 1]]
    assert made["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]


def test_pixels_are_normalised_as_the_processor_does():
    squares = np.random.default_rng(0).integers(0, 256, (2, 16, 16), dtype=np.uint8)
    processor = SiglipImageProcessorPil(
        size={"height": 16, "width": 16}, image_mean=[0.5, 0.4, 0.3], image_std=[0.5, 0.2, 0.1]
    )
    rgb = [np.repeat(square[:, :, None], 3, axis=2) for square in squares]
    expected = processor(rgb, return_tensors="pt", do_resize=False)["pixel_values"]
    assert torch.allclose(collate.normalise(list(squares), processor), expected, atol=1e-5)


def test_a_missing_prior_is_zeros_and_said_so():
    features = {"a": np.ones((4, 3), np.float16), "b": np.full((4, 3), 2, np.float16)}
    alone = collate.pair_features(features, Pair("a"))
    both = collate.pair_features(features, Pair("a", "b"))
    assert not alone["has_prior"]
    assert alone["prior"].eq(0).all()
    assert both["has_prior"]
    assert both["prior"].eq(2).all()
