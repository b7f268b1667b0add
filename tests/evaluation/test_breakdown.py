"""Changes taken apart, on cases counted by hand."""

import re
from dataclasses import replace

import pytest

from diffvqa.evaluation.breakdown import (
    ELSEWHERE,
    tally_findings,
    tally_groups,
    tally_kinds,
    tally_steps,
)
from diffvqa.evaluation.changes import judge, tally_changes
from diffvqa.evaluation.groups import factor_and_strength
from diffvqa.evaluation.intervals import resample_patients, score_tally
from diffvqa.evaluation.predictions import Prediction
from diffvqa.evaluation.report_charts import MODEL, draw_reliability, draw_response, responses
from diffvqa.findings import NOTHING_CHANGED, Change, write_changes

EDEMA, WORSE = Change("edema", "added"), Change("edema", "level", "mild", "severe")
HERNIA, GONE = Change("hernia", "missing"), Change("pneumonia", "missing")


def row(number, said, true, steps=None, group=None):
    answer = said if isinstance(said, str) else write_changes(said)
    return Prediction(
        str(number),
        answer,
        (write_changes(true),),
        question_type="difference",
        reference_changes=frozenset(true),
        reference_steps=steps or {},
        group=group,
    )


def values(tallies, name):
    found = {}
    for label, tally in tallies.items():
        resamples = resample_patients({identifier: identifier for identifier in tally.ids}, 20, 0)
        score = score_tally(tally, resamples).get(name)
        found[label] = score and score["value"]
    return found


ROWS = [
    row(1, [EDEMA, HERNIA], [EDEMA], {EDEMA: 1}),
    row(2, [WORSE], [WORSE, HERNIA], {WORSE: 2, HERNIA: 1}),
    row(3, [GONE], [EDEMA], {EDEMA: 3}),
    row(4, "no idea", [HERNIA]),
]


def test_each_finding_is_counted_by_itself():
    tallies = tally_findings(judge(ROWS))
    assert list(tallies) == ["edema", "hernia", ELSEWHERE]
    assert dict(tallies["edema"].counts) == {"matched": 2, "predicted": 2, "reference": 3}
    assert dict(tallies["hernia"].counts) == {"matched": 0, "predicted": 1, "reference": 2}
    assert dict(tallies[ELSEWHERE].counts) == {"matched": 0, "predicted": 1, "reference": 0}
    assert values(tallies, "recall") == {"edema": pytest.approx(2 / 3), "hernia": 0, ELSEWHERE: None}
    assert values(tallies, "precision") == {"edema": 1, "hernia": 0, ELSEWHERE: 0}


def test_kinds_and_findings_add_up_to_all_changes():
    whole = tally_changes(ROWS).columns.sum(axis=0)
    for tallies in (tally_findings(judge(ROWS)), tally_kinds(judge(ROWS))):
        sums = sum(tally.columns.sum(axis=0) for tally in tallies.values())
        # An unreadable answer to a changed pair states nothing, so the three columns agree.
        assert sums.tolist() == whole[:3].tolist()
    assert list(tally_kinds(judge(ROWS))) == ["level", "added", "missing"]


def test_recall_by_steps_where_they_are_known():
    tallies = tally_steps(judge(ROWS))
    assert {label: tally.counts["reference"] for label, tally in tallies.items()} == {"1": 2, "3": 1, "level 2": 1}
    assert list(tallies) == ["1", "3", "level 2"]
    assert values(tallies, "recall") == {"1": 0.5, "3": 0, "level 2": 1}
    assert "precision" not in tallies["1"].formulas
    assert tally_steps(judge([row(1, [EDEMA], [EDEMA])])) == {}


GROUPED = [
    row(1, [EDEMA], [], group="rotation 1"),
    row(2, [], [], group="rotation 0.5"),
    row(3, [EDEMA], [], group="rotation 0.5"),
    row(4, [], [], group="repeat"),
    row(5, [EDEMA], [EDEMA, HERNIA], group="other"),
    row(6, [EDEMA], [EDEMA]),
]


