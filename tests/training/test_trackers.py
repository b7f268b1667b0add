"""`optimisation.report_to`: trackers get the log too, when they are asked for."""

import importlib.util
import json

import pytest

from diffvqa.errors import InputError
from diffvqa.training.config import PretrainConfig, load_config
from diffvqa.training.pretrain import pretrain


@pytest.fixture
def config(pretrain_settings, write_config, tmp_path):
    def config(*overrides):
        return load_config(
            PretrainConfig, write_config({**pretrain_settings, "out": str(tmp_path / "out")}), list(overrides)
        )

    return config


def test_nothing_is_tracked_unless_it_is_asked_for(config):
    assert config().optimisation.report_to == ()


def test_one_name_or_several(config, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert config("optimisation.report_to=wandb").optimisation.report_to == ("wandb",)
    assert config("optimisation.report_to=[wandb, mlflow]").optimisation.report_to == ("wandb", "mlflow")


def test_a_tracker_that_is_not_installed_is_named(config, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"`optimisation.report_to`: mlflow is not installed; .*pip install mlflow"):
        config("optimisation.report_to=mlflow")


def test_an_unknown_tracker_is_refused_with_those_there_are(config):
    with pytest.raises(InputError, match=r"optimisation.report_to.*'tensorboard', 'wandb' or 'mlflow'"):
        config("optimisation.report_to=excel")


@pytest.mark.slow
def test_tensorboard_gets_the_loss_and_a_run_goes_on_without_it(config, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "elsewhere")
    out = pretrain(config("optimisation.report_to=tensorboard"))
    (events,) = (out / "tensorboard").iterdir()
    assert b"train/loss" in events.read_bytes()
    assert "report_to" not in json.loads((out / "run.json").read_text())["config"]["optimisation"]
    weights = (out / "model.safetensors").stat().st_mtime_ns
    assert pretrain(config()) == out
    assert (out / "model.safetensors").stat().st_mtime_ns == weights
