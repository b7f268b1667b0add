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
from diffvqa.evaluating.questions import flagged
from diffvqa.findings import read_changes
from diffvqa.images.intensities import AS_STORED, EQUALISED, intensity_of
from diffvqa.images.radiograph import Radiograph, read_radiograph
from diffvqa.images.squares import inner_size
from diffvqa.inference import measure_trust as measuring
from diffvqa.inference.asking import WrittenAnswer
from diffvqa.inference.confidence import ConfidenceScale
from diffvqa.inference.features import encode_store
from diffvqa.inference.input_check import fit_input_check
from diffvqa.inference.measure_trust import draw_sample, flag_threshold, is_measured, measure_trust
from diffvqa.inference.trust import FOLDER, RECORD, Trust, load_trust
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import load_folder, weights_digest
from diffvqa.sealed import write_sealed
from diffvqa.sealed_folder import seal
from diffvqa.training.config import FinetuneConfig, load_config
from diffvqa.training.finetune import finetune


@pytest.fixture(scope="module")
def measured(model_folder, store_folder, tmp_path_factory):
    """A copy of the model, measured on as few images and answers as there are."""
    folder = tmp_path_factory.mktemp("trust") / "model"
    shutil.copytree(model_folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "FEWEST_QUESTIONS", 1)
        patch.setattr(measuring, "FEWEST_IMAGES", 1)
        measure(folder, store_folder)
    return folder


def measure(folder, store_folder):
    model, store = load_folder(DifferenceModel, folder, "model"), Store.open(store_folder)
    sample = draw_sample(store, model.model.config.priors)
    measure_trust(model, store, sample, encode_store(model, store, sample.images, folder / "features", "key"))
    seal(folder, ["features"])


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


def test_the_threshold_flags_nine_of_ten_changed_pairs():
    probabilities = np.random.default_rng(0).permutation(np.linspace(0.01, 1, 100))
    threshold = flag_threshold(probabilities)
    assert 90 <= (probabilities >= threshold).sum() <= 91
    assert flag_threshold(probabilities[: measuring.FEWEST_QUESTIONS - 1]) is None


def test_the_threshold_is_of_the_changed_pairs_alone(model_folder, store_folder, tmp_path, monkeypatch):
    """Whatever else is asked; and an evaluation flags the pairs by it."""
    monkeypatch.setattr(measuring, "FEWEST_QUESTIONS", 1)

    def answer(model, asked, *_):
        return [WrittenAnswer("nothing has changed.", 0.5, probability[pair]) for pair, _ in asked]

    model, store = load_folder(DifferenceModel, model_folder, "model"), Store.open(store_folder)
    sample = draw_sample(store, 1)
    assert {bool(any(read_changes(one.answer))) for one in sample.questions} == {True, False}
    probability = {one.pair: 0.7 if any(read_changes(one.answer)) else 0.1 for one in sample.questions}
    monkeypatch.setattr(measuring, "answer_questions", answer)
    shutil.copytree(model_folder, tmp_path / "model")
    features = encode_store(model, store, sample.images, tmp_path / "features", "key")
    measure_trust(replace(model, path=tmp_path / "model"), store, sample, features)
    assert load_trust(tmp_path / "model", model.digest).flag_threshold == 0.7
    rows = [{"id": "1", "changed": 0.7}, {"id": "2", "changed": 0.69}, {"id": "3"}]
    assert [row.get("flagged") for row in flagged(rows, 0.7)] == [True, False, None]


def test_a_finetuning_ends_with_the_measuring_whoever_calls_it(finetune_settings, write_config, tmp_path, monkeypatch):
    """And a finished model that nothing was measured of is measured when its training is asked for again."""
    config = load_config(FinetuneConfig, write_config({**finetune_settings, "out": str(tmp_path / "model")}), [])
    folder = finetune(config)
    assert is_measured(folder)
    record = (folder / FOLDER / RECORD).read_bytes()
    assert not (folder / "features").exists()
    shutil.rmtree(folder / FOLDER)
    assert not is_measured(folder)
    finetune(config)
    assert (folder / FOLDER / RECORD).read_bytes() == record
    monkeypatch.setattr("diffvqa.training.finetune.measure_trust", lambda *_: pytest.fail("measured once more"))
    finetune(config)


def test_it_holds_for_these_weights_only(measured):
    assert load_trust(measured, "0" * 64) == Trust()


