"""A model evaluated on a store that it was not trained on."""

import json
import shutil

import pytest

from diffvqa.data import read_sources
from diffvqa.data.prepare import prepare
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.evaluating.evaluate import evaluate
from diffvqa.phantom.writing import write_cohort


@pytest.fixture(scope="module")
def other_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    write_cohort(folder / "cohort", 10, seed=2, size=96, workers=1)
    return prepare(read_sources([f"mimic:{folder / 'cohort'}"]), folder / "store", 64).folder


def answers(path):
    return [json.loads(line)["answer"] for line in path.read_text().splitlines()]


def test_controls_know_the_train_split_of_the_store_that_is_named(model_folder, store_folder, other_store, tmp_path):
    known = {one.answer for one in Store.open(store_folder).questions if one.split == "train"}
    evaluate(model_folder, other_store, "test", tmp_path / "out", training_store=store_folder, grounding=False)
    for control in ("most_frequent", "retrieval"):
        found = answers(tmp_path / "out" / "controls" / f"{control}.jsonl")
        assert found
        assert known.issuperset(found)
    tasks = {json.loads(line)["task"] for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()}
    assert tasks == {"question"}


@pytest.mark.slow
def test_encoded_images_are_kept_where_asked_and_change_nothing(model_folder, store_folder, tmp_path):
    kept = []
    for name in ("first", "again"):
        evaluate(model_folder, store_folder, "test", tmp_path / name, features_folder=tmp_path / "features")
        kept.append({path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.npy")})
    assert len(kept[0]) == 2
    assert kept[1] == kept[0]
    evaluate(model_folder, store_folder, "test", tmp_path / "without")
    assert not (tmp_path / "without" / "features").exists()
    for name in ("again", "without"):
        assert (tmp_path / name / "predictions.jsonl").read_bytes() == (
            tmp_path / "first" / "predictions.jsonl"
        ).read_bytes()


@pytest.mark.slow
def test_some_patients_are_the_same_for_every_model_and_answer_as_among_all(model_folder, store_folder, tmp_path):
    found = {}
    for name, patients in (("all", None), ("one", 1), ("again", 1), ("more", 10_000)):
        evaluate(model_folder, store_folder, "test", tmp_path / name, patients=patients)
        lines = (tmp_path / name / "predictions.jsonl").read_text().splitlines()
        found[name] = {(row["task"], row["id"]): row for row in map(json.loads, lines)}
    assert found["more"] == found["all"]
    assert found["again"] == found["one"]
    (patient,) = {row["subject_id"] for row in found["one"].values()}
    theirs = {key for key, row in found["all"].items() if row["subject_id"] == patient}
    assert theirs == set(found["one"]) < set(found["all"])
    with pytest.raises(InputError, match="patients"):
        evaluate(model_folder, store_folder, "test", tmp_path / "all", patients=1)


@pytest.mark.parametrize("record", [None, "{", "[]", '{"config": {}}', '{"config": {"questions": 3}}'])
def test_a_model_that_does_not_say_what_it_was_trained_on_is_refused(record, model_folder, store_folder, tmp_path):
    damaged = shutil.copytree(model_folder, tmp_path / "model")
    (damaged / "run.json").unlink()
    if record is not None:
        (damaged / "run.json").write_text(record)
    with pytest.raises(InputError, match=r"model: .*run\.json\)? is (missing, )?damaged"):
        evaluate(damaged, store_folder, "test", tmp_path / "out")


def test_a_store_of_which_nothing_can_be_asked_is_told_before_any_work(
    model_folder, store_folder, tmp_path, monkeypatch
):
    opened = Store.open

    def without_questions(*given):
        store = opened(*given)
        store.questions = []
        return store

    monkeypatch.setattr(Store, "open", without_questions)
    with pytest.raises(InputError, match=r"split: .*the store has no questions in test"):
        evaluate(model_folder, store_folder, "test", tmp_path / "out", grounding=False)
    assert not (tmp_path / "out").exists()
