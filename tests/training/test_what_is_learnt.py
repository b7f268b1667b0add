"""What the two stages and the probes are shown while they learn: seen where it enters the networks.

Every batch is compared with a store's own images and questions: which image stands where, which words have a loss,
where boxes lie, and of which split all of it is.
"""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

import reference
from diffvqa.data import read_sources
from diffvqa.data.prepare import prepare
from diffvqa.data.store import Store
from diffvqa.findings import DIFFERENCE_QUESTION, NAMES, read_changes
from diffvqa.inference import measure_trust as measuring
from diffvqa.inference.features import encode_store
from diffvqa.inference.trust import FOLDER, RECORD, load_trust
from diffvqa.models.captioner import Captioner
from diffvqa.models.classifier import ClassificationHead, LevelHead
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import load_folder, weights_digest
from diffvqa.models.pretraining import PretrainingModel
from diffvqa.models.probe_heads import LabelProbe
from diffvqa.sealed_folder import seal
from diffvqa.training import probe as probing
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.finetune import finetune
from diffvqa.training.pretrain import pretrain
from diffvqa.training.probe import probe

IGNORED = -100


@pytest.fixture
def watch(monkeypatch):
    """`watch(Model)` is a list that fills with what each call of the model was given, and whether it was to learn."""

    def watch(kind):
        seen, forward = [], kind.forward

        def watched(self, *tensors, **named):
            seen.append((self.training, tensors, named))
            return forward(self, *tensors, **named)

        monkeypatch.setattr(kind, "forward", watched)
        return seen

    return watch


@pytest.fixture(scope="module")
def store(store_folder):
    return Store.open(store_folder)


@pytest.fixture(scope="module")
def mixed_store_folder(cohort_folder, tmp_path_factory):
    """A store in which questions on a patient to pretrain on are asked in the test split."""
    cohort = read_sources([f"mimic:{cohort_folder}"])
    patient = next(one.subject_id for one in cohort.questions if one.split == "train" and one.type == "difference")
    questions = tuple(replace(one, split="test") if one.subject_id == patient else one for one in cohort.questions)
    folder = tmp_path_factory.mktemp("mixed") / "store"
    prepare(replace(cohort, questions=questions), folder, 64)
    return folder


def read_row(tokenizer, input_ids, labels):
    """The text before the loss, and the text with it, of one row; each label is the token that comes next."""
    ids, labels = input_ids.tolist(), labels.tolist()
    places = [place for place, label in enumerate(labels) if label != IGNORED]
    assert places == list(range(places[0], places[-1] + 1))
    # What a position predicts is what the next one is given, and the last is the end.
    assert [labels[place] for place in places[:-1]] == [ids[place + 1] for place in places[:-1]]
    assert labels[places[-1]] == tokenizer.eos_token_id
    target = [labels[place] for place in places[:-1]]
    return tokenizer.decode(ids[1 : places[0] + 1]), tokenizer.decode(target)


@pytest.mark.parametrize("blocks", [0, 1], ids=["frozen features", "grey squares"])
def test_stage_2_learns_answers_to_training_questions_with_each_image_in_its_place(
    blocks, watch, store, finetune_settings, captioner_folder, write_config, tmp_path
):
    seen = watch(DifferenceModel)
    settings = {**finetune_settings, "out": str(tmp_path / "out"), "trainable_blocks": blocks, "text_tokens": 120}
    finetune(load_config(FinetuneConfig, write_config(settings), ["optimisation.steps=4"]))
    captioner = load_folder(Captioner, captioner_folder, "MODEL")
    types = set(finetune_settings["questions"])
    found = {True: 0, False: 0}
    for learns, _, batch in seen:
        split = "train" if learns else "validate"
        for row in range(len(batch["input_ids"])):
            prompt, answer = read_row(captioner.tokenizer, batch["input_ids"][row], batch["labels"][row])
            assert prompt.endswith("\n")
            there = bool(batch["has_prior"][row, 0])
            assert any(
                shows(batch["current"][row], one.pair.current, store, captioner)
                and (not there or shows(batch["prior"][row, 0], one.pair.prior, store, captioner))
                for one in store.questions
                if (one.text, one.answer, one.split) == (prompt[:-1], answer, split)
                and one.type in types
                and bool(one.pair.prior) == there
            )
            found[learns] += there
    assert found[True] > 4
    assert found[False] > 4