def test_groups_have_change_scores_of_their_own_in_order_of_strength():
    tallies = tally_groups(GROUPED)
    assert list(tallies) == ["repeat", "other", "rotation 0.5", "rotation 1"]
    assert [tally.counts["n"] for tally in tallies.values()] == [1, 1, 2, 1]
    rates = {"repeat": 0, "other": None, "rotation 0.5": 0.5, "rotation 1": 1}
    assert values(tallies, "false_change_rate") == rates
    assert values(tallies, "recall") == {**dict.fromkeys(rates), "other": 0.5}
    assert values(tallies, "f1") == {**dict.fromkeys(rates), "other": pytest.approx(2 / 3)}


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("rotation 0.5", ("rotation", 0.5)),
        ("low dose 2", ("low dose", 2.0)),
        ("repeat", None),
        ("0.5", None),
        ("rotation nan", None),
        ("a b", None),
    ],
)
def test_a_group_says_factor_and_strength(group, expected):
    assert factor_and_strength(group) == expected


def rate(value):
    return {"value": value, "low": max(value - 0.1, 0), "high": value + 0.1}


def test_repeats_are_strength_0_of_the_factors_of_their_patients():
    def taken(number, patient, group, false):
        return replace(row(number, [EDEMA] if false else [], [], group=group), subject_id=patient)

    rows = [
        *(taken(number, "a", group, False) for number, group in enumerate(["repeat", "rotation 1"])),
        *(taken(number, "b", group, True) for number, group in enumerate(["repeat", "dose 1", "zoom 1"], 2)),
        taken(5, "c", "repeat", True),
    ]
    rates = values(tally_groups(rows), "false_change_rate")
    ones = dict.fromkeys(["dose 0", "dose 1", "zoom 0", "zoom 1"], 1)
    assert rates == {"repeat": pytest.approx(2 / 3), "rotation 0": 0, "rotation 1": 0, **ones}


def test_a_curve_is_a_factor_s_rates_by_strength():
    groups = {
        "repeat": {"false_change_rate": rate(0.5)},
        "noise 0": {"false_change_rate": rate(0.1)},
        "tilt 0": {"false_change_rate": rate(0.1)},
        "noise 1": {"false_change_rate": rate(0.4)},
        "noise 0.5": {"false_change_rate": rate(0.2)},
        "tilt 2": {"false_change_rate": None},
        "zoom 1": {"false_change_rate": rate(0.3)},
    }
    found = {factor: [(s, one["value"]) for s, one in rates] for factor, rates in responses(groups).items()}
    assert found == {"noise": [(0, 0.1), (0.5, 0.2), (1, 0.4)], "zoom": [(1, 0.3)]}


def test_the_charts_say_in_words_what_they_show():
    response = draw_response("noise", [(0, rate(0.1)), (1, rate(0.4))], 1)
    assert response.description == "noise: false-change rate 0.10 at 0, 0.40 at 1"
    bins = [{"low": 0.9, "high": 1.0, "n": 4, "confidence": rate(0.8), "accuracy": rate(0.5)}]
    assert draw_reliability(bins).description == "Accuracy against confidence: 0.50 at 0.80"


def test_a_response_has_a_dot_a_strength_and_a_higher_one_for_a_higher_rate():
    def heights(*values):
        drawn = draw_response("noise", [(place, rate(value)) for place, value in enumerate(values)], 1).svg
        return [float(found) for found in re.findall(rf'y="([\d.]+)" style="fill: {MODEL}', drawn)]

    assert len(heights(0.1)) == 1
    low, high, between = heights(0.1, 0.4, 0.2)
    assert low > between > high  # from the top


def test_a_pair_without_group_is_in_none():
    assert tally_groups([row(1, NOTHING_CHANGED, [])]) == {}
