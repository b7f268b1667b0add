"""Probes: they find what is in the tokens, and nothing where there is nothing; the same seed says the same."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from diffvqa.data import read_sources
from diffvqa.data.prepare import prepare
from diffvqa.errors import InputError
from diffvqa.evaluation.probe_scores import score_probe
from diffvqa.files import held
from diffvqa.models.probe_heads import BoxProbe, LabelProbe
from diffvqa.phantom.writing import write_cohort
from diffvqa.training import probe as probing
from diffvqa.training.probe import Items, Probed, probe


def made(count, seed, informative):
    """Items whose one finding shows in one patch's tokens, if at all."""
    random = np.random.default_rng(seed)
    there = random.integers(0, 2, (count, 1))
    tokens = random.normal(size=(count, 4, 8)).astype(np.float16)
    if informative:
        tokens[:, 2, :2] += 4 * there
    names = [f"{seed}-{number}" for number in range(count)]
    features = dict(zip(names, tokens, strict=True))
    return features, Items(names, names, [(name,) for name in names], there)


@pytest.mark.parametrize(("informative", "low", "high"), [(True, 0.95, 1.0), (False, 0.35, 0.65)])
def test_a_probe_finds_what_is_there_and_nothing_else(informative, low, high):
    parts = [made(400, seed, informative) for seed in range(3)]
    features = {name: token for features, _ in parts for name, token in features.items()}
    probed = Probed(SimpleNamespace(), 0, features=features)
    torch.manual_seed(0)
    model = LabelProbe(8, 1, 2, attends=True)

    def loss(predicted, target):
        return torch.nn.functional.cross_entropy(predicted.flatten(0, 1), target.flatten())

    train, validate, test = (items for _, items in parts)
    predicted = (
        probing._fit_and_ask(model, loss, probed, train, validate, probed, test, "x").softmax(-1)[:, 0, 1].numpy()
    )
    order = predicted[test.targets[:, 0] == 1][:, None] > predicted[test.targets[:, 0] == 0]
    assert low <= order.mean() <= high


def test_a_probe_of_pairs_finds_that_two_images_differ():
    """In one patch, in either direction: whatever is linear in the two images side by side is at chance."""
    random = np.random.default_rng(0)
    features, parts = {}, []
    for count in (800, 400, 400):
        differ = random.integers(0, 2, (count, 1))
        pairs = [(f"{len(features) + 2 * one}", f"{len(features) + 2 * one + 1}") for one in range(count)]
        for (prior, current), there in zip(pairs, differ[:, 0], strict=True):
            features[prior], features[current] = random.normal(size=(2, 4, 8)).astype(np.float16) / 4
            of_prior, of_current = (-2, 2) if random.random() < 0.5 else (2, -2)
            features[prior][2, 0] += of_prior
            features[current][2, 0] += of_current if there else of_prior
        parts.append(Items([one for one, _ in pairs], [one for one, _ in pairs], pairs, differ))
    probed = Probed(SimpleNamespace(), 0, features=features)
    torch.manual_seed(0)
    model = LabelProbe(8, 1, 2, attends=False, pair=True)

    def loss(predicted, target):
        return torch.nn.functional.cross_entropy(predicted.flatten(0, 1), target.flatten())

    train, validate, test = parts
    predicted = probing._fit_and_ask(model, loss, probed, train, validate, probed, test, "x").argmax(-1)[:, 0].numpy()
    assert (predicted == test.targets[:, 0]).mean() > 0.95


def test_a_box_probe_begins_with_the_mean_boxes():
    means = torch.rand(3, 4)
    predicted = BoxProbe(8, 16, means)(torch.randn(5, 1, 16, 8))
    assert torch.allclose(predicted, means.expand(5, 3, 4))


def test_the_loss_of_a_box_is_0_for_the_box_itself_and_overlooks_unknown_ones():
    target = torch.tensor([[[0.1, 0.1, 0.5, 0.6], [float("nan")] * 4]])
    predicted = torch.tensor([[[0.1, 0.1, 0.5, 0.6], [0.0, 0.0, 1.0, 1.0]]])
    assert float(probing._box_loss(predicted, target)) == pytest.approx(0, abs=1e-6)
    assert float(probing._box_loss(predicted + 0.2, target)) > 0.5
    assert float(probing._box_loss(predicted, torch.full_like(target, float("nan")))) == 0


@pytest.fixture(scope="module")
def larger_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("larger")
    write_cohort(folder / "cohort", 60, seed=4, size=96, workers=1)
    return prepare(read_sources([f"mimic:{folder / 'cohort'}"]), folder / "store", 64).folder


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(probing, "STEPS", 4)
    monkeypatch.setattr(probing, "CHECK_EVERY", 2)


