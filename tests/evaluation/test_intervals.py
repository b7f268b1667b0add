"""The bootstrap over patients."""

import numpy as np
import pytest

from diffvqa.evaluation.intervals import Tally, difference, mean_of, ratio, resample_patients, score_tally

COLUMNS = ("one", "score")


def tally(values, prefix="r"):
    columns = np.stack([np.ones(len(values)), np.asarray(values, dtype=float)], axis=1)
    ids = tuple(f"{prefix}{number}" for number in range(len(values)))
    return Tally(ids, columns, {"mean": mean_of(COLUMNS, "score")}, {})


def interval(values, patients, replicates=2000, seed=0):
    made = tally(values)
    return score_tally(made, resample_patients(dict(zip(made.ids, patients, strict=True)), replicates, seed))["mean"]


def test_an_interval_holds_its_value_and_narrows_with_patients():
    values = np.random.default_rng(1).random(400)
    few, many = interval(values[:40], range(40)), interval(values, range(400))
    for found in (few, many):
        assert found["low"] < found["value"] < found["high"]
    assert many["high"] - many["low"] < few["high"] - few["low"]


def test_the_width_is_that_of_the_standard_error():
    values = np.random.default_rng(2).random(300)
    found = interval(values, range(300))
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * values.std() / np.sqrt(300), rel=0.1)


def test_equal_rows_give_an_interval_of_no_width():
    assert interval([0.3] * 50, range(50)) == {"value": 0.3, "low": 0.3, "high": 0.3}


def test_deterministic_in_the_seed_and_blind_to_the_order_of_rows():
    values, patients = [0, 1, 0, 1, 1, 0, 0], ["a", "b", "c", "a", "d", "e", "f"]
    assert interval(values, patients) == interval(values, patients)
    assert interval(values, patients) == interval(values[::-1], patients[::-1])
    different = np.random.default_rng(0).random(30)
    assert interval(different, range(30), seed=0) != interval(different, range(30), seed=1)


def test_patients_are_drawn_not_rows():
    # The same 400 values; either every row is a patient, or four patients agree with themselves throughout.
    values = np.repeat([0.0, 1.0, 0.0, 1.0], 100)
    by_row = interval(values, range(400))
    by_patient = interval(values, np.repeat(["a", "b", "c", "d"], 100))
    assert by_row["value"] == by_patient["value"] == 0.5
    assert by_row["high"] - by_row["low"] < 0.12
    assert (by_patient["low"], by_patient["high"]) == (0.0, 1.0)


def test_a_patient_with_all_rows_leaves_nothing_to_chance():
    found = interval([0, 1, 1, 1], ["a"] * 4)
    assert found["low"] == found["high"] == 0.75


def test_resamples_are_those_of_one_draw_and_sum_as_a_matrix_product_does():
    patients = {str(row): row % 40 for row in range(90)}
    resamples = resample_patients(patients, 1203, seed=5)
    naive = np.random.default_rng(5).multinomial(40, np.full(40, 1 / 40), size=1203)
    assert (resamples.draws == naive).all()
    columns = np.random.default_rng(0).random((90, 3))
    tally = Tally(tuple(patients), columns, {}, {})
    every = naive[:, [resamples.patient_of[row] for row in patients]]
    np.testing.assert_allclose(resamples.sums(tally), every @ columns)


def test_a_paired_difference_is_narrower_than_the_scores_it_is_of():
    generator = np.random.default_rng(3)
    hard = generator.random(200)
    first, second = tally(hard + 0.1), tally(hard)
    resamples = resample_patients({identifier: identifier for identifier in first.ids}, 500, 0)
    found = difference(first, second, "mean", resamples)
    assert found["value"] == found["low"] == found["high"] == pytest.approx(0.1)
    assert found["n"] == 200


def test_a_paired_difference_is_over_common_rows():
    first, second = tally([1, 1, 0, 0]), tally([0, 1])
    resamples = resample_patients({identifier: identifier for identifier in first.ids}, 100, 0)
    found = difference(first, second, "mean", resamples)
    assert (found["n"], found["value"]) == (2, 0.5)
    assert difference(first, tally([1], prefix="other"), "mean", resamples) is None


def test_undefined_scores_are_none_and_undefined_resamples_left_out():
    columns = np.array([[1.0, 1.0], [0.0, 0.0]])
    made = Tally(("a", "b"), columns, {"share": lambda sums: ratio(sums[..., 0], sums[..., 1])}, {})
    resamples = resample_patients({"a": "a", "b": "b"}, 200, 0)
    assert score_tally(made, resamples)["share"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    nothing = Tally(("b",), columns[1:], made.formulas, {})
    assert score_tally(nothing, resamples)["share"] is None
