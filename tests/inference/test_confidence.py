"""Confidence scales: what they say of answers whose worth is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from diffvqa.inference import asking
from diffvqa.inference.confidence import ConfidenceScale, fit_confidence


def drawn(slope, intercept, n=20_000, seed=0):
    random = np.random.default_rng(seed)
    confidence = random.uniform(0.02, 0.98, n)
    scale = ConfidenceScale(slope, intercept)
    return confidence, random.random(n) < [scale.probability(one) for one in confidence]


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (2.5, -3.0), (0.3, 1.0)])
def test_the_scale_that_answers_were_drawn_by_is_found(slope, intercept):
    found = fit_confidence(*drawn(slope, intercept))
    assert found.slope == pytest.approx(slope, rel=0.1)
    assert found.intercept == pytest.approx(intercept, abs=0.1)


def test_it_agrees_with_the_logistic_regression_of_a_library():
    linear_model = pytest.importorskip("sklearn.linear_model")
    confidence, right = drawn(1.7, -1.0)
    odds = np.log(confidence / (1 - confidence))[:, None]
    theirs = linear_model.LogisticRegression(C=np.inf, tol=1e-8).fit(odds, right)
    ours = fit_confidence(confidence, right)
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], abs=0.01)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=0.01)


def test_on_the_whole_it_says_how_many_are_right():
    confidence, right = drawn(0.8, -2.0, n=300)
    scale = fit_confidence(confidence, right)
    assert np.mean([scale.probability(one) for one in confidence]) == pytest.approx(right.mean(), abs=0.01)


@pytest.mark.parametrize("turned", [False, True])
def test_a_more_confident_answer_is_never_called_less_certain(turned):
    """Also where on the validation split it was the other way round."""
    confidence, right = drawn(-1.5 if turned else 1.5, 0.2, n=500)
    scale = fit_confidence(confidence, right)
    values = [scale.probability(one) for one in np.linspace(0, 1, 50)]
    assert np.all(np.diff(values) >= 0)
    assert values[-1] > values[0]


@pytest.mark.parametrize("right", [True, False])
def test_answers_that_are_all_right_or_all_wrong_do_not_make_certain(right):
    confidence = np.random.default_rng(0).uniform(0.1, 0.99, 60)
    scale = fit_confidence(confidence, np.full(60, right))
    values = np.array([scale.probability(one) for one in (0.0, 0.5, 1.0)])
    assert ((values > 0) & (values < 1)).all()
    assert (values > 0.5).all() if right else (values < 0.5).all()


def test_what_a_batch_puts_after_the_end_of_an_answer_does_not_count():
    """The first answer ends at its second token, the second one at its third."""
    end, sequences = 0, torch.tensor([[3, 0, 4], [3, 2, 0]])
    logits = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))
    ended = [asking._until_end(tokens, end) for tokens in sequences.tolist()]
    found = asking._confidences(SimpleNamespace(logits=list(logits), sequences=sequences), ended)
    share = logits.softmax(-1).numpy()
    first = (share[0, 0, 3] * share[1, 0, 0]) ** (1 / 2)
    second = (share[0, 1, 3] * share[1, 1, 2] * share[2, 1, 0]) ** (1 / 3)
    assert found.numpy() == pytest.approx([first, second], rel=1e-5)
