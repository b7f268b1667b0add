"""The row of this model below the published ones."""

import pytest

from diffvqa.evaluation.published import PUBLISHED, SCORES_OF_ROW, own_row, remarks

SCORE = {"value": 0.5, "low": 0.4, "high": 0.6}
SCORES = {"n": 7, **dict.fromkeys(SCORES_OF_ROW, SCORE)}


def metrics(tokenizer="ptb", **scores):
    return {"answers": {"difference": {**SCORES, **scores}}, "tokenizer": tokenizer}


def test_only_difference_questions_of_a_test_split_have_a_row():
    assert own_row(metrics(), {"split": "test"})["n"] == 7
    assert own_row(metrics(), {"split": "validate"}) is None
    assert own_row(metrics(), {}) is None
    assert own_row({"answers": {"view": SCORES}, "tokenizer": "ptb"}, {"split": "test"}) is None


def test_a_synthetic_cohort_is_said_and_an_unknown_dataset_too():
    synthetic = own_row(metrics(), {"split": "test", "truth": {"joined": 7, "missing": 0}})
    assert any("synthetic" in remark for remark in remarks(synthetic))
    recorded = own_row(metrics(), {"split": "test", "dataset": "medical-diff-vqa 1.0.1 (synthetic)"})
    assert remarks(recorded) == remarks(synthetic)
    unknown = own_row(metrics(), {"split": "test"})
    assert unknown["dataset"] == "not recorded"
    assert own_row(metrics(), {"split": "test", "dataset": "medical-diff-vqa 1.0.1"})["dataset"].endswith("1.0.1")
    assert not any("synthetic" in remark for remark in remarks(unknown))
    for row in (synthetic, unknown):
        assert any("CIDEr depends on n" in remark for remark in remarks(row))


@pytest.mark.parametrize(
    ("tokenizer", "meteor", "words"),
    [
        ("ptb", SCORE, ("PTB tokens", "METEOR 1.5 in Java")),
        ("ptb", None, ("PTB tokens", "METEOR is missing")),
        ("plain words", None, ("plain words in place of PTB tokens", "METEOR is missing")),
        (None, None, ("pycocoevalcap is missing",)),
    ],
)
def test_what_was_used_and_what_is_missing_is_said(tokenizer, meteor, words):
    said = own_row(metrics(tokenizer, meteor=meteor), {"split": "test"})["implementation"]
    assert all(word in said for word in words)


def test_published_rows_are_complete_and_in_order_of_time():
    assert all(len(one.scores) == len(SCORES_OF_ROW) and one.source for one in PUBLISHED)
    assert [one.year for one in PUBLISHED] == sorted(one.year for one in PUBLISHED)
    ekaid = next(one for one in PUBLISHED if one.system == "EKAID")
    assert dict(zip(SCORES_OF_ROW, ekaid.scores, strict=True))["cider"] == 1.027
