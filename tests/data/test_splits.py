from collections import Counter
from pathlib import Path

import pytest

from diffvqa.data.splits import (
    shared_patients,
    split_by_patient,
    split_of,
    train_or_validate,
)
from diffvqa.records import Cohort, Image, Pair, Question, Study


def _study(name, subject, split):
    return Study(name, subject, 0.0, split, (Image(name, Path(name), 1, 1),))


def _question(subject, split):
    return Question(f"{subject}-{split}", subject, "view", Pair(current="x"), "which view?", "PA view", split)


def test_shares_of_the_patients():
    counts = Counter(split_of(str(subject)) for subject in range(5000))
    assert counts["train"] / 5000 == pytest.approx(0.7, abs=0.03)
    assert counts["validate"] / 5000 == pytest.approx(0.1, abs=0.02)
    assert counts["test"] / 5000 == pytest.approx(0.2, abs=0.03)
    counts = Counter(train_or_validate(str(subject)) for subject in range(5000))
    assert counts["validate"] / 5000 == pytest.approx(1 / 8, abs=0.02)
    assert set(counts) == {"train", "validate"}


def test_the_split_of_a_patient_never_changes_and_depends_on_the_seed():
    # Written down once: another machine, or another version, must put these patients where they were.
    assert [split_of(str(subject)) for subject in range(8)] == [
        "train",
        "test",
        "train",
        "train",
        "train",
        "validate",
        "train",
        "train",
    ]
    assert [split_of(str(n), 1) for n in range(100)] != [split_of(str(n)) for n in range(100)]


def test_patients_in_two_splits_are_counted():
    studies = [
        _study("a", "1", "train"),
        _study("b", "2", "train"),
        _study("c", "3", "train"),
        _study("d", "3", "test"),
    ]
    questions = [_question("1", "train"), _question("1", "test"), _question("2", "validate")]
    assert shared_patients(Cohort(tuple(studies), tuple(questions))) == {
        "any": 2,  # 1 by its questions, 3 by its images
        "train-validate": 0,
        "train-test": 2,
        "validate-test": 0,
        "pretraining-evaluation": 2,  # 1 and 2
    }
    assert set(shared_patients(Cohort(tuple(studies[:3]), tuple(questions[:1]))).values()) == {0}


def test_a_split_by_patient_shares_none_and_depends_on_the_seed():
    studies = tuple(_study(str(n), str(n // 2), ("train", "test")[n % 2]) for n in range(60))
    questions = tuple(_question(str(n), "train") for n in range(30))
    splits = []
    for seed in (0, 1):
        cohort = split_by_patient(Cohort(studies, questions), seed)
        assert set(shared_patients(cohort).values()) == {0}
        assert [study.study_id for study in cohort.studies] == [study.study_id for study in studies]
        splits.append([question.split for question in cohort.questions])
    assert splits[0] != splits[1]
