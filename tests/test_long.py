"""Long tests, run by `make test-slow`: processes that are killed, and the whole way once."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image as PillowImage
from safetensors.torch import load_file

from diffvqa.training.train import read_log

pytestmark = pytest.mark.slow


def diffvqa(*arguments):
    return [sys.executable, "-m", "diffvqa", *map(str, arguments)]


def kill_when(command, condition, patience=120):
    """Start a command, and kill it as soon as the condition holds; false if it ended before."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(patience * 20):
        if condition():
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.05)
    process.kill()
    pytest.fail("the command neither ended nor came to the point at which it was to be killed")


def test_a_killed_pretraining_goes_on_to_the_same_weights(pretrain_settings, write_config, tmp_path):
    settings = {
        **pretrain_settings,
        "optimisation": {**pretrain_settings["optimisation"], "steps": 60, "save_every": 10},
    }
    folders = []
    for name in ("undisturbed", "killed"):
        out = tmp_path / name
        folders.append(out)
        command = diffvqa("pretrain", write_config({**settings, "out": str(out)}))
        if name == "killed":
            assert kill_when(command, (out / "checkpoints" / "checkpoint-20" / "trainer_state.json").exists)
        subprocess.run(command, check=True, capture_output=True)
    weights = [load_file(folder / "model.safetensors") for folder in folders]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_a_training_with_dropout_and_loader_workers_killed_twenty_times_goes_on_to_the_same_weights(
    finetune_settings, write_config, tmp_path
):
    kills, steps, moments = 20, 120, random.Random(0)
    language_model = finetune_settings["language_model"] | dict.fromkeys(("attn_pdrop", "resid_pdrop"), 0.3)
    optimisation = finetune_settings["optimisation"] | {"steps": steps, "save_every": 3, "loader_workers": 2}
    settings = {**finetune_settings, "language_model": language_model, "optimisation": optimisation}

    def command(name):
        return diffvqa("finetune", write_config({**settings, "out": str(tmp_path / name)}))

    def has_done(step):
        lines = read_log(tmp_path / "killed")
        if not lines or lines[-1].get("step", 0) < step:
            return False
        time.sleep(moments.uniform(0, 0.1))  # some of them while a checkpoint is written
        return True

    subprocess.run(command("undisturbed"), check=True, capture_output=True)
    for step in sorted(moments.sample(range(1, steps - 6), kills)):
        assert kill_when(command("killed"), lambda step=step: has_done(step))
    subprocess.run(command("killed"), check=True, capture_output=True)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("undisturbed", "killed")]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_a_preparation_killed_at_ten_moments_ends_in_the_same_store(tmp_path):
    images = tmp_path / "nih14" / "images"
    images.mkdir(parents=True)
    rows = ["Image Index,Finding Labels,Follow-up #,Patient ID,View Position"]
    noise = np.random.default_rng(0)
    for number in range(2100):  # five shards
        name = f"{number // 3:08d}_{number % 3:03d}.png"
        PillowImage.fromarray(noise.integers(0, 256, (60, 50), np.uint8)).save(images / name)
        rows.append(f"{name},No Finding,{number % 3},{number // 3},PA")
    (tmp_path / "nih14" / "Data_Entry_2017.csv").write_text("\n".join(rows))

    def command(out):
        return diffvqa("prepare", f"nih14:{tmp_path}/nih14", "--out", out, "--size", 64, "--workers", 2)

    begin = time.monotonic()
    subprocess.run(command(tmp_path / "undisturbed"), check=True, capture_output=True)
    whole = time.monotonic() - begin
    moments = random.Random(0)
    for _ in range(10):
        process = subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.2, 1.0) * whole)
        process.kill()
        process.wait()
    subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True)
    found, expected = (
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            # It holds how long the run took.
            if path.is_file() and path.name != "started.json"
        }
        for folder in (tmp_path / "killed", tmp_path / "undisturbed")
    )
    assert found == expected


def test_a_prediction_killed_at_five_moments_ends_in_the_same_bytes(model_folder, cohort_folder, tmp_path):
    pictures = sorted(cohort_folder.rglob("*.jpg"))[:24]
    rows = [f"{current},{prior}" for prior, current in itertools.combinations(pictures, 2)] * 4
    (tmp_path / "pairs.csv").write_text("\n".join(["current,prior", *rows]))

    def command(out):
        return diffvqa("predict", model_folder, tmp_path / "pairs.csv", "--out", out)

    subprocess.run(command(tmp_path / "undisturbed"), check=True, capture_output=True)
    size, killed = (tmp_path / "undisturbed").stat().st_size, tmp_path / "killed"
    kills = 0
    for share in (0.01, 0.2, 0.4, 0.6, 0.8):
        kills += kill_when(
            command(killed), lambda share=share: killed.exists() and killed.stat().st_size > share * size
        )
    assert kills > 2
    subprocess.run(command(killed), check=True, capture_output=True)
    assert killed.read_bytes() == (tmp_path / "undisturbed").read_bytes()


def test_fifty_patients_are_the_same_bytes_twice(tmp_path):
    contents = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        folder = tmp_path / name
        subprocess.run(diffvqa("synth", folder, "--patients", 50, "--seed", seed), check=True, capture_output=True)
        contents.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_the_demo_goes_the_whole_way_and_is_not_done_twice(pretrain_settings, finetune_settings, tmp_path, monkeypatch):
    from diffvqa import demo

    for name, settings in (("pretrain", pretrain_settings), ("finetune", finetune_settings)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(demo, "PATIENTS_TO_LEARN_FROM", 20)
    monkeypatch.setattr(demo, "STEPS", (6, 6))
    monkeypatch.setattr(demo, "config_file", lambda name: tmp_path / Path(name).name)
    scores, report = demo.run_demo(tmp_path / "demo", train=True)
    assert scores["model"]["changes"]["n"] > 0
    assert json.loads((tmp_path / "demo" / "evaluation" / "metrics.json").read_text()) == json.loads(json.dumps(scores))
    assert report.is_file()
    weights = tmp_path / "demo" / "model" / "model.safetensors"
    before = os.stat(weights).st_mtime_ns
    demo.run_demo(tmp_path / "demo", train=True)
    assert os.stat(weights).st_mtime_ns == before
