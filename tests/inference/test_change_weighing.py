"""Changes by their probability: by hand, and of a model in both orders of the images."""

import itertools
import math

import pytest
import torch

from diffvqa.data.store import Store
from diffvqa.findings import DIFFERENCE_QUESTION, NOTHING_CHANGED, Change, read_changes, turn_round
from diffvqa.inference import asking
from diffvqa.inference.change_weighing import Hypothesis, agreed_probabilities, change_probabilities, state_changes
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import load_folder
from diffvqa.records import Pair
from diffvqa.tasks.collate import collate_pairs, collate_questions, normalise, pair_images
from diffvqa.tasks.text import question

EDEMA, NODULE = Change("edema", "added"), Change("nodule", "missing")
GROWN, SHRUNK = Change("edema", "level", "mild", "severe"), Change("edema", "level", "severe", "mild")


def test_a_change_is_as_probable_as_the_answers_that_state_it():
    found = change_probabilities([
        Hypothesis("the main image is missing the finding of nodule than the reference image.", math.log(0.1)),
        Hypothesis(NOTHING_CHANGED, math.log(0.2)),
        Hypothesis(
            "the main image has an additional finding of edema than the reference image. "
            "the main image is missing the finding of nodule than the reference image.",
            math.log(0.3),
        ),
        # Neither says anything definite.
        Hypothesis("the level of edema has changed from mild to moderate to severe.", math.log(0.3)),
        Hypothesis("edema edema", math.log(0.1)),
    ])  # fmt: skip
    assert list(found) == [EDEMA, NODULE]
    assert found == pytest.approx({EDEMA: 0.5, NODULE: 0.4 / 0.6})


def test_nothing_is_known_where_no_answer_can_be_read():
    assert change_probabilities([Hypothesis("edema edema", -0.1)]) is None
    assert change_probabilities([Hypothesis(NOTHING_CHANGED, -0.1)]) == {}


def test_both_orders_have_to_agree():
    forward = {NODULE: 0.4, GROWN: 0.9, EDEMA: 0.1}
    backward = {SHRUNK: 0.4, Change("nodule", "added"): 0.9, Change("edema", "added"): 0.5}
    assert agreed_probabilities(forward, backward) == pytest.approx({NODULE: 0.6, GROWN: 0.6})


def test_what_is_probable_enough_is_stated_once_a_finding():
    probabilities = {GROWN: 0.5, Change("edema", "level", "mild", "moderate"): 0.3, NODULE: 0.2}
    stated = {
        0.2: ({GROWN, NODULE}, 0.5 * 0.2),
        0.3: ({GROWN}, 0.5 * 0.8),
        0.6: (set(), 0.2 * 0.8),
    }
    for threshold, (changes, chance) in stated.items():
        text, whole = state_changes(probabilities, threshold)
        assert read_changes(text) == (frozenset(changes),)
        assert whole == pytest.approx(chance)


@pytest.fixture(scope="module")
def telling(model_folder, store_folder):
    """A model whose answers depend on what it is shown, and features of six images."""
    folder, store = load_folder(DifferenceModel, model_folder, "MODEL"), Store.open(store_folder)
    pixels = normalise([store.pixels(place) for place in range(6)], folder.processor)
    return folder, {str(number): one.numpy() for number, one in enumerate(folder.model.encode(pixels))}


@pytest.fixture
def weighing(telling, monkeypatch):
    folder, features = telling
    monkeypatch.setattr(folder.model.config, "change_threshold", 0.02)
    return folder, features


PAIRS = [Pair(current, prior) for current, prior in itertools.permutations("012345", 2)]


