"""Which texts an image teaches: how many of each task, how they are written, and what the loss covers."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from diffvqa.boxes import Box
from diffvqa.tasks.box_text import Notation
from diffvqa.tasks.image_texts import TASKS, ImageTexts, Mixture, Phrase, draw_phrases, draw_texts

PHRASES = [Phrase(f"finding {number}.", Box(number, 1, number + 2, 3), "left lung") for number in range(3)]
IMAGE = ImageTexts("the lungs are clear.", [*PHRASES, Phrase("a device", Box(1, 2, 3, 4))], 10, Notation(10))
TASK_OF = {"Cap:": "Cap", "ARef:": "AREF", "GCap:": "GCAP", "ARef Region:": "CAREF"}


def drawn(mixture, image=IMAGE, seed=0):
    return draw_texts(image, mixture, np.random.default_rng(seed))


def task(text):
    return TASK_OF[text.prefix[0]]


def test_all_tasks_of_an_image_come_in_one_pass():
    texts = drawn(Mixture(dict.fromkeys(TASKS, 1)))
    assert [task(one) for one in texts] == list(TASKS)


def test_several_regions_are_different_ones_and_no_more_than_there_are():
    texts = drawn(Mixture({"CAREF": 5, "Cap": 2}))
    assert Counter(map(task, texts)) == {"CAREF": 3, "Cap": 1}
    assert len(set(texts)) == 4


def test_a_share_of_a_text_is_drawn_as_often():
    counts = [len(drawn(Mixture({"AREF": 1.25}), seed=seed)) for seed in range(400)]
    assert set(counts) == {1, 2}
    assert 0.15 < np.mean(counts) - 1 < 0.35


def test_one_task_an_image_comes_by_its_weight():
    texts = [drawn(Mixture({"Cap": 3, "AREF": 1}, one_task=True), seed=seed) for seed in range(400)]
    assert {len(found) for found in texts} == {1}
    share = np.mean([task(found[0]) == "Cap" for found in texts])
    assert 0.68 < share < 0.82


@pytest.mark.parametrize("one_task", [False, True])
def test_an_image_teaches_what_it_has(one_task):
    mixture = Mixture(dict.fromkeys(TASKS, 1), one_task=one_task)
    assert drawn(mixture, ImageTexts("  ", [], 10, Notation())) == []
    only_report = drawn(mixture, ImageTexts("clear.", [], 10, Notation()))
    assert [task(one) for one in only_report] == ["Cap"]


def test_the_share_in_parallel_is_the_tasks_own():
    texts = [
        one for seed in range(300) for one in drawn(Mixture({"Cap": 1, "AREF": 1}, parallel={"Cap": 0.5}), seed=seed)
    ]
    share = {name: np.mean([one.parallel for one in texts if task(one) == name]) for name in ("Cap", "AREF")}
    assert 0.4 < share["Cap"] < 0.6
    assert share["AREF"] == 0


def test_the_order_of_a_region_and_the_reach_of_the_loss_are_options():
    (plain,) = drawn(Mixture({"CAREF": 1}))
    (last,) = drawn(Mixture({"CAREF": 1}, last_part_only=("CAREF",)))
    (turned,) = drawn(Mixture({"CAREF": 1}), replace(IMAGE, notation=Notation(10, region_box_first=True)))
    phrase, separator, box = plain.target
    assert last.target == (box,)
    assert last.prefix == (*plain.prefix, phrase, separator)
    assert turned.target == (box, separator, phrase)


def test_a_text_weighs_what_its_task_does():
    texts = drawn(Mixture({"Cap": 1, "AREF": 1, "GCAP": 1}, weights={"Cap": 0.5, "AREF": 2.0}))
    assert {task(one): one.weight for one in texts} == {"Cap": 0.5, "AREF": 2.0, "GCAP": 1.0}


def test_phrases_are_drawn_as_they_are_looked_for():
    for wanted, found in ((0, 0), (2, 2), (9, 4)):
        phrases = draw_phrases(IMAGE, Mixture({}, phrases=wanted), np.random.default_rng(0))
        assert len(set(phrases)) == found
        assert {(one.phrase, one.box) for one in phrases} <= {
            (one.phrase.rstrip("."), one.box) for one in IMAGE.phrases
        }
