"""The truth of a synthetic cohort beside the rows of its difference questions."""

import json

import pytest

from diffvqa.errors import InputError
from diffvqa.evaluating.truth import IMAGES, count_known, join_truth, read_true_findings, read_truth
from diffvqa.findings import DIFFERENCE_QUESTION
from diffvqa.records import Pair, Question

EDEMA = {"finding": "edema", "kind": "level", "before": "mild", "after": "severe"}
HERNIA = {"finding": "hernia", "kind": "added", "before": None, "after": None}
PAIRS = [
    {"prior": "a", "current": "b", "changes": [{**EDEMA, "steps": 2}, HERNIA], "group": "rotation 0.5", "factor": "x"},
    {"prior": "b", "current": "c", "changes": [], "group": None},
    {"prior": "a", "current": "c", "changes": [EDEMA]},
]


def write(folder, rows):
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def ask(prior, current, text=DIFFERENCE_QUESTION, answer="nothing has changed.", kind="difference"):
    return Question("q", "p", kind, Pair(current, prior), text, answer, "test")


def joined(folder, question):
    (row,) = join_truth([{"id": "q"}], [question], read_truth(write(folder, PAIRS)))
    return row


def test_changes_steps_and_group_come_to_the_row(tmp_path):
    row = joined(tmp_path, ask("a", "b"))
    assert row == {"id": "q", "reference_changes": [{**EDEMA, "steps": 2}, HERNIA], "group": "rotation 0.5"}


def test_older_truth_without_group_and_steps_is_read(tmp_path):
    assert joined(tmp_path, ask("a", "c")) == {"id": "q", "reference_changes": [EDEMA], "group": None}
    assert joined(tmp_path, ask("b", "c"))["reference_changes"] == []


def test_a_question_about_an_area_gets_the_changes_of_its_answer(tmp_path):
    answer = "the level of edema has changed from mild to severe."
    row = joined(tmp_path, ask("a", "b", "what has changed in the lower area?", answer))
    assert row["reference_changes"] == [{**EDEMA, "steps": 2}]


def test_the_order_of_a_pair_matters_and_other_questions_stay(tmp_path):
    assert joined(tmp_path, ask("b", "a")) == {"id": "q"}
    assert joined(tmp_path, ask("a", "b", "what is seen?", "edema", "abnormality")) == {"id": "q"}


def test_missing_pairs_are_counted_and_a_truth_of_another_cohort_is_refused(tmp_path):
    truth = read_truth(write(tmp_path, PAIRS))
    assert count_known([ask("a", "b"), ask("x", "y"), ask(None, "y", kind="view")], truth) == {
        "joined": 1,
        "missing": 1,
    }
    with pytest.raises(InputError, match=r"truth: .* 2 difference questions, found not one"):
        count_known([ask("x", "y"), ask("y", "z")], truth)


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"truth: .*pairs\.jsonl"):
        read_truth(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"prior": None},
        {"changes": None},
        {"changes": [{**HERNIA, "kind": "gone"}]},
        {"changes": [{**HERNIA, "steps": 0}]},
        {"changes": [{**HERNIA, "steps": True}]},
        {"changes": ["hernia"]},
        {"group": 3},
    ],
)
def test_a_bad_line_is_named(tmp_path, change):
    with pytest.raises(InputError, match="line 2"):
        read_truth(write(tmp_path, [PAIRS[0], {**PAIRS[1], **change}]))


def test_true_findings_are_there_whatever_the_report_says(cohort_folder):
    folder = cohort_folder / "truth"
    found = read_true_findings(folder)
    rows = [json.loads(line) for line in (folder / IMAGES).read_text().splitlines()]
    assert len(found) == len(rows)
    for row in rows:
        assert found[row["dicom_id"]] == {one["finding"] for one in row["findings"]}
    assert any(not one["reported"] for row in rows for one in row["findings"])
