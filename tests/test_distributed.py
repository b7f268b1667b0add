"""Two processes train as one does: the same step, the same folder; DDP and FSDP, on the CPU."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

ONE = [sys.executable]
TWO = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
SHARDED = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}
LAUNCHES = {"two processes": (TWO, {}), "two processes, sharded": (TWO, SHARDED)}
# Adam makes of a gradient near zero a step of either sign; a large epsilon would be the other way to compare gradients.
STEP = {"steps": 1, "batch_size": 8, "learning_rate": 1e-5, "precision": "fp32", "save_every": 1, "log_every": 1}


def train(stage, config, launch, environment):
    command = [*launch, "-m", "diffvqa", stage, str(config)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize("launch", LAUNCHES)
@pytest.mark.parametrize("objective", ["location_aware", "clip", "siglip", "local_contrastive", "clip+cap"])
def test_a_step_on_two_processes_is_the_step_on_one(objective, launch, pretrain_settings, write_config, tmp_path):
    losses, weights = [], []
    for name, (command, environment) in (("one", (ONE, {})), ("two", LAUNCHES[launch])):
        settings = {**pretrain_settings, "objective": objective, "optimisation": STEP, "out": str(tmp_path / name)}
        said = train("pretrain", write_config(settings), command, environment)
        assert said.count("encoder written") == 1
        lines = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        losses.append(lines[0])
        weights.append(load_file(tmp_path / name / "model.safetensors"))
    assert losses[1]["loss"] == pytest.approx(losses[0]["loss"], abs=1e-5)
    assert losses[1].get("negatives") == pytest.approx(losses[0].get("negatives"))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-5) for name in weights[0])
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2
