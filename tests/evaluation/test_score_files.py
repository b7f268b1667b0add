"""From files to metrics: one file, an evaluation folder, and the table for the terminal."""

import json

import pytest
from rich.console import Console

from diffvqa.errors import InputError
from diffvqa.evaluation import text_scores as text
from diffvqa.evaluation.score import CONTROLS, score_file, score_folder
from diffvqa.evaluation.score_table import print_table
from diffvqa.findings import NOTHING_CHANGED

EDEMA = "the main image has an additional finding of edema than the reference image."
HERNIA = "the main image is missing the finding of hernia than the reference image."


def rows_of(answers):
    """Eight difference questions of four patients, four closed ones, four boxes; answers by (number, reference)."""
    rows = []
    for number in range(8):
        reference = (EDEMA, NOTHING_CHANGED, HERNIA, f"{EDEMA} {HERNIA}")[number % 4]
        rows.append(
            {
                "id": f"d{number}",
                "subject_id": f"p{number // 2}",
                "question_type": "difference",
                "answer": answers(number, reference),
                "references": [reference],
            }
        )
    for number in range(4):
        rows.append(
            {
                "id": f"v{number}",
                "subject_id": f"p{number}",
                "question_type": "view",
                "answer": answers(number, "PA view"),
                "references": ["PA view"],
            }
        )
        rows.append(
            {
                "id": f"b{number}",
                "subject_id": f"p{number}",
                "task": "AREF",
                "boxes": [[0, 0, 10, 10]] if answers(number, "box") == "box" else None,
                "reference_boxes": [[0, 0, 10, 10]],
            }
        )
    return rows


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "predictions.jsonl", rows_of(lambda number, reference: reference if number != 2 else EDEMA))
    write(tmp_path / "controls" / "most_frequent.jsonl", rows_of(lambda number, reference: NOTHING_CHANGED)[:8])
    boxes = [row for row in rows_of(lambda number, reference: "box") if row.get("task") == "AREF"]
    write(tmp_path / "controls" / "mean_box.jsonl", [{**row, "boxes": [[0, 0, 10, 4]]} for row in boxes])
    return tmp_path


def test_one_file(folder):
    metrics = score_file(folder / "predictions.jsonl", replicates=50)
    assert (metrics["n"], metrics["patients"], metrics["seed"], metrics["replicates"]) == (16, 4, 0, 50)
    assert list(metrics["answers"]) == ["difference", "view", "all"]
    assert [group["n"] for group in metrics["answers"].values()] == [8, 4, 12]
    assert metrics["answers"]["view"]["exact"]["value"] == 0.75
    assert metrics["answers"]["difference"]["meteor"] is None
    assert metrics["tokenizer"] != "ptb"
    assert metrics["notes"]
    # One of eight pairs is answered with a change that is not there: 8 true changes, 7 found.
    assert metrics["changes"]["f1"]["value"] == pytest.approx(2 * 7 / (8 + 8))
    assert metrics["changes"]["false_change_rate"]["value"] == 0
    assert (metrics["changes"]["pairs_changed"], metrics["changes"]["pairs_unchanged"]) == (6, 2)
    assert metrics["grounding"]["AREF"] == {
        "n": 4,
        "without_box": 1,
        "iou": metrics["grounding"]["AREF"]["accuracy_0.5"],
        "accuracy_0.5": metrics["grounding"]["AREF"]["iou"],
    }
    assert metrics["grounding"]["AREF"]["iou"]["value"] == 0.75


def test_a_folder_with_controls(folder):
    metrics = score_folder(folder, replicates=50)
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert list(metrics["controls"]) == ["most_frequent", "mean_box"]
    alone = score_file(folder / "predictions.jsonl", replicates=50)
    assert metrics["model"] == {key: value for key, value in alone.items() if key != "notes"}
    frequent, mean_box = metrics["controls"].values()
    assert frequent["changes"]["f1"]["value"] == 0
    assert frequent["grounding"] == {}
    assert mean_box["changes"] is None
    assert mean_box["answers"] == {}
    paired = metrics["paired"]
    difference = metrics["model"]["changes"]["f1"]["value"] - frequent["changes"]["f1"]["value"]
    assert paired["most_frequent"]["changes"]["f1"]["value"] == pytest.approx(difference)
    assert paired["most_frequent"]["changes"]["f1"]["n"] == 8
    assert paired["most_frequent"]["grounding"] == {}
    assert paired["mean_box"]["grounding"]["AREF"]["accuracy_0.5"]["value"] == 0.75
    assert paired["mean_box"]["changes"] is None


def test_the_same_seed_gives_the_same_bytes(folder):
    def written(seed):
        score_folder(folder, replicates=50, seed=seed)
        return (folder / "metrics.json").read_bytes()

    assert written(1) == written(1)
    assert written(1) != written(2)


def test_a_control_with_ids_of_its_own_is_refused(folder):
    write(folder / "controls" / "retrieval.jsonl", [{"id": "x", "answer": "a", "references": ["b"]}])
    with pytest.raises(InputError, match=r"controls/retrieval\.jsonl: .* 1 others"):
        score_folder(folder)
    assert not (folder / "metrics.json").exists()


def test_a_folder_without_predictions_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"predictions\.jsonl: no such file"):
        score_folder(tmp_path)


def test_a_file_of_boxes_alone_needs_no_text_metrics(folder):
    metrics = score_file(folder / "controls" / "mean_box.jsonl", replicates=10)
    assert metrics["notes"] == []
    assert metrics["changes"] is None