def test_an_encoder_is_probed_for_all_three_and_twice_alike(captioner_folder, larger_store, few_steps, tmp_path):
    for name in ("one", "two"):
        probe(str(captioner_folder), larger_store, tmp_path / name, seed=3)
    predicted = [(tmp_path / name / "probe_predictions.jsonl").read_bytes() for name in ("one", "two")]
    assert predicted[0] == predicted[1]
    scores = score_probe(tmp_path / "one", replicates=20)
    assert set(scores) == {"findings", "changes", "boxes"}
    assert set(scores["findings"]) == set(scores["changes"]) == {"mean", "attention"}
    assert scores["boxes"]["n"] > 100
    assert not (tmp_path / "one" / "features").exists()
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o700


def test_another_store_is_asked_about_as_a_whole(captioner_folder, larger_store, store_folder, few_steps, tmp_path):
    probe(str(captioner_folder), larger_store, tmp_path / "out", test_folder=store_folder)
    rows = [json.loads(line) for line in (tmp_path / "out" / "probe_predictions.jsonl").read_text().splitlines()]
    asked = {row["id"] for row in rows if row["probe"] == "findings"}
    assert asked == {image.image_id for image in probing.Store.open(store_folder).images}
    assert json.loads((tmp_path / "out" / "run.json").read_text())["left_out"] == 0


def test_of_another_store_no_patient_is_asked_about_from_whom_a_probe_has_learnt(
    captioner_folder, larger_store, few_steps, tmp_path
):
    probe(str(captioner_folder), larger_store, tmp_path / "out", test_folder=larger_store)
    rows = [json.loads(line) for line in (tmp_path / "out" / "probe_predictions.jsonl").read_text().splitlines()]
    patients = {split: set() for split in ("train", "validate", "test")}
    for image in probing.Store.open(larger_store).images:
        patients[image.split].add(image.subject_id)
    assert {row["subject_id"] for row in rows} == patients["test"]
    left_out = json.loads((tmp_path / "out" / "run.json").read_text())["left_out"]
    assert left_out == len(patients["train"] | patients["validate"]) > 0


def test_what_a_store_has_nothing_for_is_said(captioner_folder, store_folder, monkeypatch, few_steps, tmp_path):
    opened = probing.Store.open

    def bare(*given):
        store = opened(*given)
        store.questions = []
        store.images = [replace(image, regions=(), findings=()) for image in store.images]
        return store

    monkeypatch.setattr(probing.Store, "open", bare)
    probe(str(captioner_folder), store_folder, tmp_path / "out")
    assert set(score_probe(tmp_path / "out")) == {"findings", "changes", "boxes"}
    assert all("reason" in found for found in score_probe(tmp_path / "out").values())


def test_what_a_killed_run_leaves_is_in_no_one_s_way(captioner_folder, store_folder, few_steps, tmp_path, monkeypatch):
    probe(str(captioner_folder), store_folder, tmp_path / "whole")
    half = tmp_path / "half"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(probing, "_probe_boxes", killed)
        with pytest.raises(KeyboardInterrupt):
            probe(str(captioner_folder), store_folder, half)
    assert (half / "features").is_dir()
    for name in ("run.json.7.unfinished", "features/0/features.json", "probe_predictions.jsonl"):
        (half / name).write_text("{")
    probe(str(captioner_folder), store_folder, half)
    predicted = [(folder / "probe_predictions.jsonl").read_bytes() for folder in (half, tmp_path / "whole")]
    assert predicted[0] == predicted[1]
    assert json.loads((half / "run.json").read_text())["finished"]
    assert not (half / "features").exists()


def test_the_probes_of_another_encoder_or_seed_are_not_overwritten(captioner_folder, store_folder, few_steps, tmp_path):
    probe(str(captioner_folder), store_folder, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match=r"^out: the folder holds a run with other settings \(seed\)"):
        probe(str(captioner_folder), store_folder, tmp_path / "out", seed=1)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    probe(str(captioner_folder), store_folder, tmp_path / "out")


def test_a_folder_that_another_run_holds_is_refused(captioner_folder, store_folder, tmp_path):
    with held(os.open(tmp_path, os.O_RDONLY)), pytest.raises(InputError, match=r"^out: another run is writing there"):
        probe(str(captioner_folder), store_folder, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_things_is_refused(captioner_folder, store_folder, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match=r"^out: the folder holds files that are no run of this program"):
        probe(str(captioner_folder), store_folder, tmp_path)
