"""Changes with their boxes as one text: in order, in the image that shows them, and never too long."""

import pytest

from diffvqa.boxes import Box
from diffvqa.findings import Change
from diffvqa.tasks.change_texts import change_text, place_findings
from diffvqa.tasks.image_texts import Phrase
from diffvqa.tasks.text import encode
from diffvqa.tasks.tokenizer import train_tokenizer

LARGE, SMALL = Box(0, 0, 50, 50), Box(10, 10, 20, 20)
CHANGES = {Change("edema", "missing"), Change("atelectasis", "added"), Change("nodule", "level", "small", "massive")}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["Change: added atelectasis : 1 2 3 4; missing edema nodule from small to massive"], 300)


def test_a_finding_lies_in_the_smallest_box_that_names_it():
    phrases = [
        Phrase("massive left lung opacity", SMALL, "left lung"),
        Phrase("small left pleural effusion", LARGE, "left lung"),
        Phrase("Pleural effusion.", SMALL, None),
        Phrase("no pneumothorax", SMALL, None),
        Phrase("the previously seen edema has resolved", SMALL, None),
    ]
    assert place_findings(["pleural effusion", "pneumothorax", "edema", "nodule", "mass"], phrases) == {
        "pleural effusion": SMALL
    }


def test_a_change_has_the_box_of_the_image_that_shows_it(tokenizer):
    prior, current = {"edema": "1 1 2 2", "nodule": "3 3 4 4"}, {"nodule": "5 5 6 6", "edema": "9 9 9 9"}
    text = change_text(CHANGES, prior, current, tokenizer, 200)
    assert "".join(text.prefix + text.target) == (
        "Change: added atelectasis; missing edema : 1 1 2 2; nodule from small to massive : 5 5 6 6"
    )


def test_no_change_is_said(tokenizer):
    assert "".join(change_text([], {}, {}, tokenizer, 200).target) == " nothing has changed"


@pytest.mark.parametrize("maximum", [30, 45, 60])
def test_whole_changes_are_written_as_many_as_fit(tokenizer, maximum):
    boxes = dict.fromkeys(("edema", "nodule", "atelectasis"), "1 2 3 4")
    whole = change_text(CHANGES, boxes, boxes, tokenizer, 1000)
    text = change_text(CHANGES, boxes, boxes, tokenizer, maximum)
    assert whole.target[: len(text.target)] == text.target
    assert text.target[-1] == " 1 2 3 4"
    prefix, target = encode(tokenizer, text, maximum)
    assert target[-1] == tokenizer.eos_token_id
    assert len(prefix) + len(target) <= maximum