def test_texts_of_other_tasks_are_scored_apart(tmp_path):
    rows = [{"id": str(number), "task": "Cap", "answer": "a b", "references": ["a b c"]} for number in range(3)]
    metrics = score_file(write(tmp_path / "predictions.jsonl", rows), replicates=10)
    assert list(metrics["answers"]) == ["Cap"]


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_fits_and_names_what_is_shown(folder, width):
    console = Console(width=width, record=True, color_system=None, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(print_table(score_folder(folder, replicates=50)))
    printed = console.export_text()
    assert "…" not in printed
    lines = [line.split()[0] for line in printed.splitlines() if line.strip()]
    assert lines.index("This") < lines.index("Most") < lines.index("Mean")
    for words in (
        "Change F1",
        "False-change rate",
        "BLEU-4",
        "Accuracy at IoU 0.5",
        "n = 8",
        text.PLAIN,
        "Note: METEOR",
    ):
        assert words in " ".join(printed.split()), words
    assert "0.875" in printed


def grouped_rows(answers):
    """The same rows with a confidence, in groups of a factor, the first reference change two steps."""
    rows = rows_of(answers)
    for number, row in enumerate(rows[:8]):
        row.update(confidence=number / 8, group=("repeat", "noise 0.5")[number % 4 == 1])
        row["reference_changes"] = [] if number % 4 == 1 else [{"finding": "edema", "kind": "added", "steps": 2}]
    return rows


def test_parts_groups_and_calibration_are_there_for_the_model_and_its_controls(folder):
    write(folder / "predictions.jsonl", grouped_rows(lambda number, reference: reference))
    write(folder / "controls" / "most_frequent.jsonl", grouped_rows(lambda number, reference: NOTHING_CHANGED)[:8])
    metrics = score_folder(folder, replicates=50)
    model, control = metrics["model"], metrics["controls"]["most_frequent"]
    assert model["findings"]["edema"]["reference"] == 6
    # Hernia alone is said of two of the six pairs.
    assert (
        model["findings"]["edema"]["recall"]["value"] == model["steps"]["2"]["recall"]["value"] == pytest.approx(4 / 6)
    )
    assert control["findings"]["edema"]["recall"]["value"] == 0
    assert control["kinds"]["added"]["precision"] is None
    assert list(model["groups"]) == list(control["groups"]) == ["repeat", "noise 0", "noise 0.5"]
    assert model["groups"]["noise 0.5"]["false_change_rate"]["value"] == 0
    assert model["calibration"]["n"] == sum(one["n"] for one in model["calibration"]["bins"]) == 8
    assert model["calibration"]["selective_100"]["value"] == model["calibration"]["right"] / 8 == 0.5
    for score in (model["steps"]["2"]["recall"], model["calibration"]["auroc"], model["calibration"]["ece"]):
        assert score["low"] <= score["value"] <= score["high"]
    assert metrics["controls"]["mean_box"]["calibration"] is None
    assert metrics["controls"]["mean_box"]["findings"] == {}
    assert metrics["published_row"] is None


def printed(metrics, width=80):
    console = Console(width=width, record=True, color_system=None, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(print_table(metrics))
    return console.export_text()


def test_every_table_that_shows_false_changes_shows_recall(folder):
    write(folder / "predictions.jsonl", grouped_rows(lambda number, reference: reference))
    lines = printed(score_folder(folder, replicates=50)).splitlines()
    headings = [line for line in lines if "False-change rate" in line]
    assert len(headings) == 2
    assert all("Recall" in line for line in headings)


def test_the_console_shows_exact_agreement_by_type(folder):
    lines = printed(score_folder(folder, replicates=50)).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("Exact agreement by type"))
    rows = {line.split()[0]: line.split()[1:3] for line in lines[start:] if line.split()}
    assert (rows["difference"], rows["view"], rows["all"]) == (["8", "0.875"], ["4", "0.750"], ["12", "0.833"])


def test_a_test_split_is_put_below_published_rows(folder):
    run = {"split": "test", "dataset": "medical-diff-vqa 1.0.1"}
    (folder / "run.json").write_text(json.dumps({**run, "truth": {"joined": 6, "missing": 2}}))
    metrics = score_folder(folder, replicates=50)
    assert metrics["published_row"] is None
    assert any(note.startswith("2 difference questions are of pairs") for note in metrics["notes"])
    assert "EKAID" not in printed(metrics)
    (folder / "run.json").write_text(json.dumps(run))
    metrics = score_folder(folder, replicates=50)
    assert metrics["published_row"]["n"] == 8
    words = " ".join(printed(metrics).split())
    assert "EKAID (2023) 0.628" in words
    assert "CIDEr depends on n" in words
    assert "…" not in words


def test_every_known_control_fits_into_80_columns(folder):
    answers = (folder / "predictions.jsonl").read_text()
    for control in CONTROLS:
        (folder / "controls" / f"{control}.jsonl").write_text(answers)
    lines = printed(score_folder(folder, replicates=50)).splitlines()
    assert not [line for line in lines if "…" in line]
    assert max(map(len, lines)) <= 80


def test_the_table_of_one_file(folder):
    console = Console(width=80, record=True, color_system=None, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(print_table(score_file(folder / "predictions.jsonl", replicates=50)))
    assert "This model" in console.export_text()
