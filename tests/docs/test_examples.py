"""The Python of the how-to pages does what the pages say."""

import csv
import json
import re
from pathlib import Path

import pytest
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from diffvqa.data import inspection, prepare, read_sources, registry
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.evaluation.score import score_file
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.finetune import finetune
from diffvqa.training.objectives import OBJECTIVES
from diffvqa.training.pretrain import pretrain

DOCS = Path(__file__).parents[2] / "docs"


def python_of(page):
    """The blocks of Python of a page."""
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)


def test_the_dataset_of_the_docs_is_read(tmp_path, cohort_folder, monkeypatch):
    (example,) = python_of("how-to/dataset.md")
    made = {}
    exec(example, made)
    pictures = sorted(cohort_folder.rglob("*.jpg"))[:3]
    rows = [
        ("A", 0, "a0.jpg", "edema"),
        ("A", 5, "a5.jpg", "edema|nodule"),
        ("B", 1, "b.jpg", ""),
        ("B", 2, "lost.jpg", ""),
    ]
    for (_, _, name, _), picture in zip(rows, pictures, strict=False):
        (tmp_path / name).write_bytes(picture.read_bytes())
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("patient", "day", "file", "findings"), *rows])
    monkeypatch.setattr(registry, "READERS", {**registry.READERS, "ours": made["READER"]})
    registry.readers.cache_clear()
    try:
        cohort = read_sources([f"ours:{tmp_path}"])
        store = prepare.prepare(cohort, tmp_path / "store", 64)
    finally:
        registry.readers.cache_clear()
    assert inspection.summarise(cohort)["problems"] == {"image_missing": 1}
    assert len(store.images) == 3
    assert store.datasets == ("ours",)
    (question,) = store.questions
    assert question.answer == "the main image has an additional finding of nodule than the reference image."


def test_the_objective_of_the_docs_is_trained(tmp_path, pretrain_settings, write_config, monkeypatch):
    example, _ = python_of("how-to/objective.md")
    for name in list(OBJECTIVES):
        monkeypatch.setitem(OBJECTIVES, name, OBJECTIVES[name])
    monkeypatch.delitem(OBJECTIVES, "amount", raising=False)
    exec(example, {})
    out = tmp_path / "amount"
    config = write_config({**pretrain_settings, "out": str(out), "objective": "cap+amount"})
    pretrain(load_config(PretrainConfig, config, []))
    del OBJECTIVES["amount"]
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert all(set(line["losses"]) == {"captioning", "amount"} for line in log if "losses" in line)


def test_the_encoder_of_the_docs_is_finetuned(
    tmp_path, store_folder, trained_captioner_folder, write_config, monkeypatch
):
    (example,) = python_of("how-to/encoder.md")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    settings = {
        "store": str(store_folder),
        "encoder": str(tmp_path / "my-encoder"),
        "out": str(tmp_path / "model"),
        "text_tokens": 64,
        "language_model": {"n_embd": 32, "n_layer": 1, "n_head": 2},
        "optimisation": {"steps": 2, "batch_size": 4, "learning_rate": 1e-3},
    }
    with pytest.raises(InputError, match="give the folder or hub name of a language model"):
        finetune(load_config(FinetuneConfig, write_config(settings), []))
    model = GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=1, n_head=2, n_positions=128))
    model.save_pretrained(tmp_path / "language-model")
    AutoTokenizer.from_pretrained(trained_captioner_folder).save_pretrained(tmp_path / "language-model")
    out = finetune(
        load_config(FinetuneConfig, write_config({**settings, "language_model": str(tmp_path / "language-model")}), [])
    )
    assert (out / "model.safetensors").is_file()
    assert not (out / "captioner").exists()


def test_another_system_is_scored(tmp_path, store_folder, monkeypatch):
    write_questions, write_predictions = python_of("how-to/other-system.md")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").symlink_to(store_folder)
    exec(write_questions, {})
    asked = [json.loads(line) for line in Path("questions.jsonl").read_text().splitlines()]
    assert asked
    right = {one.question_id: one.answer for one in Store.open(store_folder).questions}
    Path("answers.jsonl").write_text(
        "".join(json.dumps({"id": one["id"], "answer": right[one["id"]]}) + "\n" for one in asked)
    )
    exec(write_predictions, {})
    assert score_file(Path("predictions.jsonl"))["changes"]["f1"]["value"] == 1
