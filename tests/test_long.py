"""Long tests, run by `make test-slow`: processes that are killed, and the whole way once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

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


def test_a_killed_preparation_goes_on_to_the_same_store(cohort_folder, tmp_path):
    folders = [tmp_path / name for name in ("undisturbed", "killed")]
    for folder in folders:
        command = diffvqa("prepare", f"mimic:{cohort_folder}", "--out", folder, "--size", 64)
        if folder.name == "killed":
            kill_when(command, folder.exists)
        subprocess.run(command, check=True, capture_output=True)
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes(), path.name


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
    monkeypatch.setattr(demo, "PATIENTS", 20)
    monkeypatch.setattr(demo, "config_file", lambda name: tmp_path / Path(name).name)
    scores, report = demo.run_demo(tmp_path / "demo")
    assert scores["model"]["changes"]["n"] > 0
    assert json.loads((tmp_path / "demo" / "evaluation" / "metrics.json").read_text()) == json.loads(json.dumps(scores))
    assert report.is_file()
    weights = tmp_path / "demo" / "model" / "model.safetensors"
    before = os.stat(weights).st_mtime_ns
    demo.run_demo(tmp_path / "demo")
    assert os.stat(weights).st_mtime_ns == before
