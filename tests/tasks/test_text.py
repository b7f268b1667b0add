"""Prompts against training texts, and the token ids of each task."""

import pytest

from diffvqa.boxes import Box
from diffvqa.tasks import text
from diffvqa.tasks.box_text import Notation, add_location_tokens
from diffvqa.tasks.tokenizer import train_tokenizer

WORDS = [
    "Cap: the lungs are clear. there is no pleural effusion.",
    "ARef Region: left lung : small left pleural effusion : 1 2 3 4",
    "what has changed compared to the reference image?\nnothing has changed.",
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(WORDS, 400)


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
    (
        text.region_referring("left lung", "effusion", "1 2 3 4", True),
        "ARef Region: left lung :",
        " 1 2 3 4 : effusion",
    ),
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


BOX, LOCATIONS = "123 45 400 499", "<loc123><loc45><loc400><loc499>"
PHRASE = "small left pleural effusion, " * 8 + "there is no change"


@pytest.mark.parametrize("box", [BOX, LOCATIONS])
@pytest.mark.parametrize(
    "write",
    [
        lambda phrase, box: text.referring(phrase, box),
        lambda phrase, box: text.grounded_captioning(box, phrase),
        lambda phrase, box: text.region_referring("left lung", phrase, box),
        lambda phrase, box: text.region_referring("left lung", phrase, box, box_first=True),
        lambda phrase, box: text.last_part_only(text.referring(phrase, box)),
    ],
)
def test_in_32_tokens_only_the_phrase_is_cut(write, box):
    """Though the box, in figures, has more tokens than what is left of the phrase."""
    tokenizer = train_tokenizer(WORDS, 400)
    add_location_tokens(tokenizer, 500)

    def written(maximum):
        prefix, target = text.encode(tokenizer, write(PHRASE, box), maximum)
        assert len(prefix) + len(target) <= maximum
        return tokenizer.decode([*prefix, *target], skip_special_tokens=True)

    before, after = written(200).split(PHRASE)
    cut = written(32)
    assert cut.startswith(before)
    assert cut.endswith(after)
    left = cut[len(before) : len(cut) - len(after)]
    assert 0 < len(left) < len(PHRASE)
    assert PHRASE.startswith(left)


def test_a_text_whose_phrase_has_no_room_does_not_fit(tokenizer):
    with pytest.raises(text.DoesNotFit):
        text.encode(tokenizer, text.region_referring("left costophrenic angle " * 2, "effusion", BOX), 32)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (" an opacity : 10 20 30 40", ("an opacity", Box(10, 20, 30, 40))),
        (" 10 20 30 40", ("", Box(10, 20, 30, 40))),
        (" 10 20 30 40 : an opacity", ("an opacity", Box(10, 20, 30, 40))),
        (" 10 20 30 40 : ratio : high", ("ratio : high", Box(10, 20, 30, 40))),
        (" ratio : high : 10 20 30 40", ("ratio : high", Box(10, 20, 30, 40))),
        (" no box here", ("", None)),
        (" 1 : 2 : 3", ("2 : 3", None)),
    ],
)
def test_the_phrase_and_the_box_are_read_from_what_was_written(written, expected):
    assert text.phrase_and_box(written, 100, Notation(100)) == expected


def test_the_last_part_only_is_learnt_where_that_is_asked_for(tokenizer):
    made = text.last_part_only(text.referring("effusion", "1 2 3 4"))
    prefix, target = text.encode(tokenizer, made, 96)
    assert tokenizer.decode(prefix[1:]) == "ARef: effusion :"
    assert tokenizer.decode(target[:-1]) == " 1 2 3 4"
    prefix, target = text.encode(tokenizer, text.last_part_only(text.referring("effusion " * 200, "10 20 30 40")), 60)
    assert len(prefix) + len(target) <= 60
    assert tokenizer.decode(target[:-1]) == " 10 20 30 40"


def test_a_phrase_is_the_same_with_and_without_its_full_stop():
    for phrase in ("there is an opacity.", " there is  an opacity . ", "there is an opacity"):
        assert text.referring_prompt(phrase) == text.referring_prompt("there is an opacity")
        assert text.grounded_captioning("1 2 3 4", phrase).target[-1] == " there is an opacity"
        assert text.region_referring("left lung", phrase, "1 2 3 4").target[0] == " there is an opacity"
