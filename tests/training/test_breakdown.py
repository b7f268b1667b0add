"""A run that breaks down: it says where, lists what it was trained on, and keeps its last good checkpoint."""

import json
import math
import multiprocessing
import os
import signal
import time
from contextlib import suppress

import psutil
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from diffvqa.data.pretraining_images import pretraining_images
from diffvqa.data.store import Store
from diffvqa.errors import RunFailed
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.pretraining import PretrainingModel
from diffvqa.training import breakdown, stage_trainer
from diffvqa.training import train as train_module
from diffvqa.training.breakdown import Failure, ending_well
from diffvqa.training.checkpoints import seal
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.datasets import PretrainingDraws
from diffvqa.training.finetune import finetune
from diffvqa.training.pretrain import pretrain
from diffvqa.training.stage_trainer import StageTrainer


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
    for step, whole in ((2, True), (4, False)):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text("{}")
        if whole:
            seal(folder)
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


@pytest.mark.slow
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


def full(monkeypatch, name):
    """Let a file of the second checkpoint lie on a disk that is full."""
    save = StageTrainer._save_optimizer_and_scheduler

    def on_full_disk(self, output_dir, **rest):
        if output_dir.endswith("-4"):
            os.makedirs(output_dir, exist_ok=True)
            os.symlink("/dev/full", os.path.join(output_dir, name))
        return save(self, output_dir, **rest)

    monkeypatch.setattr(StageTrainer, save.__name__, on_full_disk)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"])
def test_a_full_disk_while_a_checkpoint_is_written(config, tmp_path, monkeypatch, name):
    full(monkeypatch, name)
    with pytest.raises(RunFailed, match=r"^the disk is full; the checkpoint of step 2 is kept; make room"):
        pretrain(config)
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["checkpoint-2"]
    assert not json.loads((tmp_path / "out" / "run.json").read_text())["finished"]


def test_a_full_disk_while_the_log_or_the_model_is_written(config, trained_captioner_folder, tmp_path, monkeypatch):
    log = tmp_path / "out" / "log.jsonl"
    begin = train_module._Log.on_train_begin

    def on_full_disk(self, *arguments, **rest):
        begin(self, *arguments, **rest)
        log.unlink()
        log.symlink_to("/dev/full")

    with monkeypatch.context() as patch:
        patch.setattr(train_module._Log, "on_train_begin", on_full_disk)
        with pytest.raises(RunFailed, match=r"^the disk is full; there is no checkpoint yet; make room"):
            pretrain(config)
    log.unlink()
    weights = tmp_path / "out" / "model.safetensors"
    weights.symlink_to("/dev/full")

    def as_libraries_say_it(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(Captioner, "save_pretrained", as_libraries_say_it)
        with pytest.raises(RunFailed, match=r"^the disk is full; the checkpoint of step 6 is kept; make room"):
            pretrain(config)
    weights.unlink()
    found, expected = (
        load_file(folder / "model.safetensors") for folder in (pretrain(config), trained_captioner_folder)
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "^the memory is full; there is no checkpoint yet; "),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "^the memory is full; "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "^the memory is full; "),
        (RuntimeError("shapes"), "^shapes$"),
    ],
)
def test_memory_that_is_full_is_said(config, monkeypatch, error, said):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(PretrainingModel, "forward", broken)
    with pytest.raises(RuntimeError, match=said):
        pretrain(config)


class Ending(Numbers):
    """Draws whose worker is sent a signal when it is asked for the fifth."""

    number = signal.SIGKILL

    def __getitem__(self, position):
        if multiprocessing.parent_process() and position == 5:
            os.kill(os.getpid(), self.number)
        return super().__getitem__(position)


def drawn():
    return list(stage_trainer._watched(DataLoader(Ending(range(8)), num_workers=1, collate_fn=list)))


def test_a_loader_worker_that_is_killed_ends_the_run(tmp_path):
    said = r"^a loader worker was ended, .*; there is no checkpoint yet; give the same command again"
    with pytest.raises(RunFailed, match=said), ending_well(tmp_path):
        drawn()
    assert not multiprocessing.active_children()


def test_a_loader_worker_that_is_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(Ending, "number", signal.SIGSTOP)
    monkeypatch.setattr(breakdown, "LOOK_EVERY", 0.1)
    with ending_well(tmp_path):
        assert len(drawn()) == 8


def test_a_loader_worker_that_is_stopped_does_not_outlive_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(Ending, "number", signal.SIGSTOP)
    with suppress(ValueError), ending_well(tmp_path):
        workers = iter(DataLoader(Ending(range(8)), num_workers=1, collate_fn=list))
        next(workers)
        raise ValueError
    assert not multiprocessing.active_children()


def test_a_signal_to_the_whole_group_leaves_the_loader_workers(tmp_path, monkeypatch):
    for number in (signal.SIGTERM, signal.SIGINT):
        monkeypatch.setattr(Ending, "number", number)
        with ending_well(tmp_path):
            assert len(drawn()) == 8


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_loader_worker_ends_with_a_run_that_is_killed(seconds):
    """Whether it has begun by then or not."""
    fork = multiprocessing.get_context("fork")
    ours, its = fork.Pipe()

    def work(of):
        its.send(os.getpid())
        time.sleep(seconds)
        stage_trainer._begin_worker(of, 0)
        its.send("begun")
        time.sleep(60)

    def run():
        fork.Process(target=work, args=[os.getpid()]).start()
        time.sleep(60)

    process = fork.Process(target=run)
    process.start()
    worker = psutil.Process(ours.recv())
    if not seconds:
        assert ours.recv() == "begun"
    process.kill()
    process.join()
    until = time.monotonic() + 20
    while time.monotonic() < until and worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