def test_with_the_images_exchanged_the_answer_turns_round(weighing):
    asked = [(pair, DIFFERENCE_QUESTION) for pair in PAIRS]
    written = dict(zip(PAIRS, asking.answer_questions(weighing[0], asked, weighing[1]), strict=True))
    for pair, answer in written.items():
        other = written[Pair(pair.prior, pair.current)]
        assert read_changes(turn_round(other.text)) == read_changes(answer.text)
        assert other.confidence == pytest.approx(answer.confidence, abs=1e-4)
        assert other.changed == pytest.approx(answer.changed, abs=1e-4)
        if "nothing" in answer.text:
            assert answer.changed == pytest.approx(1 - answer.confidence)
        else:
            assert answer.changed >= 0.02
    assert len({answer.text for answer in written.values()}) > 2


def test_a_pair_that_is_asked_in_both_orders_is_read_once_in_each(weighing, monkeypatch):
    folder, features = weighing
    read, write = [], asking.write_hypotheses

    def counted(folder, questions, *rest):
        read.extend(questions)
        return write(folder, questions, *rest)

    monkeypatch.setattr(asking, "write_hypotheses", counted)
    asking.answer_questions(folder, [(pair, DIFFERENCE_QUESTION) for pair in PAIRS], features)
    assert len(read) == len(set(read)) == len(PAIRS)


def test_changes_are_weighed_over_answers_by_their_own_probability(weighing):
    """The probability of an answer, worked out from its words one after the other."""
    folder, features = weighing
    asked = [(pair, DIFFERENCE_QUESTION) for pair in PAIRS[:4]]
    found = asking.write_hypotheses(folder, asked, features, 8)
    for (pair, text), rows in zip(asked, found, strict=True):
        assert len({one.text for one in rows}) > 4
        assert [one.log_probability for one in rows] == sorted((one.log_probability for one in rows), reverse=True)
        batch = {
            **collate_pairs([pair_images(features, pair, 1)] * len(rows), folder.processor),
            **collate_questions([question(text, one.text) for one in rows], folder.tokenizer, 96),
        }
        labels = batch.pop("labels")
        with torch.no_grad():
            chances = folder.model(**batch).logits.double().log_softmax(-1)
        chosen = chances.gather(-1, labels.clamp(min=0)[:, :, None])[:, :, 0]
        expected = torch.where(labels >= 0, chosen, 0).sum(1).tolist()
        assert [one.log_probability for one in rows] == pytest.approx(expected, abs=1e-3)


def test_other_questions_and_more_images_are_answered_word_by_word(weighing, monkeypatch):
    folder, features = weighing
    asked = [
        (Pair("0"), "what abnormalities are seen in this image?"),
        (Pair("0", "1"), DIFFERENCE_QUESTION),
        (Pair("0"), DIFFERENCE_QUESTION),
        (Pair("0", "1"), "is there edema?"),
    ]
    weighed = asking.answer_questions(folder, asked, features)
    monkeypatch.setattr(folder.model.config, "change_threshold", None)
    plain = asking.answer_questions(folder, asked, features)
    # The others are in a smaller batch than without weighing, so their probabilities are rounded otherwise.
    alike = [
        (one.text, one.changed) == (other.text, other.changed)
        and one.confidence == pytest.approx(other.confidence, rel=1e-4)
        for one, other in zip(weighed, plain, strict=True)
    ]
    assert alike == [True, False, True, True]
    monkeypatch.setattr(folder.model.config, "change_threshold", 0.1)
    assert not asking._is_weighed(folder.model, Pair("0", "1", ("2",)), DIFFERENCE_QUESTION)
    assert asking._is_weighed(folder.model, Pair("0", "1"), "what has changed in the left lung area?")


def test_where_no_answer_can_be_read_the_likeliest_stands(weighing, monkeypatch):
    rows = [Hypothesis("edema edema", math.log(0.5)), Hypothesis("edema", math.log(0.2))]
    monkeypatch.setattr(asking, "write_hypotheses", lambda folder, asked, features, beams: [rows] * len(asked))
    (answer,) = asking.answer_questions(weighing[0], [(Pair("0", "1"), DIFFERENCE_QUESTION)], weighing[1])
    assert (answer.text, answer.confidence) == ("edema edema", pytest.approx(0.5))