def shows(given, image, store, captioner):
    """Whether a model was given this image, as patch tokens or as normalised pixels."""
    grey = store.pixels(store.index[image])
    if given.dim() == 2:
        return torch.allclose(given.float(), reference.tokens_of(captioner, grey), atol=2e-2)
    return torch.allclose(given[0], (torch.from_numpy(grey).float() / 255 - 0.5) / 0.5, atol=1e-5)


PLAIN = {"augmentation": {}, "text_tokens": 96}


def learn_stage_1(objective, pretrain_settings, write_config, tmp_path, **settings):
    settings = {**pretrain_settings, **PLAIN, **settings, "out": str(tmp_path / "out"), "objective": objective}
    return pretrain(load_config(PretrainConfig, write_config(settings), ["optimisation.steps=4"]))


def find_image(pixels, store):
    """The image that normalised pixels (channels, size, size) show."""
    grey = np.rint((pixels[0].numpy() * 0.5 + 0.5) * 255).astype(np.uint8)
    (place,) = (place for place in range(len(store.images)) if np.array_equal(store.pixels(place), grey))
    return store.images[place]


def require_box(corners, image, named, bins, size=64):
    """That a box in bins is that of a region of which `named` says yes, to the nearest bin."""
    known = [region for region in image.regions if named(region)]
    expected = [[edge / size * bins for edge in image.frame.into(region.box).as_tuple()] for region in known]
    assert any(max(abs(a - b) for a, b in zip(corners, box, strict=True)) <= 0.5 + 1e-6 for box in expected) or any(
        # A box narrower than a bin is as wide as one.
        min(box[2] - box[0], box[3] - box[1]) < 1.5
        for box in expected
    )


