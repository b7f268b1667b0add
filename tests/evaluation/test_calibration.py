"""Confidence against right and wrong, held against the definitions written out as loops."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score

from diffvqa.evaluation.calibration import SHARES, most_confident, tally_calibration
from diffvqa.evaluation.changes import judge
from diffvqa.evaluation.intervals import resample_patients, score_tally
from diffvqa.evaluation.predictions import Prediction
from diffvqa.findings import NOTHING_CHANGED, Change, write_changes

EDEMA = write_changes([Change("edema", "added")])


def rows_of(confidence, right, patients=None):
    return [
        Prediction(
            str(number),
            NOTHING_CHANGED if good else EDEMA,
            (NOTHING_CHANGED,),
            question_type="difference",
            confidence=None if sure is None else float(sure),
            subject_id=None if patients is None else str(patients[number]),
        )
        for number, (sure, good) in enumerate(zip(confidence, right, strict=True))
    ]


def scores(rows, replicates=50):
    found = tally_calibration(judge(rows))
    resamples = resample_patients({row.id: row.patient for row in rows}, replicates, 0)
    return found, score_tally(found.tally, resamples), [score_tally(one.tally, resamples) for one in found.bins]


def made(seed, count=200, decimals=2):
    """Confidences with ties and on edges of bins, right about as often as they say."""
    random = np.random.default_rng(seed)
    confidence = random.random(count).round(decimals)
    return confidence, random.random(count) < 0.3 + 0.5 * confidence


def naive_auroc(confidence, right):
    good, bad = confidence[right][:, None], confidence[~right][None]
    return ((good > bad) + 0.5 * (good == bad)).mean()


@pytest.mark.parametrize("decimals", [1, 2, 6])
@pytest.mark.parametrize("seed", range(5))
def test_auroc_is_that_of_all_pairs(seed, decimals):
    confidence, right = made(seed, decimals=decimals)
    _, found, _ = scores(rows_of(confidence, right))
    assert found["auroc"]["value"] == pytest.approx(naive_auroc(confidence, right), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_order_and_bins_are_scikit_learn_s(seed):
    confidence, right = made(seed, count=1000)
    _, found, bins = scores(rows_of(confidence, right))
    accuracy, mean_confidence = calibration_curve(right, confidence, n_bins=10)
    assert found["auroc"]["value"] == pytest.approx(roc_auc_score(right, confidence), abs=1e-9)
    assert [one["accuracy"]["value"] for one in bins] == pytest.approx(list(accuracy), abs=1e-9)
    assert [one["confidence"]["value"] for one in bins] == pytest.approx(list(mean_confidence), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_bins_and_calibration_error_are_those_of_a_loop(seed):
    confidence, right = made(seed)
    calibration, found, bins = scores(rows_of(confidence, right))
    expected, error = [], 0
    for index in range(10):
        low, high = index / 10, (index + 1) / 10
        inside = [
            number
            for number, value in enumerate(confidence)
            if low < round(value, 6) <= high or (index == 0 and value == 0)
        ]
        if inside:
            mean, accuracy = confidence[inside].mean(), right[inside].mean()
            expected.append((low, len(inside), pytest.approx(mean), pytest.approx(accuracy)))
            error += len(inside) / len(right) * abs(mean - accuracy)
    assert [
        (one.low, one.tally.counts["n"], values["confidence"]["value"], values["accuracy"]["value"])
        for one, values in zip(calibration.bins, bins, strict=True)
    ] == expected
    assert found["ece"]["value"] == pytest.approx(error)


def test_the_most_confident_are_taken_and_ties_shared():
    confidence, right = np.array([0.9, 0.8, 0.8, 0.8, 0.1]), np.array([True, True, False, False, False])
    _, found, _ = scores(rows_of(confidence, right))
    assert found["selective_100"]["value"] == pytest.approx(2 / 5)
    assert found["selective_20"]["value"] == 1
    # The first, and one of three with equal confidence, of which one is right.
    assert found["selective_40"]["value"] == pytest.approx((1 + 1 / 3) / 2)
    assert most_confident(confidence, 0.4).sum() == pytest.approx(2)
    assert set(SHARES) == {100, 80, 60, 40, 20}


def test_an_interval_of_auroc_is_that_of_the_bootstrap_itself():
    confidence, right = made(7, 240)
    patients = np.arange(240) // 3
    rows = rows_of(confidence, right, patients)
    _, found, _ = scores(rows, 2000)
    random, drawn = np.random.default_rng(1), []
    for _ in range(1000):
        chosen = np.concatenate([np.arange(3) + 3 * one for one in random.integers(80, size=80)])
        drawn.append(naive_auroc(confidence[chosen], right[chosen]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found["auroc"]["low"] == pytest.approx(low, abs=0.015)
    assert found["auroc"]["high"] == pytest.approx(high, abs=0.015)


def test_a_calibrated_confidence_has_no_error_and_an_inverted_one_the_worst_order():
    _, found, _ = scores(rows_of([1.0] * 5 + [0.0] * 5, [True] * 5 + [False] * 5))
    assert (found["ece"]["value"], found["auroc"]["value"]) == (0, 1)
    _, found, _ = scores(rows_of([0.0] * 5 + [1.0] * 5, [True] * 5 + [False] * 5))
    assert (found["ece"]["value"], found["auroc"]["value"]) == (1, 0)


def test_without_wrong_or_without_right_answers_there_is_no_auroc():
    for right in ([True, True], [False, False]):
        _, found, _ = scores(rows_of([0.4, 0.6], right))
        assert found["auroc"] is None


def test_right_is_all_changes_and_nothing_else():
    both = write_changes([Change("edema", "added"), Change("hernia", "missing")])
    ambiguous = "the level of edema has changed from mild to moderate to severe."
    level = write_changes([Change("edema", "level", "mild", "moderate to severe")])
    cases = [
        (both, both, True),
        (EDEMA, both, False),
        (both, EDEMA, False),
        ("no idea", NOTHING_CHANGED, False),
        (ambiguous, level, True),
        (EDEMA.upper(), EDEMA, True),
    ]
    rows = [Prediction(str(number), said, (true,)) for number, (said, true, _) in enumerate(cases)]
    assert [one.right for one in judge(rows)] == [right for _, _, right in cases]


def test_only_answers_with_a_confidence_count():
    calibration, _, _ = scores(rows_of([0.5, None, 0.7], [True, False, False]))
    assert dict(calibration.tally.counts) == {"n": 2, "right": 1}
    assert tally_calibration(judge(rows_of([None], [True]))) is None
