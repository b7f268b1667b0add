"""Boxes as text, prompts against training texts, and the token ids of each task."""

import itertools

import pytest

from diffvqa.boxes import Box
from diffvqa.tasks import text
from diffvqa.tasks.tokenizer import train_tokenizer

WORDS = [
    "Cap: the lungs are clear. there is no pleural effusion.",
    "ARef Region: left lung : small left pleural effusion : 1 2 3 4",
    "what has changed compared to the reference image?\nnothing has changed.",
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(WORDS, 400)


@pytest.mark.parametrize("bins", [100, 500])
def test_a_box_survives_text_and_back_within_half_a_bin(bins):
    size = 128
    for x1, y1, x2, y2 in itertools.product((0.0, 3.3, 60.7), (0.0, 10.1), (70.2, 128.0), (25.9, 127.6)):
        box = Box(x1, y1, x2, y2)
        back = text.text_to_box(text.box_to_text(box, size, bins), size, bins)
        half = size / bins / 2 + 1e-9
        assert back is not None
        assert all(abs(a - b) <= half for a, b in zip(box.as_tuple(), back.as_tuple(), strict=True))


def test_a_box_thinner_than_a_bin_can_still_be_read():
    for x1 in (0.0, 63.9, 127.99):
        written = text.box_to_text(Box(x1, 5, x1 + 0.005, 5.004), 128, 100)
        assert text.text_to_box(written, 128, 100) is not None


@pytest.mark.parametrize("written", ["", "1 2 3", "1 2 3 4 5", "5 2 3 4", "1 2 3 101", "1 2 3 2", "a b c d", "1,2,3,4"])
def test_text_that_is_no_box_is_none(written):
    assert text.text_to_box(written, 128, 100) is None


def test_any_text_survives_the_tokenizer(tokenizer):
    for sentence in ("an answer with 12 7 numbers.", "Ünïcode — ☢", "  two  spaces\nand a line"):
        assert tokenizer.decode(tokenizer.encode(sentence)) == sentence


def test_a_training_text_begins_with_the_ids_of_its_prompt(tokenizer):
    referring = text.referring("small left pleural effusion.", "10 20 30 40")
    regional = text.region_referring("left lung", "effusion", "10 20 30 40")
    asked = text.question("what has changed?", "nothing has changed.")
    for made, prompt in (
        (referring, text.referring_prompt("small left pleural effusion.")),
        (regional, text.region_prompt("left lung")),
        (asked, text.question_prompt("what has changed?")),
    ):
        prefix, target = text.encode(tokenizer, made, 96)
        ids = text.encode_prompt(tokenizer, prompt)
        assert (prefix + target)[: len(ids)] == ids


# The sequences of the method, written out by hand: what is given, and what the loss covers.
TABLE = [
    (text.caption("the lungs\nare clear."), "Cap:", " the lungs are clear."),
    (text.referring("effusion", "1 2 3 4"), "ARef:", " effusion : 1 2 3 4"),
    (text.grounded_captioning("1 2 3 4", "effusion"), "GCap:", " 1 2 3 4 : effusion"),
    (text.region_referring("left lung", "effusion", "1 2 3 4"), "ARef Region: left lung :", " effusion : 1 2 3 4"),
    (text.question("what has\nchanged?", "nothing has changed. "), "what has changed?\n", "nothing has changed."),
]


@pytest.mark.parametrize(("made", "given", "learnt"), TABLE)
def test_each_task_gives_its_prefix_and_learns_the_rest_with_its_end(tokenizer, made, given, learnt):
    prefix, target = text.encode(tokenizer, made, 96)
    assert prefix[0] == tokenizer.bos_token_id
    assert tokenizer.decode(prefix[1:]) == given
    assert target[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(target[:-1]) == learnt


def test_a_long_caption_is_cut_without_an_end_and_a_long_phrase_keeps_its_box(tokenizer):
    prefix, target = text.encode(tokenizer, text.caption("effusion " * 200), 40)
    assert len(prefix) + len(target) <= 40
    assert tokenizer.eos_token_id not in target
    prefix, target = text.encode(tokenizer, text.referring("effusion " * 200, "10 20 30 40"), 60)
    assert len(prefix) + len(target) <= 60
    assert tokenizer.decode(target, skip_special_tokens=True).endswith(" : 10 20 30 40")
    assert target[-1] == tokenizer.eos_token_id


def test_the_phrase_and_the_box_are_read_from_what_was_written():
    phrase, box = text.phrase_and_box(" an opacity : 10 20 30 40", 100, 100)
    assert phrase == "an opacity"
    assert box == Box(10, 20, 30, 40)
    assert text.phrase_and_box(" no box here", 100, 100)[1] is None


def test_a_phrase_is_the_same_with_and_without_its_full_stop():
    for phrase in ("there is an opacity.", " there is  an opacity . ", "there is an opacity"):
        assert text.referring_prompt(phrase) == text.referring_prompt("there is an opacity")
        assert text.grounded_captioning("1 2 3 4", phrase).target[-1] == " there is an opacity"
        assert text.region_referring("left lung", phrase, "1 2 3 4").target[0] == " there is an opacity"
