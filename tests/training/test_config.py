"""Settings: overrides, and what a user reads who mistypes."""

from pathlib import Path

import pytest

from diffvqa.errors import InputError
from diffvqa.training.config import FinetuneConfig, Optimisation, PretrainConfig, load_config

CONFIGS = [path for path in (Path(__file__).parents[2] / "configs").rglob("*.yaml") if path.parent.name != "study"]


@pytest.mark.parametrize("path", sorted(CONFIGS), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_configuration_in_the_repository_is_valid_and_says_how_to_run_it(path):
    stage = path.stem
    first = path.read_text().splitlines()[0]
    assert first.startswith(f"# diffvqa {stage} configs/{path.parent.name}/{path.name}")
    load_config({"pretrain": PretrainConfig, "finetune": FinetuneConfig}[stage], path, [])


def test_overrides_are_laid_over_the_file(pretrain_settings, write_config):
    path = write_config({**pretrain_settings, "out": "x"})
    config = load_config(PretrainConfig, path, ["seed=5", "optimisation.learning_rate=2e-4", "texts={Cap: 0.5}"])
    assert (config.seed, config.optimisation.learning_rate, config.texts) == (5, 2e-4, {"Cap": 0.5})


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("colour=red", ["`colour`", "the keys here are", "optimisation"]),
        ("save_every=1", ["`save_every`", "it is `optimisation.save_every`"]),
        ("optimisation.speed=1", ["`optimisation.speed`", "batch_size"]),
        ("augmentation.mirror=1", ["`augmentation.mirror`", "shift"]),
        ("augmentation.rotation=-3", ["`augmentation`: rotation is at least 0 and below 45, found -3"]),
        ("augmentation.noise=much", ["`augmentation.noise`", "'much'"]),
        ("seed=lots", ["`seed`", "'lots'"]),
        ("optimisation.steps=0", ["`optimisation.steps`", "greater than 0"]),
        ("texts={Draw: 1}", ["'Draw'", "Cap, AREF, GCAP, CAREF"]),
        ("texts={Cap: 2, AREF: 1}", ["an image has one report", "at most 1"]),
        ("optimisation.epochs=2", ["either steps or epochs"]),
        ("optimisation.steps=null", ["either steps or epochs"]),
        ("optimisation.accumulation=3", ["multiple of accumulation"]),
        ("seed", ["key=value", "'seed'"]),
        ("store.value=1", ["store.value: store holds no keys"]),
        ("seed={", ["seed: ", "YAML"]),
    ],
)
def test_a_mistyped_key_or_value_is_named(pretrain_settings, write_config, override, words):
    path = write_config({**pretrain_settings, "out": "x"})
    with pytest.raises(InputError) as caught:
        load_config(PretrainConfig, path, [override])
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(("settings", "draws"), [({"steps": 7}, 56), ({"epochs": 2}, 24), ({"epochs": 0.1}, 8)])
def test_a_run_takes_whole_steps(settings, draws):
    assert Optimisation(batch_size=8, learning_rate=1e-3, **settings).draws(items=11) == draws


def test_a_missing_key_is_named(write_config):
    with pytest.raises(InputError, match="lacks the key `store`"):
        load_config(PretrainConfig, write_config({"out": "x"}), [])


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", ""])
def test_a_file_that_holds_no_settings_is_refused(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"config\.yaml"):
        load_config(PretrainConfig, path, [])


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no file"):
        load_config(PretrainConfig, tmp_path / "none.yaml", [])
