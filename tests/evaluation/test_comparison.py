"""Systems against one another: differences, p-values, Holm's correction, and what is refused."""

import json
import re

import numpy as np
import pytest
from rich.console import Console

from diffvqa.errors import InputError
from diffvqa.evaluation.comparison import COMPARED, compare, holm, two_sided_p
from diffvqa.evaluation.score import score_file
from diffvqa.evaluation.score_table import print_comparison
from diffvqa.findings import NOTHING_CHANGED

EDEMA = "the main image has an additional finding of edema than the reference image."


def write(path, skill, seed=0, count=120, boxes=True):
    """Difference questions of count / 2 patients, two of three of them unchanged, one of these a repeat that is told.

    The others, and the boxes, are answered rightly with a chance of `skill`.
    """
    random, rows = np.random.default_rng(seed), []
    for number in range(count):
        reference, other = (EDEMA, NOTHING_CHANGED) if number % 2 else (NOTHING_CHANGED, EDEMA)
        answer = reference if random.random() < skill else other
        common = {"id": f"d{number}", "subject_id": f"p{number // 2}", "question_type": "difference"}
        flagged = answer == EDEMA
        said = {"answer": answer, "flagged": flagged, "changed": (flagged + random.random()) / 2}
        rows.append({**common, **said, "references": [reference], "group": "dose 1"})
        if reference == NOTHING_CHANGED:
            repeat = {
                "id": f"r{number}",
                "answer": NOTHING_CHANGED,
                "group": "repeat",
                "flagged": False,
                "changed": 0.1,
            }
            rows.append({**common, **repeat, "references": [NOTHING_CHANGED]})
        if boxes:
            box = [0, 0, 10, 10] if random.random() < skill else [0, 0, 1, 1]
            common = {"id": f"b{number}", "subject_id": f"p{number // 2}", "task": "AREF"}
            rows.append({**common, "boxes": [box], "reference_boxes": [[0, 0, 10, 10]]})
    path.mkdir(exist_ok=True)
    (path / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_better_system_is_told_from_a_worse_one_and_equals_are_not(tmp_path):
    good, bad = write(tmp_path / "good", 0.95), write(tmp_path / "bad", 0.5, seed=1)
    result = compare({"good": [good], "same": [good], "bad": [bad]}, replicates=500)
    for score in COMPARED:
        first, second, third = result["comparisons"][score]
        assert (first["first"], first["second"]) == ("good", "same")
        assert (first["value"], first["low"], first["high"], first["p"]) == (0, 0, 0, 1)
        lower_is_better = "false_change_rate", "induced_change_rate", "false_change_rate_at_90", "flagged_unchanged"
        sign = -1 if score in lower_is_better else 1
        assert sign * second["value"] > 0
        assert second["p"] < 0.01
        assert second["p_holm"] > second["p"]
        assert {key: third[key] for key in ("value", "p")} == {key: second[key] for key in ("value", "p")}


def test_the_scores_are_those_of_the_files(tmp_path):
    folders = {name: [write(tmp_path / name, skill)] for name, skill in (("a", 0.9), ("b", 0.6))}
    result = compare(folders, replicates=50)
    for name, (folder,) in folders.items():
        alone = score_file(folder / "predictions.jsonl", replicates=10)
        for score in ("f1", "recall", "detection_rate", "false_change_rate", "induced_change_rate"):
            assert result["systems"][name][score]["value"] == pytest.approx(alone["changes"][score]["value"])
        boxes = alone["grounding"]["AREF"]["accuracy_0.5"]["value"]
        assert result["systems"][name]["aref_accuracy"]["value"] == pytest.approx(boxes)
    (row,) = result["comparisons"]["f1"]
    first, second = (result["systems"][name]["f1"]["value"] for name in folders)
    assert row["value"] == pytest.approx(first - second)


def test_seeds_of_a_system_are_averaged(tmp_path):
    seeds = [write(tmp_path / f"seed {seed}", 0.7, seed) for seed in range(3)]
    other = write(tmp_path / "other", 0.7, 9)
    result = compare({"mean": seeds, "other": [other]}, replicates=300)
    alone = [score_file(folder / "predictions.jsonl", replicates=10)["changes"]["f1"]["value"] for folder in seeds]
    mean, one = (result["systems"][name] for name in ("mean", "other"))
    assert (mean["seeds"], one["seeds"]) == (3, 1)
    assert mean["f1"]["value"] == pytest.approx(np.mean(alone))
    assert mean["f1"]["high"] - mean["f1"]["low"] < one["f1"]["high"] - one["f1"]["low"]


def test_the_order_of_systems_turns_the_difference_round(tmp_path):
    a, b = write(tmp_path / "a", 0.8), write(tmp_path / "b", 0.6, 1)
    (there,) = compare({"a": [a], "b": [b]}, replicates=200)["comparisons"]["f1"]
    (back,) = compare({"b": [b], "a": [a]}, replicates=200)["comparisons"]["f1"]
    assert (back["value"], back["low"], back["high"]) == (-there["value"], -there["high"], -there["low"])
    assert back["p"] == there["p"]


def test_no_difference_is_seldom_found(tmp_path):
    # Two systems of equal skill, again and again: about 5 of 100 differences have p below .05, as their meaning is.
    found = []
    for seed in range(60):
        a, b = write(tmp_path / "a", 0.7, 2 * seed, boxes=False), write(tmp_path / "b", 0.7, 2 * seed + 1, boxes=False)
        found.append(compare({"a": [a], "b": [b]}, replicates=300)["comparisons"]["f1"][0]["p"])
    assert sum(p < 0.05 for p in found) <= 9
    assert sum(p < 0.5 for p in found) >= 15


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_p_by_hand():
    assert two_sided_p(np.array([1.0] * 97 + [-1.0] * 2), 50) == pytest.approx(2 * 3 / 100)
    assert two_sided_p(np.zeros(99), 50) == 1
    assert two_sided_p(np.array([1.0] * 99), 50) == two_sided_p(np.array([-1.0] * 99), 50) == pytest.approx(0.02)
    assert two_sided_p(np.array([np.nan, 1.0]), 50) == 1
    assert [two_sided_p(np.ones(999), patients) for patients in (0, 1, 2, 5)] == [1, 1, 0.5, 0.0625]


def test_a_difference_that_rests_on_few_patients_is_not_told_apart(tmp_path):
    def changed_in(patients, right):
        """A hundred patients with an unchanged pair each, all answered alike, and some with a change, found or not."""
        rows = [
            {"id": f"u{n}", "subject_id": f"p{n}", "answer": NOTHING_CHANGED, "references": [NOTHING_CHANGED]}
            for n in range(100)
        ]
        found = EDEMA if right else NOTHING_CHANGED
        rows += [
            {"id": f"c{n}", "subject_id": f"p{n}", "answer": found, "references": [EDEMA]} for n in range(patients)
        ]
        path = tmp_path / f"{patients} {right}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return [path]

    for patients, p in ((1, 1), (3, 0.25), (20, pytest.approx(2 / 501))):
        systems = {"finds": changed_in(patients, True), "misses": changed_in(patients, False)}
        (row,) = compare(systems, replicates=500)["comparisons"]["recall"]
        assert (row["value"], row["p"]) == (1, p)


def test_each_score_says_of_how_many_pairs_it_is(tmp_path):
    result = compare({name: [write(tmp_path / name, 0.8, count=40)] for name in ("a", "b")}, replicates=20)
    found = {score: result["systems"]["a"][score]["n"] for score in COMPARED}
    assert found == {
        "f1": 60, "recall": 20, "detection_rate": 20, "false_change_rate": 40, "induced_change_rate": 20,
        "false_change_rate_at_90": 40, "flagged_unchanged": 40, "aref_accuracy": 40,
    }  # fmt: skip


def test_patients_are_known_from_whichever_file_names_them(tmp_path):
    named = write(tmp_path / "named", 0.8)
    rows = [json.loads(line) for line in (named / "predictions.jsonl").read_text().splitlines()]

    def other(name, **changed):
        (tmp_path / name).write_text("".join(json.dumps({**row, **changed}) + "\n" for row in rows))
        return tmp_path / name

    nameless = other("nameless.jsonl", subject_id=None)
    for systems in ({"a": [nameless], "b": [named]}, {"a": [named], "b": [nameless]}):
        assert compare(systems, replicates=20)["patients"] == 60
    with pytest.raises(InputError, match="c: some lines have another `subject_id`"):
        compare({"a": [nameless], "b": [named], "c": [other("others.jsonl", subject_id="p1")]}, replicates=20)


def test_a_system_without_boxes_is_compared_in_the_rest(tmp_path):
    with_boxes, without = write(tmp_path / "a", 0.8), write(tmp_path / "b", 0.8, boxes=False)
    result = compare({"a": [with_boxes], "b": [without / "predictions.jsonl"]}, replicates=50)
    assert result["comparisons"]["aref_accuracy"] == []
    assert result["systems"]["b"]["aref_accuracy"] is None
    assert len(result["comparisons"]["f1"]) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "elsewhere"}, "1 missing, 1 others and 0 with"),
        ({"references": [EDEMA]}, "0 missing, 0 others and 1 with"),
        ({"reference_changes": [{"finding": "edema", "kind": "missing"}]}, "0 missing, 0 others and 1 with"),
    ],
)
def test_different_questions_are_refused(tmp_path, change, said):
    a, b = write(tmp_path / "a", 0.8), write(tmp_path / "b", 0.8)
    lines = (b / "predictions.jsonl").read_text().splitlines()
    lines[0] = json.dumps({**json.loads(lines[0]), **change})
    (b / "predictions.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"b: expected the same questions as a .* {said}"):
        compare({"a": [a], "b": [b]}, replicates=10)


def test_systems_that_draw_boxes_of_other_changes_are_compared(tmp_path):
    folders = {name: [write(tmp_path / name, 0.8)] for name in "ab"}
    for name, (folder,) in folders.items():
        for task in ("CHANGE", "LESION"):
            row = {"id": f"{task} {name}", "task": task, "boxes": [], "reference_boxes": [[0, 0, 10, 10]]}
            with open(folder / "predictions.jsonl", "a") as file:
                file.write(json.dumps(row) + "\n")
    assert len(compare(folders, replicates=10)["comparisons"]["aref_accuracy"]) == 1


def test_one_system_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least two systems"):
        compare({"a": [write(tmp_path / "a", 0.8)] * 2}, replicates=10)


def test_the_printed_tables_fit_and_show_false_changes_beside_recall(tmp_path):
    folders = {f"system {name}": [write(tmp_path / name, 0.8, seed)] for seed, name in enumerate("abc")}
    console = Console(width=80, record=True, color_system=None, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(print_comparison(compare(folders, replicates=50)))
    printed = console.export_text()
    assert "…" not in printed
    headings = [" ".join(part.splitlines()[:5]) for part in re.split("Systems, mean|First minus", printed)[1:]]
    with_false_changes = [heading for heading in headings if "False-change" in heading]
    assert len(with_false_changes) == 2
    assert all("Recall" in heading for heading in with_false_changes)


def test_names_of_any_length_leave_every_score_whole(tmp_path):
    folders = {letter * 55: [write(tmp_path / letter, 0.8, seed)] for seed, letter in enumerate("ab")}
    result = compare(folders, replicates=50)
    console = Console(width=80, record=True, color_system=None, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(print_comparison(result))
    printed = console.export_text()
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= 80
    for system in result["systems"].values():
        assert f"{system['f1']['value']:.3f}" in printed
    for row in result["comparisons"]["recall"]:
        assert f"{row['low']:+.2f} to {row['high']:+.2f}" in printed


def test_lines_that_name_no_patient_are_told(tmp_path):
    named, nameless = write(tmp_path / "named", 0.8), tmp_path / "nameless.jsonl"
    rows = [json.loads(line) for line in (named / "predictions.jsonl").read_text().splitlines()]
    for row in rows:
        del row["subject_id"]
    nameless.write_text("".join(json.dumps(row) + "\n" for row in rows))
    [note] = compare({"a": [nameless], "b": [nameless]}, replicates=10)["notes"]
    assert note.startswith(f"{len(rows)} lines name no patient")
    assert note in score_file(nameless, replicates=10)["notes"]
    assert compare({"a": [named], "b": [nameless]}, replicates=10)["notes"] == []


def test_as_many_resamples_are_drawn_as_the_correction_for_so_many_systems_takes(tmp_path):
    good, bad = write(tmp_path / "good", 1.0, count=60), write(tmp_path / "bad", 0.0, count=60)
    result = compare({"good": [good], **{str(number): [bad] for number in range(16)}})
    found = {(row["first"], row["second"]): row["p_holm"] for row in result["comparisons"]["f1"]}
    assert len(found) == 17 * 16 / 2
    assert max(found["good", str(number)] for number in range(16)) <= 0.01


def test_induced_changes_are_compared_on_the_repeats_that_both_tell(tmp_path):
    """Who errs with difficult patients throughout does not win over who errs with them only when taken otherwise."""

    def rows(name, repeats_wrong, otherwise_wrong):
        (tmp_path / name).mkdir()
        lines = []
        for patient in range(100):
            for group, wrong in (("repeat", repeats_wrong), ("rotation 1", otherwise_wrong)):
                answer = EDEMA if patient < wrong else NOTHING_CHANGED
                common = {"id": f"{patient} {group}", "subject_id": str(patient), "question_type": "difference"}
                lines.append({**common, "answer": answer, "references": [NOTHING_CHANGED], "group": group})
        (tmp_path / name / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return tmp_path / name

    throughout, once = rows("throughout", 50, 50), rows("once", 0, 25)
    result = compare({"throughout": [throughout], "once": [once]}, replicates=500)
    rates = {name: system["induced_change_rate"]["value"] for name, system in result["systems"].items()}
    assert rates == {"throughout": 0, "once": 0.25}
    (row,) = result["comparisons"]["induced_change_rate"]
    assert (row["value"], row["p"]) == (0, 1)
