"""The row of this model below the published ones."""

import pytest

from diffvqa.evaluation.published import PUBLISHED, SCORES_OF_ROW, own_row, remarks

SCORE = {"value": 0.5, "low": 0.4, "high": 0.6}
SCORES = {"n": 7, **dict.fromkeys(SCORES_OF_ROW, SCORE)}


def metrics(tokenizer="ptb", **scores):
    return {"answers": {"difference": {**SCORES, **scores}}, "tokenizer": tokenizer}


RUN = {"split": "test", "dataset": "mimic-cxr-jpg 2.1.0, medical-diff-vqa 1.0.1"}


def test_only_difference_questions_of_a_test_split_have_a_row():
    assert own_row(metrics(), RUN)["n"] == 7
    assert own_row(metrics(), {**RUN, "split": "validate"}) is None
    assert own_row({"answers": {"view": SCORES}, "tokenizer": "ptb"}, RUN) is None


@pytest.mark.parametrize(
    "other",
    [
        {"truth": {"joined": 7, "missing": 0}},
        {"dataset": "mimic-cxr-jpg 2.1.0 (synthetic), medical-diff-vqa 1.0.1 (synthetic)"},
        {"dataset": "nih-chest-xray14"},
        {"dataset": "not recorded"},
    ],
)
def test_other_datasets_have_none(other):
    assert own_row(metrics(), {**RUN, **other}) is None


def test_what_must_be_said_of_a_row():
    said = remarks(own_row(metrics(), RUN))
    assert any("CIDEr depends on n" in one for one in said)
    assert any("medical-diff-vqa 1.0.1" in one for one in said)


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
    said = own_row(metrics(tokenizer, meteor=meteor), RUN)["implementation"]
    assert all(word in said for word in words)


def test_published_rows_are_complete_and_in_order_of_time():
    assert all(len(one.scores) == len(SCORES_OF_ROW) and one.source for one in PUBLISHED)
    assert [one.year for one in PUBLISHED] == sorted(one.year for one in PUBLISHED)
    ekaid = next(one for one in PUBLISHED if one.system == "EKAID")
    assert dict(zip(SCORES_OF_ROW, ekaid.scores, strict=True))["cider"] == 1.027
