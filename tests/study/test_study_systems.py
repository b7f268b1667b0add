"""Means over seeds."""

import pytest

from diffvqa.study.systems import System

SCORE = "changes/f1"


def system(*values):
    cells = [{"evaluations": {"test": {"model": {"changes": {"f1": {"value": value}}}}}} for value in values]
    return System("cap", {}, cells)


@pytest.mark.parametrize("value", [0.1, 0.0671936759, 0.962, 1 / 3])
@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 6])
def test_the_mean_of_equal_seeds_is_what_each_has(value, seeds):
    found = system(*[value] * seeds).mean("test", SCORE)
    assert (found.value, found.low, found.high) == (value, value, value)


def test_a_mean_lies_between_its_lowest_and_highest_seed():
    found = system(0.3, 0.1, 0.2).mean("test", SCORE)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high, found.seeds) == (0.1, 0.3, 3)


def test_a_score_that_no_seed_has_has_no_mean():
    assert system(0.3).mean("test", "grounding/AREF/accuracy_0.5") is None