def test_too_few_images_and_answers_give_nothing(model_folder, store_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "FEWEST_QUESTIONS", 10**6)
    monkeypatch.setattr(measuring, "FEWEST_IMAGES", 10**6)
    shutil.copytree(model_folder, tmp_path / "model")
    measure(tmp_path / "model", store_folder)
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
    plain = Answerer(replace(answerer.model, trust=Trust()))
    answerer.model = replace(answerer.model, trust=Trust(ConfidenceScale(2.0, -1.0), None))
    calibrated, uncalibrated = answerer(**files), plain(**files)
    assert (calibrated.calibrated, uncalibrated.calibrated) == (True, False)
    assert calibrated.confidence == ConfidenceScale(2.0, -1.0).probability(uncalibrated.confidence)
    assert any(line.endswith("(calibrated)") for line in answer_lines(calibrated))
    assert uncalibrated.out_of_distribution is None
    # Beams and other questions have confidences of another kind.
    assert not answerer(**files, beams=2).calibrated
    assert not answerer(current=files["current"]).calibrated


@pytest.mark.parametrize(("limit", "answered"), [(1e9, True), (0.8, True), (1e-9, False)])
def test_images_unlike_the_training_data_carry_a_warning_or_are_refused(measured, files, limit, answered):
    answerer = Answerer.from_pretrained(measured)
    check = replace(answerer.model.trust.input_check, limit=1.0)
    distances = [check.score(one.tokens[None])[0] for one in encoded(answerer, files)]
    factor = max(distances) if limit == 0.8 else 1
    trust = replace(answerer.model.trust, input_check=replace(check, limit=limit * factor))
    answerer.model = replace(answerer.model, trust=trust)
    answer = answerer(**files)
    assert set(answer.out_of_distribution) == {"current", "prior"}
    plain = answer.as_dict()
    assert plain["unlikeness"] == plain["out_of_distribution"] == answer.out_of_distribution
    assert plain["remarks"] == plain["warnings"] == list(answer.warnings)
    unlike = sum(distance > limit * max(distances) for distance in distances) if limit == 0.8 else 0
    assert sum("looks unlike" in warning for warning in answer.warnings) == unlike
    assert (answer.reason is None) == answered
    assert (answer.text == CANNOT_COMPARE) != answered
    if not answered:
        assert "current: looks unlike" in answer.reason


def encoded(answerer, files):
    return answerer.model.encode_radiographs([read_radiograph(path, "x") for path in files.values()])


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


def test_finetuning_and_answering_check_the_same_pictures(model_folder, store_folder, tmp_path, monkeypatch):
    """A model of equalised pictures, measured on a store whose pictures are as stored: by what it is shown in use."""
    for name, target in (("store", store_folder), ("model", model_folder)):
        shutil.copytree(target, tmp_path / name)
    about = json.loads((tmp_path / "store/store.json").read_text())
    write_sealed(tmp_path / "store/store.json", {**about, "datasets": ["table"]})
    store = Store.open(tmp_path / "store")
    assert store.intensity == AS_STORED
    sums = []
    monkeypatch.setattr(measuring, "FEWEST_IMAGES", 1)
    monkeypatch.setattr(measuring, "FEWEST_QUESTIONS", 10**6)

    def noting(train, validate):
        check = fit_input_check(train, validate)
        sums.extend(check.score(validate))
        return check

    monkeypatch.setattr(measuring, "fit_input_check", noting)
    measure(tmp_path / "model", tmp_path / "store")
    answerer = Answerer.from_pretrained(tmp_path / "model")
    assert intensity_of(answerer.model.difference.processor) == EQUALISED
    sample = draw_sample(store, 1)
    radiographs = []
    for image_id in sample.validate:
        image = store.images[store.index[image_id]]
        square = store.pixels(store.index[image_id])
        radiographs.append(Radiograph(without_margins(square, image)))
    found = [one.out_of_distribution for one in answerer.model.encode_radiographs(radiographs)]
    assert found == pytest.approx(sums, abs=1e-6)
    assert np.std(found) > 1e-3


def without_margins(square, image):
    """The picture alone: a file of it is laid into the same square."""
    width, height = inner_size(image.frame, (image.width, image.height))
    left, top = int(image.frame.left), int(image.frame.top)
    return square[top : top + height, left : left + width]
