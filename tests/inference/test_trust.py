"""What is measured of a model after its training, and what its answers make of it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diffvqa.answering.answer import CANNOT_COMPARE
from diffvqa.answering.answer_text import answer_lines
from diffvqa.answering.answerer import Answerer
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.evaluating.evaluate import evaluate
from diffvqa.images.radiograph import read_radiograph
from diffvqa.inference import measure_trust as measuring
from diffvqa.inference.confidence import ConfidenceScale
from diffvqa.inference.measure_trust import measure_trust
from diffvqa.inference.trust import FOLDER, RECORD, Trust, load_trust
from diffvqa.models.folder import weights_digest


@pytest.fixture(scope="module")
def measured(model_folder, store_folder, tmp_path_factory):
    """A copy of the model, measured on as few images and answers as there are."""
    folder = tmp_path_factory.mktemp("trust") / "model"
    shutil.copytree(model_folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "FEWEST_QUESTIONS", 1)
        patch.setattr(measuring, "FEWEST_IMAGES", 1)
        measure_trust(folder, store_folder)
    return folder


@pytest.fixture
def files(tmp_path):
    paths = {name: tmp_path / f"{name}.png" for name in ("prior", "current")}
    for number, path in enumerate(paths.values()):
        random = np.random.default_rng(number)
        Image.fromarray(random.integers(0, 256, (80, 80), dtype=np.uint8)).save(path)
    return paths


def test_both_are_measured_and_the_weights_stay_as_they_were(measured, model_folder, store_folder):
    digest = weights_digest(measured)
    assert digest == weights_digest(model_folder)
    found = load_trust(measured, digest)
    assert found.confidence
    assert found.input_check
    record = json.loads((measured / FOLDER / RECORD).read_text())
    asked = [one for one in Store.open(store_folder).questions if (one.split, one.type) == ("validate", "difference")]
    assert record["confidence"]["answers"] == len(asked)


def test_what_has_been_measured_is_not_measured_again(measured, store_folder, monkeypatch):
    def load_folder(*_):
        pytest.fail("the model is loaded to be measured again")

    monkeypatch.setattr(measuring, "load_folder", load_folder)
    measure_trust(measured, store_folder)


def test_it_holds_for_these_weights_only(measured):
    assert load_trust(measured, "0" * 64) == Trust()


def test_too_few_images_and_answers_give_nothing(model_folder, store_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "FEWEST_QUESTIONS", 10**6)
    monkeypatch.setattr(measuring, "FEWEST_IMAGES", 10**6)
    shutil.copytree(model_folder, tmp_path / "model")
    measure_trust(tmp_path / "model", store_folder)
    assert load_trust(tmp_path / "model", weights_digest(model_folder)) == Trust()


@pytest.mark.parametrize(
    "text",
    [
        '{"weights": WEIGHTS}',
        '{"weights": WEIGHTS, "confidence": 3, "input_check": 1}',
        '{"weights": WEIGHTS, "conf',
        "[]",
        "",
    ],
)
def test_a_damaged_record_is_one_line(measured, tmp_path, text):
    shutil.copytree(measured, tmp_path / "model")
    digest = weights_digest(measured)
    (tmp_path / "model" / FOLDER / RECORD).write_text(text.replace("WEIGHTS", json.dumps(digest)))
    with pytest.raises(InputError, match="finetune"):
        load_trust(tmp_path / "model", digest)


def test_answers_carry_a_calibrated_confidence_and_a_flag(measured, files):
    answerer = Answerer.from_pretrained(measured)
    answerer.trust = Trust(ConfidenceScale(2.0, -1.0), None)
    calibrated, plain = answerer(**files), Answerer(answerer.difference, answerer.captioner)
    plain.trust = Trust()
    uncalibrated = plain(**files)
    assert (calibrated.calibrated, uncalibrated.calibrated) == (True, False)
    assert calibrated.confidence == ConfidenceScale(2.0, -1.0).probability(uncalibrated.confidence)
    assert any(line.endswith("(calibrated)") for line in answer_lines(calibrated))
    assert uncalibrated.unlikeness is None
    # Beams and other questions have confidences of another kind.
    assert not answerer(**files, beams=2).calibrated
    assert not answerer(current=files["current"]).calibrated


@pytest.mark.parametrize(("limit", "answered"), [(1e9, True), (0.8, True), (1e-9, False)])
def test_images_unlike_the_training_data_are_remarked_on_or_refused(measured, files, limit, answered):
    answerer = Answerer.from_pretrained(measured)
    check = replace(answerer.trust.input_check, limit=1.0)
    distances = [check.unlikeness(one.tokens[None])[0] for one in encoded(answerer, files)]
    factor = max(distances) if limit == 0.8 else 1
    answerer.trust = replace(answerer.trust, input_check=replace(check, limit=limit * factor))
    answer = answerer(**files)
    assert set(answer.unlikeness) == {"current", "prior"}
    unlike = sum(distance > limit * max(distances) for distance in distances) if limit == 0.8 else 0
    assert sum("looks unlike" in remark for remark in answer.remarks) == unlike
    assert (answer.reason is None) == answered
    assert (answer.text == CANNOT_COMPARE) != answered
    if not answered:
        assert "current: looks unlike" in answer.reason


def encoded(answerer, files):
    return answerer.encode([read_radiograph(path, "x") for path in files.values()])


def test_predictions_are_rescaled_too(measured, model_folder, store_folder, tmp_path):
    rows = {}
    for name, folder in (("calibrated", measured), ("plain", model_folder)):
        evaluate(folder, store_folder, "test", tmp_path / name, grounding=False)
        text = (tmp_path / name / "predictions.jsonl").read_text()
        rows[name] = [json.loads(line) for line in text.splitlines()]
    scale = load_trust(measured, weights_digest(measured)).confidence
    assert {row["question_type"] for row in rows["plain"]} > {"difference"}
    for found, plain in zip(rows["calibrated"], rows["plain"], strict=True):
        if plain["question_type"] == "difference":
            assert found["confidence"] == pytest.approx(scale.probability(plain["confidence"]), abs=1e-4)
        else:
            assert found == plain