def test_pairs_are_shown_in_the_order_of_time_with_their_changes_and_boxes(
    watch, store, pretrain_settings, write_config, tmp_path
):
    seen = watch(PretrainingModel)
    out = learn_stage_1("paired", pretrain_settings, write_config, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(out)
    known = {}
    for one in store.questions:
        if one.text == DIFFERENCE_QUESTION and len(read_changes(one.answer)) == 1:
            known[one.pair.prior, one.pair.current] = (one.split, read_changes(one.answer)[0])
    kinds, boxes = set(), 0
    for learns, _, batch in seen:
        images = [find_image(pixels, store) for pixels in batch["pixel_values"]]
        texts = batch["paired"]
        for row, (prior, current) in enumerate(zip(images[::2], images[1::2], strict=True)):
            split, changes = known[prior.image_id, current.image_id]
            assert split == ("train" if learns else "validate")
            prompt, target = read_row(tokenizer, texts["input_ids"][row], texts["labels"][row])
            assert prompt == "Change:"
            assert target.strip()
            parts = target.strip().split("; ")
            if not changes:
                assert parts == ["nothing has changed"]
            for part, change in zip(parts, sorted(changes), strict=False):
                words, _, box = part.partition(" : ")
                level = f"{change.finding} from {change.before} to {change.after}"
                assert words == (level if change.kind == "level" else f"{change.kind} {change.finding}")
                kinds.add(change.kind)
                if box:
                    shown = prior if change.kind == "missing" else current
                    corners = [int(number) for number in box.split()]
                    require_box(corners, shown, lambda region, name=change.finding: says(region, name), 100)
                    boxes += 1
    assert {"added", "missing"} <= kinds
    assert boxes > 3


def says(region, finding):
    return any(finding in phrase.lower() for phrase in region.phrases)


def test_phrases_and_boxes_are_those_of_the_image_and_of_training(
    watch, mixed_store_folder, pretrain_settings, write_config, tmp_path
):
    seen, store = watch(PretrainingModel), Store.open(mixed_store_folder)
    settings = {"parallel": {}, "text_tokens": 64, "store": str(mixed_store_folder)}
    out = learn_stage_1("location_aware", pretrain_settings, write_config, tmp_path, **settings)
    tokenizer = AutoTokenizer.from_pretrained(out)
    asked = {one.subject_id for one in store.questions if one.split != "train"}
    tasks = set()
    for learns, _, batch in seen:
        texts = batch["captioning"]
        for row, pixels in enumerate(batch["pixel_values"]):
            image = find_image(pixels, store)
            assert image.split == ("train" if learns else "validate")
            assert not learns or image.subject_id not in asked
            for number in range(int(texts["text_index"][row].max()) + 1):
                of_text = texts["text_index"][row] == number
                labels = texts["labels"][row][of_text]
                if labels[-1] != tokenizer.eos_token_id:
                    continue  # a report that was cut
                prompt, target = read_row(tokenizer, texts["input_ids"][row][of_text], labels)
                task, said = prompt.partition(":")[0], (prompt + target).partition(":")[2]
                tasks.add(task)
                if task == "Cap":
                    assert said.strip() == " ".join(image.report.split())
                    continue
                parts = [part.strip() for part in said.split(" : ")]
                box = next(part for part in parts if re.fullmatch(r"\d+ \d+ \d+ \d+", part))
                words = [part for part in parts if part != box]
                # Of a named region the name comes first.
                phrase, name = words[-1], words[0] if len(words) == 2 else None

                def named(region, phrase=phrase, name=name):
                    return (name is None or region.name == name) and any(
                        one.rstrip(" .").startswith(phrase) for one in region.phrases
                    )

                assert any(named(region) for region in image.regions)
                require_box([int(number) for number in box.split()], image, named, 100)
    assert tasks == {"Cap", "ARef", "GCap", "ARef Region"}


@pytest.mark.parametrize("objective", ["clip", "local_contrastive"])
def test_what_is_said_of_an_image_is_held_against_that_image(
    objective, watch, store, pretrain_settings, write_config, tmp_path
):
    seen = watch(PretrainingModel)
    out = learn_stage_1(objective, pretrain_settings, write_config, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(out)
    told = 0
    for _, _, batch in seen:
        images = [find_image(pixels, store) for pixels in batch["pixel_values"]]
        texts = batch[objective]
        for ids, there, place, box in zip(
            texts["input_ids"], texts["attention_mask"], texts["image_index"], texts["boxes"], strict=True
        ):
            text, image = tokenizer.decode(ids[there.bool()], skip_special_tokens=True).strip(), images[place]
            told += 1
            if objective == "clip":
                assert text
                assert " ".join(image.report.split()).startswith(text)
                continue
            boxes = [
                image.frame.into(region.box).as_tuple()
                for region in image.regions
                if any(phrase.rstrip(" .").startswith(text) for phrase in region.phrases)
            ]
            assert any(np.allclose(np.array(one) / 64, box, atol=1e-3) for one in boxes)
    assert told > 8


def test_findings_are_those_of_the_image(watch, store, pretrain_settings, write_config, tmp_path):
    seen = watch(PretrainingModel)
    learn_stage_1("classification", pretrain_settings, write_config, tmp_path)
    asked = {one.subject_id for one in store.questions if one.split != "train"}
    learnt = [one for one in store.images if one.split == "train" and one.subject_id not in asked]
    names, there = sorted({name for one in learnt for name in one.findings}), 0
    for _, _, batch in seen:
        found = batch["classification"]["findings"]
        for pixels, row in zip(batch["pixel_values"], found, strict=True):
            image = find_image(pixels, store)
            named = {name for name, one in zip(names, row.tolist(), strict=True) if one}
            assert named == set(image.findings) & set(names)
            there += len(image.findings)
    assert there > 0


def test_a_classifier_is_rewarded_for_naming_what_is_there():
    torch.manual_seed(0)
    head, tokens = ClassificationHead(4, 2), torch.randn(3, 5, 4)
    findings, known = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), torch.tensor([True, False, True])
    torch.nn.init.normal_(head.probe.weight)
    # Queries begin at zero: the mean of the tokens.
    chances = torch.sigmoid(tokens.mean(1) @ head.probe.weight[:, 0].T)
    expected = [
        -np.log(float(chance if there else 1 - chance))
        for row, true, known_row in zip(chances, findings, known, strict=True)
        for chance, there in zip(row, true, strict=True)
        if known_row
    ]
    assert float(head(tokens, findings, known).loss) == pytest.approx(np.mean(expected), rel=1e-5)


def test_levels_are_those_that_phrases_of_the_image_state(watch, store, pretrain_settings, write_config, tmp_path):
    seen = watch(PretrainingModel)
    learn_stage_1("levels", pretrain_settings, write_config, tmp_path)
    ranks = {"subtle": 1, "minimal": 1, "mild": 2, "small": 2, "moderate": 4, "severe": 6, "massive": 6}
    stated = Counter()
    for _, _, batch in seen:
        for pixels, row in zip(batch["pixel_values"], batch["levels"]["levels"], strict=True):
            phrases = [phrase for region in find_image(pixels, store).regions for phrase in region.phrases]
            for name, level in zip(sorted(NAMES), row.tolist(), strict=True):
                of_it = [phrase for phrase in phrases if re.search(rf"\b{name}s?\b", phrase)]
                words = {word for phrase in of_it for word in phrase.split() if word in ranks}
                denied = any(re.search(r"\b(no|resolved)\b", phrase) for phrase in of_it)
                expected = 0 if denied else ranks[words.pop()] if words else IGNORED
                assert (name, level) == (name, expected)
                stated[level] += 1
    assert set(stated) == {IGNORED, 0, 1, 2, 4, 6}


def test_a_reader_of_levels_is_rewarded_for_those_that_are_known():
    torch.manual_seed(0)
    head, tokens = LevelHead(4, 2, 3), torch.randn(3, 5, 4)
    torch.nn.init.normal_(head.probe.weight)
    levels = torch.tensor([[0, IGNORED], [2, 1], [IGNORED, IGNORED]])
    chances = torch.einsum("iw,ncw->inc", tokens.mean(1), head.probe.weight).softmax(-1)
    known = [chances[0, 0, 0], chances[1, 0, 2], chances[1, 1, 1]]
    assert float(head(tokens, levels).loss) == pytest.approx(-np.mean([np.log(float(one)) for one in known]), rel=1e-5)
    assert float(head(tokens, torch.full((3, 2), IGNORED)).loss) == 0


def test_a_probe_of_changes_is_shown_the_prior_image_first(
    watch, store_folder, captioner_folder, monkeypatch, tmp_path
):
    """Probes standardise what they are shown, so that it is like the features of an image, but for scale and place."""
    monkeypatch.setattr(probing, "STEPS", 2)
    monkeypatch.setattr(probing, "CHECK_EVERY", 1)
    monkeypatch.setattr(probing, "FEWEST", 1)
    seen = watch(LabelProbe)
    probe(str(captioner_folder), store_folder, tmp_path / "out")
    store, captioner = Store.open(store_folder), load_folder(Captioner, captioner_folder, "MODEL")
    rows = [json.loads(line) for line in (tmp_path / "out" / "probe_predictions.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["probe"] == "changes" and row.get("pooling") == "attention"]
    questions = {one.question_id: one for one in store.questions}
    assert {questions[row["id"]].split for row in rows} == {"test"}
    given = [tensors[0] for _, tensors, _ in seen if tensors[0].shape[1] == 2][-1]
    assert len(given) == len(rows)
    means, deviations = {}, {}
    for side, of in enumerate(("prior", "current")):
        images = [getattr(questions[row["id"]].pair, of) for row in rows]
        raw = torch.stack([reference.tokens_of(captioner, store.pixels(store.index[image])) for image in images])
        for column in range(raw.shape[-1]):
            plain, shown = raw[..., column].flatten(), given[:, side, :, column].flatten()
            assert np.corrcoef(plain, shown)[0, 1] > 0.999
            # What is shown as 0 is the mean of what was learnt from.
            slope, start = np.polyfit(shown, plain, 1)
            means[column] = start
            deviations[column] = slope
    learnt = [one.pair for one in store.questions if one.split == "train" and one.text == DIFFERENCE_QUESTION]
    learnt = [image for pair in learnt for image in pair.images[:2]]
    tokens = torch.stack([reference.tokens_of(captioner, store.pixels(store.index[image])) for image in learnt])
    assert np.allclose(list(means.values()), tokens.mean((0, 1)), atol=1e-2)
    assert np.allclose(list(deviations.values()), tokens.std((0, 1)), atol=1e-2)
    for row in rows:
        (changes,) = read_changes(questions[row["id"]].answer)
        ways = {change.finding: {"added": 1, "missing": 2}.get(change.kind, 0) for change in changes}
        assert row["target"] == {name: ways.get(name, 0) for name in row["target"]}


def test_what_is_measured_of_a_finished_model(model_folder, mixed_store_folder, tmp_path, monkeypatch):
    """What is like its training images, by the limit that validation images set, and how often it is right there."""
    monkeypatch.setattr(measuring, "FEWEST_QUESTIONS", 1)
    monkeypatch.setattr(measuring, "FEWEST_IMAGES", 1)
    folder = shutil.copytree(model_folder, tmp_path / "model", ignore=shutil.ignore_patterns(FOLDER))
    store, model = Store.open(mixed_store_folder), load_folder(DifferenceModel, folder, "model")
    sample = measuring.draw_sample(store, 1)
    features = encode_store(model, store, sample.images, tmp_path / "features", "key")
    confidences, fit = [], measuring.fit_confidence
    monkeypatch.setattr(measuring, "fit_confidence", lambda *given: confidences.extend(given[0]) or fit(*given))
    measuring.measure_trust(model, store, sample, features)
    seal(folder)
    check = load_trust(folder, weights_digest(folder)).input_check
    asked = {one.subject_id for one in store.questions if one.split != "train"}

    def tokens(split):
        images = [one for one in store.images if one.split == split]
        images = [one for one in images if split != "train" or one.subject_id not in asked]
        return np.stack([reference.tokens_of(model, store.pixels(store.index[one.image_id])) for one in images])

    training, validation = tokens("train"), tokens("validate")
    measured = np.concatenate([training.mean(1), training.std(1)], axis=1)
    assert np.allclose(check.mean, measured.mean(0), atol=1e-3)
    found = np.sort(check.score(validation))
    assert np.quantile(found, 0.99) == pytest.approx(1, rel=1e-2)
    assert np.median(check.score(training)) < np.median(found)

    known = [one for one in store.questions if one.split == "validate" and one.type == "difference"]
    right = 0
    for one, confidence in zip(known, confidences, strict=True):
        current, prior = (store.pixels(store.index[image]) for image in one.pair.images[:2])
        said = reference.answer(model, current, [prior], one.text)
        assert np.log(confidence) == pytest.approx(said.log_confidence, abs=reference.CLOSE)
        right += bool(set(read_changes(said.text)) & set(read_changes(one.answer)))
    measured = json.loads((folder / FOLDER / RECORD).read_text())["confidence"]
    assert (measured["answers"], measured["right"]) == (len(known), right)
    assert right < len(known)
