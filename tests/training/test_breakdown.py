"""A run that breaks down: it says where, lists what it was trained on, and keeps its last good checkpoint."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from diffvqa.data.splits import pretraining_images
from diffvqa.data.store import Store
from diffvqa.errors import RunFailed
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.pretraining import PretrainingModel
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.datasets import PretrainingDraws
from diffvqa.training.finetune import finetune
from diffvqa.training.pretrain import pretrain
from diffvqa.training.stage_trainer import Failure


def break_at(monkeypatch, model_class, call, value):
    """Let the model's loss be `value` at its call-th training step."""
    forward, calls = model_class.forward, []

    def broken(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        if self.training:
            calls.append(1)
            if len(calls) == call:
                output.loss = output.loss * value
        return output

    monkeypatch.setattr(model_class, "forward", broken)


class Numbers(list):
    """Draws that are known by their place."""

    identifier = staticmethod(str)


@pytest.fixture
def config(pretrain_settings, write_config, tmp_path):
    return load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(tmp_path / "out")}), [])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run(config, store_folder, tmp_path, monkeypatch, value):
    out = tmp_path / "out"
    break_at(monkeypatch, PretrainingModel, 4, value)
    with pytest.raises(RunFailed, match=f"the loss is {value} at step 4 of 6; the checkpoint of step 2 is kept"):
        pretrain(config)
    store = Store.open(store_folder)
    draws = PretrainingDraws(store, pretraining_images(store)[0], config, 24)
    listed = json.loads((out / "failed_step.json").read_text())
    assert listed["step"] == 4
    assert listed["ids"] == [draws.identifier(place) for place in range(12, 16)]
    assert set(listed["ids"]) <= set(store.index)
    kept = load_file(out / "checkpoints" / "checkpoint-2" / "model.safetensors")
    assert all(weight.isfinite().all() for weight in kept.values())
    assert not (out / "model.safetensors").exists()


def test_a_checkpoint_that_was_not_written_to_its_end_is_not_named(tmp_path):
    for step, names in ((2, ["model.safetensors", "trainer_state.json"]), (4, ["model.safetensors"])):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text("{}")
    with pytest.raises(RunFailed, match="the checkpoint of step 2 is kept"):
        Failure(Numbers(range(24)), 4, tmp_path).stop("the loss is nan", 5)


def test_gradients_that_are_not_finite_do_not_reach_the_weights(config, tmp_path, monkeypatch):
    """The loss is finite, its gradient is not: a square root at zero."""
    forward, calls = PretrainingModel.forward, []

    def broken(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        if self.training:
            calls.append(1)
            if len(calls) == 2:
                output.loss = output.loss + (output.loss * 0).sqrt()
        return output

    monkeypatch.setattr(PretrainingModel, "forward", broken)
    with pytest.raises(RunFailed, match="gradients are not finite at step 2 of 6; there is no checkpoint yet"):
        pretrain(config)


def test_a_run_that_broke_down_goes_on_from_its_checkpoint(config, trained_captioner_folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        break_at(patch, PretrainingModel, 5, math.nan)
        with pytest.raises(RunFailed, match="the checkpoint of step 4 is kept"):
            pretrain(config)
    found, expected = (
        load_file(folder / "model.safetensors") for folder in (pretrain(config), trained_captioner_folder)
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_stage_2_lists_its_questions(finetune_settings, store_folder, write_config, tmp_path, monkeypatch):
    config = load_config(FinetuneConfig, write_config({**finetune_settings, "out": str(tmp_path / "out")}), [])
    break_at(monkeypatch, DifferenceModel, 1, math.nan)
    with pytest.raises(RunFailed, match="the loss is nan at step 1 of 6"):
        finetune(config)
    listed = json.loads((tmp_path / "out" / "failed_step.json").read_text())["ids"]
    assert set(listed) <= {question.question_id for question in Store.open(store_folder).questions}
