"""Two processes on the CPU train as one does: the same step, the same folder, whole models (DDP) and sharded (FSDP)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
LAUNCHES = {
    "one": ["-m", "diffvqa"],
    "whole": [*TWO, "-m", "diffvqa"],
    "sharded": [*TWO, str(Path(__file__).with_name("as_on_gpus.py"))],
}
SHARDING = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}
# One step of 1 x 8 or 2 x 4. The learning rate is a small one: where a gradient is zero but for rounding, Adam makes a
# whole step of either sign.
STEP = {"steps": 1, "batch_size": 8, "learning_rate": 1e-5, "precision": "fp32", "save_every": 1, "log_every": 1}
# Without batch normalisation, whose statistics are of a micro-batch.
PLAIN_ENCODER = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 16,
}  # fmt: skip


def run(launch, stage, config):
    """Run a stage; what was logged of its first step, and the weights."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(SHARDING if launch == "sharded" else {})}
    command = [sys.executable, *LAUNCHES[launch], stage, str(config)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("written; next") == 1


def outcome(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return lines[0], load_file(out / "model.safetensors")


def assert_the_same(one, other):
    assert other[0]["loss"] == pytest.approx(one[0]["loss"], abs=1e-5)
    assert other[0].get("negatives") == pytest.approx(one[0].get("negatives"))
    assert other[1].keys() == one[1].keys()
    assert max(float((one[1][name] - other[1][name]).abs().max()) for name in one[1]) < 1e-6


@pytest.mark.parametrize("objective", ["location_aware", "clip", "siglip+local_contrastive+classification", "paired"])
def test_a_step_of_stage_1_on_two_processes_is_the_step_on_one(objective, pretrain_settings, write_config, tmp_path):
    settings = {**pretrain_settings, "encoder": PLAIN_ENCODER, "objective": objective, "optimisation": STEP}
    for launch in LAUNCHES:
        run(launch, "pretrain", write_config({**settings, "out": str(tmp_path / launch)}))
    one, whole, sharded = (outcome(tmp_path / launch) for launch in LAUNCHES)
    assert_the_same(one, whole)
    assert_the_same(one, sharded)
    records = [json.loads((tmp_path / launch / "run.json").read_text()) for launch in LAUNCHES]
    assert [record["processes"] for record in records] == [1, 2, 2]


@pytest.mark.parametrize("objective", ["location_aware", "paired"])
def test_parts_of_a_step_are_the_step(objective, pretrain_settings, write_config, tmp_path):
    settings = {**pretrain_settings, "encoder": PLAIN_ENCODER, "objective": objective, "optimisation": STEP}
    for name, launch, accumulation in (("at once", "one", 1), ("in parts", "one", 4), ("both", "whole", 2)):
        optimisation = {**STEP, "accumulation": accumulation}
        path = write_config({**settings, "optimisation": optimisation, "out": str(tmp_path / name)})
        run(launch, "pretrain", path)
    at_once = outcome(tmp_path / "at once")
    assert_the_same(at_once, outcome(tmp_path / "in parts"))
    assert_the_same(at_once, outcome(tmp_path / "both"))


def test_a_step_of_stage_2_on_two_processes_is_the_step_on_one(finetune_settings, write_config, tmp_path):
    for launch in LAUNCHES:
        run(
            launch, "finetune", write_config({**finetune_settings, "optimisation": STEP, "out": str(tmp_path / launch)})
        )
    one, whole, sharded = (outcome(tmp_path / launch) for launch in LAUNCHES)
    assert_the_same(one, whole)
    assert_the_same(one, sharded)


def test_muon_takes_the_same_step_on_two_processes_and_refuses_shards(pretrain_settings, write_config, tmp_path):
    settings = {**pretrain_settings, "encoder": PLAIN_ENCODER, "optimisation": {**STEP, "optimizer": "muon"}}
    for launch in ("one", "whole"):
        run(launch, "pretrain", write_config({**settings, "out": str(tmp_path / launch)}))
    one, whole = (outcome(tmp_path / launch) for launch in ("one", "whole"))
    assert whole[0]["loss"] == pytest.approx(one[0]["loss"], abs=1e-5)
    # Steps of a matrix, about 1e-5 in all, are worked out in bf16.
    assert max(float((one[1][name] - whole[1][name]).abs().max()) for name in one[1]) < 4e-6
    path = write_config({**settings, "out": str(tmp_path / "sharded")})
    command = [sys.executable, *LAUNCHES["sharded"], "pretrain", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **SHARDING}, timeout=300)
    assert done.returncode != 0
    assert "muon needs whole matrices" in done.stderr


def test_an_error_is_said_once(pretrain_settings, write_config, tmp_path):
    optimisation = {**STEP, "batch_size": 7}
    path = write_config({**pretrain_settings, "optimisation": optimisation, "out": str(tmp_path / "out")})
    command = [sys.executable, *LAUNCHES["whole"], "pretrain", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert done.stderr.count("cannot be shared by 2 processes in 1 parts each; give a multiple of 2") == 1
    assert not (tmp_path / "out").exists()


def test_a_compiled_model_learns_the_same(pretrain_settings, write_config, tmp_path):
    for name, compiled in (("plain", False), ("compiled", True)):
        settings = {**pretrain_settings, "encoder": PLAIN_ENCODER, "optimisation": {**STEP, "compile": compiled}}
        run("one", "pretrain", write_config({**settings, "out": str(tmp_path / name)}))
    plain, compiled = (outcome(tmp_path / name) for name in ("plain", "compiled"))
    assert plain[1].keys() == compiled[1].keys()
    assert all(torch.allclose(plain[1][name], compiled[1][name], atol=1e-4) for name in plain[1])
