"""Every objective trains, goes on after a stop, and feeds stage 2 without another change."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPTextConfig, GPT2Config

from diffvqa.errors import InputError
from diffvqa.evaluating.evaluate import evaluate
from diffvqa.evaluation.score import score_folder
from diffvqa.models.encoder import encoder_config_class
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.finetune import finetune
from diffvqa.training.objectives import OBJECTIVES, HeadContext, make_heads, read_objective, task_weights
from diffvqa.training.pretrain import pretrain

SUMS = ["clip+cap", "local_contrastive+local_captioning"]
QUICK = ["location_aware", "clip", "classification", "none"]
"""Those that are tried without the long tests."""


def configure(pretrain_settings, write_config, out, objective, *overrides):
    path = write_config({**pretrain_settings, "out": str(out)})
    return load_config(PretrainConfig, path, [f"objective={objective}", "optimisation.steps=4", *overrides])


@pytest.fixture(
    scope="module",
    params=[one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in (*OBJECTIVES, *SUMS)],
)
def trained(request, pretrain_settings, write_config, tmp_path_factory):
    out = tmp_path_factory.mktemp("objective") / "out"
    return request.param, pretrain(configure(pretrain_settings, write_config, out, request.param))


def test_an_objective_leaves_an_encoder_and_says_what_it_saw(trained):
    name, out = trained
    record = json.loads((out / "run.json").read_text())
    assert record["finished"]
    assert record["images_seen"] == (0 if name == "none" else 16)
    contrastive = {part for part in name.split("+") if "contrastive" in part or "lip" in part}
    assert set(record["negatives"]) == contrastive
    assert all(number > 1 for number in record["negatives"].values())
    kind = json.loads((out / "config.json").read_text())["model_type"]
    captions = bool(task_weights(read_objective(name)))
    assert (kind == "diffvqa_captioner") == captions
    if not captions:
        encoder_config_class(kind)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] if name != "none" else []
    assert any("evaluation_loss" in line for line in lines) == (name != "none")
    assert ("losses" in next(iter(lines), {})) == ("+" in name)


def test_an_objective_goes_on_after_a_stop(trained, pretrain_settings, write_config, tmp_path, stop_after):
    name, undisturbed = trained
    config = configure(pretrain_settings, write_config, tmp_path / "out", name)
    if name != "none":
        with stop_after(3):
            pretrain(config)
    out = pretrain(config)
    found, expected = (load_file(folder / "model.safetensors") for folder in (out, undisturbed))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


# One that leaves a captioner, and one that leaves an encoder alone.
@pytest.mark.parametrize("trained", ["location_aware", "clip"], indirect=True)
def test_an_objective_feeds_stage_2_and_its_evaluation(
    trained, finetune_settings, store_folder, write_config, tmp_path
):
    name, encoder = trained
    settings = {**finetune_settings, "encoder": str(encoder), "out": str(tmp_path / "model")}
    model = finetune(load_config(FinetuneConfig, write_config(settings), ["optimisation.steps=1"]))
    evaluate(model, store_folder, "test", tmp_path / "evaluation")
    rows = [json.loads(line) for line in (tmp_path / "evaluation" / "predictions.jsonl").read_text().splitlines()]
    score_folder(tmp_path / "evaluation", replicates=10)
    tasks = {row["task"] for row in rows} - {"question"}
    assert tasks == set(task_weights(read_objective(name))) & {"AREF", "CAREF"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("clpi", "no objective 'clpi'; the objectives are location_aware, cap,"),
        ("clip+clip", "stands twice in 'clip.clip'"),
        ("clip+none", "give 'none' alone, or one or several of location_aware"),
        ("{clip: 0}", "weight of 'clip' must be a number above 0, found 0"),
        ("{}", "one or several of"),
        ("3", "`objective`: expected a name, a sum of names or names with weights, found 3"),
        ("{clip: lots}", "weight of 'clip' must be a number above 0, found 'lots'"),
    ],
)
def test_an_objective_that_is_none_is_refused(pretrain_settings, write_config, tmp_path, asked, words):
    with pytest.raises(InputError, match=words):
        configure(pretrain_settings, write_config, tmp_path / "out", asked)


def test_the_tasks_of_a_sum_are_weighed_and_the_method_is_one(pretrain_settings, write_config, tmp_path):
    assert read_objective("clip+cap") == {"clip": 1.0, "cap": 1.0}
    assert task_weights(read_objective("cap+local_captioning")) == task_weights(read_objective("location_aware"))
    weights = {"Cap": 0.5, "AREF": 2.0, "GCAP": 2.0, "CAREF": 2.0}
    assert task_weights({"cap": 0.5, "local_captioning": 2.0, "clip": 1.0}) == weights
    asked = "{cap: 0.5, local_captioning: 2.0, clip: 1.0}"
    assert configure(pretrain_settings, write_config, tmp_path / "out", asked).mixture.weights == weights


def test_parts_of_a_step_are_the_step(pretrain_settings, write_config, tmp_path):
    """Of each captioning head the mean is over its target tokens in the step, however many are in each part."""
    # Without batch normalisation, whose statistics are of a part.
    encoder = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
    plain = {**pretrain_settings, "encoder": {**encoder, "patch_size": 16}}
    logs = []
    for parts in (1, 4):
        step = ["optimisation.batch_size=8", f"optimisation.accumulation={parts}", "optimisation.precision=fp32"]
        out = pretrain(configure(plain, write_config, tmp_path / str(parts), "cap+paired", *step))
        logs.append([json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()])
    for whole, in_parts in zip(*logs, strict=True):
        assert in_parts.get("losses") == pytest.approx(whole.get("losses"), abs=1e-4)


def test_captioning_objectives_share_a_head_and_others_begin_as_they_do_alone(captioner_folder):
    tokenizer = AutoTokenizer.from_pretrained(captioner_folder)
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": len(tokenizer), "add_cross_attention": True}
    context = HeadContext(
        width=16,
        image_size=64,
        decoder_config=GPT2Config(**sizes),
        text_config=CLIPTextConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32),
        tokenizer=tokenizer,
        text_tokens=32,
        findings=["edema"],
    )

    def heads(asked):
        torch.manual_seed(0)
        return make_heads(read_objective(asked), context)

    alone, together = heads("clip"), heads("cap+clip+local_captioning+location_aware")
    assert list(together) == ["captioning", "clip"]
    expected = alone["clip"].state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in together["clip"].state_dict().items())


def test_an_objective_whose_tasks_are_not_drawn_is_refused(pretrain_settings, write_config, tmp_path):
    with pytest.raises(InputError, match="`texts` has none of the tasks of `objective`, which are AREF, GCAP, CAREF"):
        configure(pretrain_settings, write_config, tmp_path / "out", "local_captioning", "texts={Cap: 1}")


def test_a_local_contrast_without_phrases_is_refused(pretrain_settings, write_config, tmp_path):
    with pytest.raises(InputError, match=r"local_contrastive takes as many phrases .* AREF, GCAP, CAREF together"):
        configure(pretrain_settings, write_config, tmp_path / "out", "local_contrastive", "texts={Cap: 1}")
    assert configure(pretrain_settings, write_config, tmp_path, "local_contrastive", "texts={GCAP: 0.5}").phrases == 1


def test_an_objective_without_anything_to_learn_from_is_refused(pretrain_settings, write_config, tmp_path, monkeypatch):
    from dataclasses import replace

    from diffvqa.data.store import Store

    opened = Store.open

    class Images(list):
        def column(self, name):
            return [getattr(image, name) for image in self]

    def without_phrases(folder):
        store = opened(folder)
        store.images = Images(replace(image, regions=()) for image in store.images)
        return store

    monkeypatch.setattr(Store, "open", without_phrases)
    with pytest.raises(InputError, match="objective: local_contrastive learns from phrases, but no image"):
        pretrain(configure(pretrain_settings, write_config, tmp_path / "out", "local_contrastive"))
    assert not (tmp_path / "out").exists()


def test_the_documentation_lists_every_objective():
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    for name, objective in OBJECTIVES.items():
        assert f"| `{name}` | {objective.summary} |" in text
