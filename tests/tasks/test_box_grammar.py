"""Constrained decoding: whatever the model prefers, what comes out is a box."""

import itertools
from dataclasses import replace

import pytest
import torch

from diffvqa.boxes import Box
from diffvqa.tasks.box_grammar import BoxGrammar, is_box, may_begin_box
from diffvqa.tasks.box_text import Notation, add_location_tokens, box_to_text, text_to_box
from diffvqa.tasks.text import encode_segment, phrase_and_box, referring_prompt, region_prompt
from diffvqa.tasks.tokenizer import train_tokenizer

BINS = 12
FIGURES = Notation(BINS)


@pytest.fixture(scope="module", params=["digits", "numbers", "locations"])
def writer(request):
    """A tokenizer and how it writes: digits; whole numbers with their space as tokens too; location tokens."""
    texts = ["ARef: left pleural effusion : 1 2 3 4", "ARef Region: left lung : there is an opacity : 0 10 11 12"]
    made = train_tokenizer(texts * 20, 320)
    if request.param == "numbers":
        made.add_tokens([f" {number}" for number in range(0, BINS + 1, 3)])
    if request.param == "locations":
        add_location_tokens(made, BINS)
    return made, Notation(BINS, location_tokens=request.param == "locations")


def test_a_text_is_whole_if_it_can_be_read_back():
    numbers = range(BINS + 2)
    for box in itertools.product(numbers, (0, 5, 12, 13), numbers, (3, 12)):
        written = " ".join(map(str, box))
        assert is_box(f" {written}", BINS) == (text_to_box(written, 1, FIGURES) is not None)


def test_a_beginning_is_one_that_some_box_begins_with():
    boxes = [
        f" {x1} {y1} {x2} {y2}"
        for x1, x2 in itertools.combinations(range(BINS + 1), 2)
        for y1, y2 in itertools.combinations(range(BINS + 1), 2)
    ]
    beginnings = {box[:length] for box in boxes for length in range(len(box) + 1)}
    letters = [" ", *"0123456789"]
    for beginning in beginnings:
        for letter in letters:
            assert may_begin_box(beginning + letter, BINS) == (beginning + letter in beginnings)


@pytest.mark.parametrize("text", [" 01", "1", "  1", " 1 2 3 4 ", " x", " 1\n2", " ١"])
def test_what_no_box_begins_with(text):
    assert not may_begin_box(text, BINS)


PROMPTS = {
    "AREF": (referring_prompt("an opacity"), False),
    "CAREF": (region_prompt("left lung"), False),
    "CAREF, box first": (region_prompt("left lung"), True),
}


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_prefers_anything_writes_a_box(writer, name, seed):
    """The model is a table of chance: at every step it takes the allowed token that it likes best."""
    prompt, box_first = PROMPTS[name]
    tokenizer, notation = writer[0], replace(writer[1], region_box_first=box_first)
    new_tokens = 32
    allowed = BoxGrammar(tokenizer, notation).constraint([prompt], new_tokens)
    random = torch.Generator().manual_seed(seed)
    written = []
    while tokenizer.eos_token_id not in written and len(written) < new_tokens:
        choice = torch.as_tensor(allowed(0, written))
        liking = torch.rand(len(tokenizer), generator=random)
        written.append(int(choice[liking[choice].argmax()]))
    text = tokenizer.decode(written, skip_special_tokens=True)
    assert phrase_and_box(text, 1, notation)[1] is not None
    if not box_first:
        assert tokenizer.eos_token_id in written
        assert allowed(0, [*written, tokenizer.pad_token_id]) == [tokenizer.pad_token_id]


def test_a_phrase_is_free_until_its_box_is_due(writer):
    tokenizer, notation = writer
    prompt = region_prompt("left lung")
    allowed = BoxGrammar(tokenizer, notation).constraint([prompt], 32)
    free = allowed(0, []).tolist()
    assert set(tokenizer.encode(" opacity :")) <= set(free)
    assert tokenizer.eos_token_id not in free


def test_after_a_box_that_comes_first_a_phrase_is_free_and_may_end(writer):
    tokenizer, notation = writer[0], replace(writer[1], region_box_first=True)
    prompt = region_prompt("left lung")
    allowed = BoxGrammar(tokenizer, notation).constraint([prompt], 32)
    box = box_to_text(Box(0.25, 0.25, 0.75, 1), 1, notation)
    written = [token for part in (f" {box}", " :") for token in encode_segment(tokenizer, part)]
    free = allowed(0, written).tolist()
    assert {tokenizer.eos_token_id, *tokenizer.encode(" opacity")} <= set(free)
