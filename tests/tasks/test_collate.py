"""Loss masks against tables written by hand, and pixels by the processor's convention."""

import numpy as np
import torch
from transformers import SiglipImageProcessorPil

from diffvqa.boxes import Box
from diffvqa.records import Pair
from diffvqa.tasks import collate
from diffvqa.tasks.image_texts import Phrase
from diffvqa.tasks.text import Text
from diffvqa.tasks.tokenizer import train_tokenizer


class Numbers:
    """A tokenizer of texts that are their own token ids."""

    pad_token_id, bos_token_id, eos_token_id, mask_token_id = range(4)

    def encode(self, text, add_special_tokens):
        return [int(number) for number in text.split()]


NUMBERS = Numbers()


def test_the_labels_of_questions_are_the_next_tokens_of_the_answer():
    made = collate.collate_questions([Text(("10 11",), ("20 21",)), Text(("12",), ("22",))], NUMBERS, 6)
    assert made["input_ids"].tolist() == [[1, 10, 11, 20, 21], [1, 12, 22, 0, 0]]
    assert made["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert made["labels"].tolist() == [[-100, -100, 20, 21, 2], [-100, 22, 2, -100, -100]]


def test_texts_of_an_image_are_packed_into_its_row():
    no = -100
    made = collate.pack_texts(
        [
            [Text(("10",), ("20",)), Text(("11",), ("21", "22"), parallel=True, weight=0.5)],
            [Text(("12",), ("23",), weight=2.0)],
        ],
        NUMBERS,
        maximum=5,
    )
    assert made["input_ids"].tolist() == [[1, 10, 20, 1, 11, 3, 3, 3, 3, 3], [1, 12, 23, *[0] * 7]]
    assert made["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2, 3, 4, 5, 6], [0, 1, 2, *[0] * 7]]
    assert made["text_index"].tolist() == [[0, 0, 0, 1, 1, 1, 1, 1, 1, 1], [0, 0, 0, *[-1] * 7]]
    assert made["parallel"].int().tolist() == [[0, 0, 0, 1, 1, 1, 1, 1, 1, 1], [0] * 10]
    assert made["labels"].tolist() == [[no, 20, 2, no, no, 21, 22, 2, no, no], [no, 23, 2, *[no] * 7]]
    assert made["weights"].tolist() == [[1, 1, 1, *[0.5] * 7], [2, 2, 2, *[0] * 7]]


def test_the_masks_do_not_betray_the_length_of_a_target():
    short, long = (
        collate.pack_texts([[Text(("10",), ("20 " * count,), parallel=True)]], NUMBERS, maximum=9) for count in (1, 6)
    )
    assert short["input_ids"].tolist() == long["input_ids"].tolist()


def test_an_image_without_texts_has_an_empty_row():
    made = collate.pack_texts([[]], NUMBERS, maximum=4)
    assert (made["labels"] == -100).all()


def test_a_text_that_cannot_be_cut_is_left_out_and_the_others_are_numbered_on():
    fits, too_long = Text(("10",), ("20",)), Text(("10 " * 8,), ("20",))
    made = collate.pack_texts([[too_long, fits], [too_long]], NUMBERS, maximum=6)
    assert made["text_index"].tolist() == [[0, 0, 0], [-1, -1, -1]]
    assert made["labels"].tolist() == [[-100, 20, 2], [-100] * 3]


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
    images = {
        "a": np.ones((4, 3), np.float16),
        "b": np.full((4, 3), 2, np.float16),
        "c": np.full((4, 3), 3, np.float16),
    }
    pairs = [Pair("a"), Pair("a", "b"), Pair("a", "b", earlier=("c",))]
    one = collate.collate_pairs([collate.pair_images(images, pair) for pair in pairs], processor=None)
    two = collate.collate_pairs([collate.pair_images(images, pair, priors=2) for pair in pairs], processor=None)
    assert one["has_prior"].tolist() == [[False], [True], [True]]
    assert two["has_prior"].tolist() == [[False, False], [True, False], [True, True]]
    assert one["prior"][:, :, 0, 0].tolist() == [[0], [2], [2]]
    assert two["prior"][:, :, 0, 0].tolist() == [[0, 0], [2, 0], [2, 3]]
    assert two["current"].eq(1).all()


def test_squares_of_a_pair_are_normalised_as_any_others():
    images = {name: np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8) for seed, name in enumerate("ab")}
    processor = SiglipImageProcessorPil(size={"height": 8, "width": 8}, image_mean=[0.4], image_std=[0.2])
    made = collate.collate_pairs([collate.pair_images(images, Pair("a", "b"))], processor)
    assert torch.equal(made["prior"][0], collate.normalise([images["b"]], processor))
    assert torch.equal(made["current"], collate.normalise([images["a"]], processor))


def test_phrases_end_with_the_end_token_and_are_known_by_their_text():
    tokenizer = train_tokenizer(["left pleural effusion", "no pneumothorax"], 300)
    images = [
        [Phrase("left pleural effusion", Box(4, 8, 12, 16))],
        [],
        [Phrase("no pneumothorax", Box(0, 0, 40, 40)), Phrase("left pleural effusion", Box(0, 0, 20, 40))],
    ]
    made = collate.collate_phrases(images, 40, tokenizer, maximum=6)
    assert made["image_index"].tolist() == [0, 2, 2]
    assert torch.allclose(made["boxes"], torch.tensor([[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], [0, 0, 0.5, 1]]))
    assert made["text_key"][0] == made["text_key"][2] != made["text_key"][1]
    assert made["input_ids"].shape[1] <= 6
    lengths = made["attention_mask"].sum(1)
    assert (made["input_ids"][torch.arange(3), lengths - 1] == tokenizer.eos_token_id).all()
    assert collate.collate_phrases([[]], 40, tokenizer, maximum=6)["input_ids"].shape[0] == 0


def test_findings_are_marked_by_their_names_and_where_they_are_known():
    made = collate.collate_findings([("edema",), (), None, ("nodule", "edema")], ["edema", "nodule"])
    assert made["findings"].tolist() == [[1, 0], [0, 0], [0, 0], [1, 1]]
    assert made["known"].tolist() == [True, True, False, True]
