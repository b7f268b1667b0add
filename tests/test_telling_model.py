"""The models of the tests tell what they are shown: by far more than rounding, so that a test sees it exchanged."""

import itertools

import numpy as np
import pytest
import torch

import reference
from diffvqa.data.store import Store
from diffvqa.findings import ABNORMALITIES_QUESTION, ANY_ABNORMALITY_QUESTION, DIFFERENCE_QUESTION, read_changes
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import load_folder, weights_digest

PAIRS = 8
MARGIN = 50 * reference.CLOSE
"""So much at least the likelihood of a first word changes, whatever is changed of what a model is shown."""


@pytest.fixture(scope="module", params=["model_folder", "model_of_two_priors_folder"])
def model(request):
    return load_folder(DifferenceModel, request.getfixturevalue(request.param), "MODEL")


@pytest.fixture(scope="module")
def pairs(store_folder):
    """Squares of a current and a prior image."""
    store = Store.open(store_folder)
    squares = [store.pixels(place) for place in range(PAIRS + 1)]
    return list(itertools.pairwise(squares))


def exchanged_times(model):
    weight = model.model.time.weight
    return torch.cat([weight[1:2], weight[:1], weight[2:]])


CHANGED = {
    "prior and current": lambda current, prior: (prior, [current]),
    "no prior": lambda current, _: (current, []),
    "a mirrored current image": lambda current, prior: (current[:, ::-1].copy(), [prior]),
    "a mirrored prior image": lambda current, prior: (current, [prior[:, ::-1].copy()]),
    "a shifted current image": lambda current, prior: (np.roll(current, 5, axis=0), [prior]),
    "a shifted prior image": lambda current, prior: (current, [np.roll(prior, 5, axis=1)]),
    "the current image darker": lambda current, prior: ((current * 0.7).astype(np.uint8), [prior]),
    "the prior image darker": lambda current, prior: (current, [(prior * 0.7).astype(np.uint8)]),
    "the current image twice": lambda current, _: (current, [current]),
}


@pytest.mark.parametrize("what", CHANGED)
def test_answers_depend_on_what_is_shown(model, pairs, what):
    moved = []
    for current, prior in pairs:
        plain = reference.answer(model, current, [prior], DIFFERENCE_QUESTION)
        other = reference.answer(model, *CHANGED[what](current, prior), DIFFERENCE_QUESTION)
        moved.append(distance(plain, other))
    assert min(moved) > MARGIN
    assert np.median(moved) > 4 * MARGIN


def distance(one, other):
    """How much the log probability of a first word changes, of those that are likely in either."""
    likely = torch.maximum(one.first, other.first) > np.log(0.01)
    return float((one.first - other.first).abs()[likely].max())


def test_answers_depend_on_the_embeddings_of_time(model, pairs):
    plain = [reference.answer(model, current, [prior], DIFFERENCE_QUESTION) for current, prior in pairs]
    kept = model.model.time.weight.data.clone()
    try:
        model.model.time.weight.data = exchanged_times(model)
        other = [reference.answer(model, current, [prior], DIFFERENCE_QUESTION) for current, prior in pairs]
    finally:
        model.model.time.weight.data = kept
    assert min(map(distance, plain, other)) > MARGIN


def test_answers_depend_on_the_order_of_earlier_images(model_of_two_priors_folder, pairs):
    model = load_folder(DifferenceModel, model_of_two_priors_folder, "MODEL")
    for (current, prior), (_, earlier) in itertools.pairwise(pairs):
        one = reference.answer(model, current, [prior, earlier], DIFFERENCE_QUESTION)
        assert distance(one, reference.answer(model, current, [earlier, prior], DIFFERENCE_QUESTION)) > MARGIN
        assert distance(one, reference.answer(model, current, [prior], DIFFERENCE_QUESTION)) > MARGIN


def test_answers_depend_on_the_question_of_the_same_kind(model, pairs):
    changes, findings = [], []
    for current, prior in pairs:
        asked = (DIFFERENCE_QUESTION, "what has changed in the right basilar area?")
        changes.append(distance(*(reference.answer(model, current, [prior], question) for question in asked)))
        asked = ("is there edema?", "is there atelectasis?")
        findings.append(distance(*(reference.answer(model, current, [], question) for question in asked)))
    assert min(changes) > MARGIN
    assert np.median(findings) > MARGIN


def test_answers_are_of_the_grammar_and_mostly_differ(model, pairs):
    texts = [reference.answer(model, current, [prior], DIFFERENCE_QUESTION).text for current, prior in pairs]
    assert all(text.isascii() and len(read_changes(text)) == 1 for text in texts)
    assert len(set(texts)) > PAIRS / 2
    kinds = {change.kind for text in texts for change in read_changes(text)[0]}
    assert len(kinds) > 1
    for question, known in ((ANY_ABNORMALITY_QUESTION, {"yes.", "no."}), (ABNORMALITIES_QUESTION, None)):
        found = {reference.answer(model, current, [], question).text for current, _ in pairs}
        assert len(found) > 1
        assert found == known if known else all(text.endswith(".") for text in found)


def test_boxes_depend_on_image_place_and_phrase(captioner_folder, pairs):
    captioner = load_folder(Captioner, captioner_folder, "MODEL")

    def find(grey, phrase="edema"):
        return reference.box(captioner, grey, phrase, 64, 64)

    squares = [current for current, _ in pairs]
    plain = [find(square) for square in squares]
    assert len(set(plain)) >= PAIRS - 1
    for other in (
        [find(square[:, ::-1].copy()) for square in squares],
        [find((square * 0.5).astype(np.uint8)) for square in squares],
        [find(square, "left pleural effusion") for square in squares],
    ):
        assert sum(one != another for one, another in zip(plain, other, strict=True)) > PAIRS / 2


def test_the_weights_are_no_more_those_of_training(model_folder, trained_model_folder):
    assert weights_digest(model_folder) != weights_digest(trained_model_folder)
