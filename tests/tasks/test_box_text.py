"""Boxes to text and back, in figures and in location tokens."""

import itertools

import pytest

from diffvqa.boxes import Box
from diffvqa.tasks.box_text import Notation, add_location_tokens, box_to_text, number_pieces, text_to_box
from diffvqa.tasks.text import encode, referring
from diffvqa.tasks.tokenizer import train_tokenizer

SIZE = 128


def notations():
    return [Notation(bins, location_tokens) for bins in (100, 500) for location_tokens in (False, True)]


@pytest.mark.parametrize("notation", notations(), ids=str)
def test_a_box_survives_text_and_back_within_half_a_bin(notation):
    half = SIZE / notation.bins / 2 + 1e-9
    for x1, y1, x2, y2 in itertools.product((0.0, 3.3, 60.7), (0.0, 10.1), (70.2, 128.0), (25.9, 127.6)):
        box = Box(x1, y1, x2, y2)
        back = text_to_box(box_to_text(box, SIZE, notation), SIZE, notation)
        assert back is not None
        assert all(abs(a - b) <= half for a, b in zip(box.as_tuple(), back.as_tuple(), strict=True))


@pytest.mark.parametrize("notation", notations(), ids=str)
def test_a_box_thinner_than_a_bin_can_still_be_read(notation):
    for x1 in (0.0, 63.9, 127.99):
        written = box_to_text(Box(x1, 5, x1 + 0.005, 5.004), SIZE, notation)
        assert text_to_box(written, SIZE, notation) is not None


@pytest.mark.parametrize("written", ["", "1 2 3", "1 2 3 4 5", "5 2 3 4", "1 2 3 101", "1 2 3 2", "a b c d", "1,2,3,4"])
def test_text_that_is_no_box_is_none(written):
    assert text_to_box(written, SIZE, Notation(100)) is None
    tokens = "".join(f"<loc{number}>" for number in written.split())
    assert text_to_box(tokens, SIZE, Notation(100, location_tokens=True)) is None


def test_a_location_is_one_token_that_survives_decoding():
    notation = Notation(100, location_tokens=True)
    tokenizer = train_tokenizer(["an opacity : ARef: <loc"] * 5, 300)
    before = len(tokenizer)
    add_location_tokens(tokenizer, notation.bins)
    assert len(tokenizer) == before + 101
    box = Box(12.8, 25.6, 64.0, 128.0)
    _, target = encode(tokenizer, referring("an opacity", box_to_text(box, SIZE, notation)), 96)
    assert target[-5:-1] == [tokenizer.convert_tokens_to_ids(f"<loc{place}>") for place in (10, 20, 50, 100)]
    written = tokenizer.decode(target, skip_special_tokens=True)
    assert text_to_box(written.rpartition(" :")[2], SIZE, notation) == box
    assert number_pieces(tokenizer, notation)[target[-2]] == " 100"
