"""Which texts an image teaches: how many of each task, how they are written, and what the loss covers."""

from collections import Counter

import numpy as np
import pytest

from diffvqa.boxes import Box
from diffvqa.tasks.pretraining import TASKS, Mixture, Phrase, Seen, draw_texts

PHRASES = [Phrase(f"finding {number}", Box(number, 1, number + 2, 3), "left lung") for number in range(3)]
SEEN = Seen(
    "the lungs are clear.", [*PHRASES, Phrase("a device", Box(1, 2, 3, 4), None)], lambda box: f"{box.x1:g} 1 2 3"
)


def drawn(mixture, seen=SEEN, seed=0):
    return draw_texts(seen, mixture, np.random.default_rng(seed))


def test_all_tasks_of_an_image_come_in_one_pass():
    texts = drawn(Mixture(dict.fromkeys(TASKS, 1)))
    assert [one.task for one in texts] == list(TASKS)


def test_several_regions_are_different_ones_and_no_more_than_there_are():
    texts = drawn(Mixture({"CAREF": 5, "Cap": 2}))
    assert Counter(one.task for one in texts) == {"CAREF": 3, "Cap": 1}
    assert len({one.text for one in texts}) == 4


def test_a_share_of_a_text_is_drawn_as_often():
    counts = [len(drawn(Mixture({"AREF": 1.25}), seed=seed)) for seed in range(400)]
    assert set(counts) == {1, 2}
    assert 0.15 < np.mean(counts) - 1 < 0.35


def test_one_task_an_image_comes_by_its_weight():
    texts = [drawn(Mixture({"Cap": 3, "AREF": 1}, one_task=True), seed=seed) for seed in range(400)]
    assert {len(found) for found in texts} == {1}
    share = np.mean([found[0].task == "Cap" for found in texts])
    assert 0.68 < share < 0.82


@pytest.mark.parametrize("one_task", [False, True])
def test_an_image_teaches_what_it_has(one_task):
    mixture = Mixture(dict.fromkeys(TASKS, 1), one_task=one_task)
    assert drawn(mixture, Seen("  ", [], str)) == []
    only_report = drawn(mixture, Seen("clear.", [], str))
    assert [one.task for one in only_report] == ["Cap"]


def test_the_share_in_parallel_is_the_tasks_own():
    texts = [one for seed in range(300) for one in drawn(Mixture({"Cap": 1, "AREF": 1}, {"Cap": 0.5}), seed=seed)]
    share = {task: np.mean([one.parallel for one in texts if one.task == task]) for task in ("Cap", "AREF")}
    assert 0.4 < share["Cap"] < 0.6
    assert share["AREF"] == 0


def test_the_order_of_a_region_and_the_reach_of_the_loss_are_options():
    (plain,) = drawn(Mixture({"CAREF": 1}))
    (last,) = drawn(Mixture({"CAREF": 1}, last_part_only=("CAREF",)))
    (turned,) = drawn(Mixture({"CAREF": 1}), Seen(SEEN.report, SEEN.phrases, SEEN.write_box, region_box_first=True))
    phrase, separator, box = plain.text.target
    assert last.text.target == (box,)
    assert last.text.prefix == (*plain.text.prefix, phrase, separator)
    assert turned.text.target == (box, separator, phrase)
