"""Predictions and controls: the rows that scoring reads."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage

from diffvqa.boxes import Box, mean_box
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.evaluating import controls
from diffvqa.evaluating.evaluate import evaluate
from diffvqa.evaluating.phrases import source_box
from diffvqa.evaluating.prediction_rows import write_rows
from diffvqa.evaluation.report import write_report
from diffvqa.evaluation.score import score_folder
from diffvqa.files import held
from diffvqa.findings import read_changes
from diffvqa.inference.asking import WrittenAnswer
from diffvqa.inference.box_writing import write_boxes
from diffvqa.inference.features import encode_blank
from diffvqa.models.captioner import Captioner
from diffvqa.models.folder import load_folder
from diffvqa.records import Pair, Question
from diffvqa.tasks.text import referring_prompt, region_prompt


def ask(number, answer, text="what has changed?", kind="difference", pair=None):
    return Question(f"q{number}", f"p{number}", kind, pair or Pair("a", "b"), text, answer, "test")


def test_the_most_frequent_answer_is_that_of_the_same_question():
    training = [ask(0, "x"), ask(1, "y"), ask(2, "y"), ask(3, "no", "is there edema?", "presence")]
    training.append(ask(7, "z", "what has changed in the heart area?"))
    asked = [ask(4, "?"), ask(5, "?", "is there edema?", "presence"), ask(6, "?", "what has changed in the lung area?")]
    asked.append(ask(8, "?", "what has changed in the heart area?"))
    assert [row["answer"] for row in controls.most_frequent(asked, training)] == ["y", "no", "y", "z"]


def test_retrieval_answers_like_the_nearest_training_pair():
    random = np.random.default_rng(0)
    features = {name: random.normal(size=(4, 8)).astype(np.float16) for name in "abcdef"}
    features["copy"] = features["c"]
    training = [
        ask(0, "ab", pair=Pair("a", "b")),
        ask(1, "cd", pair=Pair("c", "d")),
        ask(2, "ef", pair=Pair("e", "f")),
    ]
    (row,) = controls.retrieval([ask(3, "?", pair=Pair("copy", "d"))], features, training, features)
    assert row["answer"] == "cd"


def test_retrieval_looks_at_both_images_each_in_its_place():
    random = np.random.default_rng(1)
    features = {name: random.normal(size=(4, 8)).astype(np.float16) for name in "abcd"}
    pairs = {"turned round": ("b", "a"), "another prior": ("a", "c"), "another current": ("d", "b"), "same": ("a", "b")}
    training = [ask(number, answer, pair=Pair(*pairs[answer])) for number, answer in enumerate(pairs)]
    (row,) = controls.retrieval([ask(9, "?", pair=Pair("a", "b"))], features, training, features)
    assert row["answer"] == "same"


def test_every_prior_is_another_patient_s(monkeypatch):
    def answer_questions(folder, asked, features, beams, cluster):
        assert (beams, cluster) == (3, None)
        assert all(pair.earlier == (f"{pair.prior[0]}-",) for pair, _ in asked)
        return [WrittenAnswer(f"{pair.current} after {pair.prior}", 1.0) for pair, _ in asked]

    monkeypatch.setattr(controls, "answer_questions", answer_questions)
    pairs = [Pair(f"{one}{number + 1}", f"{one}{number}", (f"{one}-",)) for one in "abc" for number in range(4)]
    asked = [replace(ask(pair.current, "x", pair=pair), subject_id=pair.current[0]) for pair in pairs]
    rows = controls.other_prior(None, [*asked, ask(9, "yes", kind="presence", pair=Pair("z"))], {}, 0, beams=3)
    assert [row["id"] for row in rows] == [one.question_id for one in asked]
    shown = [row["answer"].split(" after ") for row in rows]
    assert [current for current, _ in shown] == [pair.current for pair in pairs]
    assert all(current[0] != prior[0] for current, prior in shown)
    assert {prior for _, prior in shown} == {pair.prior for pair in pairs}
    assert controls.other_prior(None, asked[:4], {}, 0) == []


def test_the_mean_box_is_the_mean_of_the_training_boxes(store_folder):
    store = Store.open(store_folder)
    train = [image for image in store.images if image.split == "train"]
    test = [image for image in store.images if image.split == "test"]
    rows = controls.mean_boxes(test, train, ("AREF", "CAREF"), 0)
    row = next(row for row in rows if row["task"] == "CAREF")
    image = next(image for image in test if row["id"].startswith(image.image_id))
    boxes = [one.frame.into(region.box) for one in train for region in one.regions if region.name == row["question"]]
    assert row["boxes"][0] == pytest.approx(source_box(image, mean_box(boxes)).as_tuple(), abs=0.01)


def test_rows_are_written_whole_or_not_at_all(tmp_path):
    def rows():
        yield {"id": "1"}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_rows(rows(), tmp_path / "rows.jsonl")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def evaluation(model_folder, store_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation") / "out"
    evaluate(model_folder, store_folder, "test", out)
    return out


def test_an_evaluation_predicts_every_question_and_phrase_with_every_control(
    evaluation, store_folder, finetune_settings
):
    rows = [json.loads(line) for line in (evaluation / "predictions.jsonl").read_text().splitlines()]
    asked = {
        one.question_id
        for one in Store.open(store_folder).questions
        if one.split == "test" and one.type in finetune_settings["questions"]
    }
    answered = {row["id"] for row in rows if row["task"] == "question"}
    assert answered == asked
    assert {row["task"] for row in rows} == {"question", "AREF", "CAREF"}
    assert len({row["id"] for row in rows}) == len(rows)
    controls = {path.stem for path in (evaluation / "controls").iterdir()}
    assert controls == {"most_frequent", "retrieval", "exchanged", "other_prior", "blank_images", "mean_box"}
    grounded = [row["id"] for row in rows if row["task"] != "question"]
    mean = [json.loads(line)["id"] for line in (evaluation / "controls" / "mean_box.jsonl").read_text().splitlines()]
    assert mean == grounded


def test_phrases_have_the_same_names_whatever_else_a_captioner_has_learnt(store_folder):
    images = Store.open(store_folder).images
    both, alone = (controls.mean_boxes(images, images, tasks, 0) for tasks in (("AREF", "CAREF"), ("AREF",)))
    assert alone == [row for row in both if row["task"] == "AREF"]
    assert 0 < len(alone) < len(both)


@pytest.mark.slow
def test_an_evaluation_can_be_done_again_without_phrases(model_folder, store_folder, tmp_path):
    for grounding in (True, False):
        evaluate(model_folder, store_folder, "test", tmp_path / "out", grounding=grounding)
        scores = score_folder(tmp_path / "out", replicates=20)
        assert ("mean_box" in scores["controls"]) == bool(scores["model"]["grounding"]) == grounding


def test_an_evaluation_can_be_scored_and_reported(evaluation):
    scores = score_folder(evaluation, replicates=20)
    assert scores["model"]["changes"]["n"] > 0
    page = write_report(evaluation).read_text()
    assert "Not for clinical use" in page


def test_a_dozen_pairs_are_shown_or_all_that_there_are(evaluation):
    rows = [json.loads(line) for line in (evaluation / "predictions.jsonl").read_text().splitlines()]
    examples = (evaluation / "examples.jsonl").read_text().splitlines()
    assert len(examples) == min(12, sum(row.get("question_type") == "difference" for row in rows))


def test_phrases_are_shown_with_their_boxes_in_pixels_of_the_picture(evaluation, store_folder):
    store = Store.open(store_folder)
    shown = [json.loads(line) for line in (evaluation / "phrases.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (evaluation / "predictions.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["task"] == "AREF"]
    assert len(shown) == min(12, len({row["id"].split("/")[0] for row in rows}))
    for example in shown:
        pixels = np.asarray(PillowImage.open(evaluation / example["picture"]))
        image = next(image for place, image in enumerate(store.images) if (store.pixels(place) == pixels).all())
        row = next(r for r in rows if r["id"].startswith(image.image_id) and r["question"] == example["phrase"])
        boxes = [box["box"] for box in example["boxes"] if box["kind"] == "reference"]
        expected = [image.frame.into(Box(*corners)).as_tuple() for corners in row["reference_boxes"]]
        assert np.allclose(boxes, expected, atol=0.02)


def test_a_folder_for_patients_data_is_private(evaluation):
    assert evaluation.stat().st_mode & 0o077 == 0


def test_boxes_are_in_pixels_of_the_source(store_folder, evaluation):
    store = Store.open(store_folder)
    for line in (evaluation / "predictions.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["task"] != "AREF":
            continue
        image = store.images[store.index[row["id"].split("/")[0]]]
        for corners in row["reference_boxes"]:
            assert any(
                np.allclose(Box(*corners).as_tuple(), region.box.as_tuple(), atol=0.01) for region in image.regions
            )


def test_every_prompt_gets_a_well_formed_box_even_from_a_model_that_knows_nothing(captioner_folder):
    folder = load_folder(Captioner, captioner_folder, "model")
    features = {"image": encode_blank(folder)}
    prompts = [referring_prompt("left pleural effusion"), region_prompt("left lung"), region_prompt("spine")]
    written = write_boxes(folder, [("image", prompt) for prompt in prompts], features)
    assert all(box is not None for _, box in written)


def test_an_evaluation_is_not_mixed_with_anything_else(model_folder, store_folder, evaluation, tmp_path):
    before = (evaluation / "run.json").read_bytes()
    with pytest.raises(InputError, match=r"out: the folder holds a run with other settings .*split"):
        evaluate(model_folder, store_folder, "train", evaluation)
    assert (evaluation / "run.json").read_bytes() == before
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="out: the folder holds files that are no run of this program"):
        evaluate(model_folder, store_folder, "test", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_two_evaluations_at_once_do_not_write_one_folder(model_folder, store_folder, evaluation):
    before = {path: path.stat().st_mtime_ns for path in evaluation.rglob("*")}
    with (
        held(os.open(evaluation, os.O_RDONLY)),
        pytest.raises(InputError, match="out: another run is writing there"),
    ):
        evaluate(model_folder, store_folder, "test", evaluation)
    assert {path: path.stat().st_mtime_ns for path in evaluation.rglob("*")} == before


@pytest.mark.slow
def test_the_same_evaluation_is_done_again_and_gives_the_same(model_folder, store_folder, evaluation):
    before, record = (evaluation / "predictions.jsonl").read_bytes(), json.loads((evaluation / "run.json").read_text())
    # Older versions wrote facts alone.
    names = ("model", "split", "store", "training store", "dataset", "image size", "patients", "seed", "beams", "date")
    (evaluation / "run.json").write_text(json.dumps({name: record[name] for name in names}))
    evaluate(model_folder, store_folder, "test", evaluation)
    assert (evaluation / "predictions.jsonl").read_bytes() == before
    after = json.loads((evaluation / "run.json").read_text())
    assert after["finished"]
    assert {name: after[name] for name in names} == {name: record[name] for name in names}


def test_an_empty_folder_becomes_private(model_folder, store_folder, tmp_path):
    tmp_path.chmod(0o755)
    # As good as empty: what a kill during the first write leaves.
    (tmp_path / "run.json.7.unfinished").write_text("{")
    evaluate(model_folder, store_folder, "validate", tmp_path)
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_a_store_of_another_size_is_refused(model_folder, cohort_folder, tmp_path):
    from diffvqa.data import read_sources
    from diffvqa.data.prepare import prepare

    prepare(read_sources([f"mimic:{cohort_folder}"]), tmp_path / "store", 32)
    with pytest.raises(InputError, match="store: holds 32-pixel images"):
        evaluate(model_folder, tmp_path / "store", "test", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_truth_comes_into_the_rows_of_the_model_and_its_controls(
    model_folder, store_folder, cohort_folder, tmp_path
):
    evaluate(model_folder, store_folder, "test", tmp_path, truth_folder=cohort_folder / "truth")
    for file in ("predictions", "controls/most_frequent", "controls/retrieval", "controls/blank_images"):
        rows = [json.loads(line) for line in (tmp_path / f"{file}.jsonl").read_text().splitlines()]
        rows = [row for row in rows if row.get("question_type") == "difference"]
        assert rows
        for row in rows:
            true = {(one["finding"], one["kind"]) for one in row["reference_changes"]}
            assert any(true == {(one.finding, one.kind) for one in said} for said in read_changes(row["references"][0]))
    joined = json.loads((tmp_path / "run.json").read_text())["truth"]
    assert joined["joined"] > joined["missing"] == 0
    assert score_folder(tmp_path, replicates=20)["published_row"] is None
    assert "published results" not in write_report(tmp_path).read_text()
