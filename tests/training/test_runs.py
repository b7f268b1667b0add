"""Both stages as runs: what they leave behind, and that a stopped run ends where an undisturbed one does."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, CLIPVisionConfig, SiglipImageProcessorPil, TrainingArguments

from diffvqa.errors import InputError
from diffvqa.files import held
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import load_folder
from diffvqa.models.pretraining import PretrainingModel
from diffvqa.sealed import write_sealed
from diffvqa.sealed_folder import seal
from diffvqa.training.checkpoints import last_checkpoint
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.finetune import finetune
from diffvqa.training.pretrain import pretrain
from diffvqa.training.stage_trainer import StageTrainer
from diffvqa.training.train import read_log

TIMES = ("steps_per_second", "seconds_left")


def test_a_finished_captioner_folder_holds_model_log_and_record_but_no_checkpoints(trained_captioner_folder):
    names = {path.name for path in trained_captioner_folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json", "run.json"} <= names
    assert "checkpoints" not in names
    record = json.loads((trained_captioner_folder / "run.json").read_text())
    assert record["finished"]
    assert record["images"] > 0
    lines = [json.loads(line) for line in (trained_captioner_folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if "evaluation_loss" in line] == [2, 4, 6]


def test_a_model_keeps_the_grey_values_of_the_store_it_was_trained_on(trained_captioner_folder, trained_model_folder):
    for folder in (
        trained_captioner_folder,
        trained_captioner_folder / "encoder",
        trained_model_folder,
        trained_model_folder / "captioner",
    ):
        assert json.loads((folder / "preprocessor_config.json").read_text())["intensity"] == "equalised"
    for folder in (trained_captioner_folder, trained_model_folder):
        assert json.loads((folder / "run.json").read_text())["intensity"] == "equalised"


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_a_stopped_run_goes_on_to_the_same_weights(
    stage,
    pretrain_settings,
    finetune_settings,
    trained_captioner_folder,
    trained_model_folder,
    write_config,
    tmp_path,
    stop_after,
):
    kind, function, settings, undisturbed = {
        "pretrain": (PretrainConfig, pretrain, pretrain_settings, trained_captioner_folder),
        "finetune": (FinetuneConfig, finetune, finetune_settings, trained_model_folder),
    }[stage]
    config = load_config(kind, write_config({**settings, "out": str(tmp_path / "out")}), [])
    with stop_after(5):
        function(config)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    function(config)
    found, expected = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", undisturbed))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    logs = [read_log(folder) for folder in (tmp_path / "out", undisturbed)]
    # A stopped run is as quick or slow as it is.
    timed = [[line.pop(name) for line in log for name in TIMES if name in line] for log in logs]
    assert len(timed[0]) == len(timed[1]) > 0
    assert logs[0] == logs[1]


def test_the_log_says_how_fast_a_run_goes_and_when_it_ends(trained_captioner_folder):
    lines = [line for line in read_log(trained_captioner_folder) if "loss" in line]
    for line in lines:
        assert line["seconds_left"] == pytest.approx((6 - line["step"]) / line["steps_per_second"], abs=1)
    assert lines[-1]["seconds_left"] == 0


def test_a_run_killed_while_it_writes_a_checkpoint_goes_on_from_the_one_before(
    pretrain_settings, trained_captioner_folder, write_config, tmp_path, stop_after
):
    config = load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(tmp_path / "out")}), [])
    with stop_after(5):
        pretrain(config)
    checkpoints = tmp_path / "out" / "checkpoints"
    for number, state in ((5, None), (6, '{"epoch": 0.')):
        half = checkpoints / f"checkpoint-{number}"
        half.mkdir()
        (half / "model.safetensors").write_bytes(b"half")
        if state:
            (half / "trainer_state.json").write_text(state)
    assert last_checkpoint(checkpoints).name == "checkpoint-4"
    with stop_after(5):
        pretrain(config)
    assert {path.name for path in checkpoints.iterdir()} == {"checkpoint-2", "checkpoint-4"}
    found, expected = (
        load_file(folder / "model.safetensors") for folder in (pretrain(config), trained_captioner_folder)
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_first_checkpoint_that_is_not_whole_is_none(
    pretrain_settings, trained_captioner_folder, write_config, tmp_path, stop_after
):
    config = load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(tmp_path / "out")}), [])
    with stop_after(1):
        pretrain(config)
    (tmp_path / "out" / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    found, expected = (
        load_file(folder / "model.safetensors") for folder in (pretrain(config), trained_captioner_folder)
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture
def losses_rise_after(monkeypatch):
    """The loss on the validation split is lowest at a step, and the weights of each step are noted: {step: weights}."""

    def rise_after(lowest):
        weights, predict = {}, StageTrainer.prediction_step

        def watched(self, model, *args, **kwargs):
            found = predict(self, model, *args, **kwargs)
            weights[self.state.global_step] = {name: one.clone() for name, one in model.state_dict().items()}
            return torch.tensor(float(abs(self.state.global_step - lowest))), *found[1:]

        monkeypatch.setattr(StageTrainer, "prediction_step", watched)
        return weights

    return rise_after


@pytest.mark.slow
@pytest.mark.parametrize("lowest", [2, 4, 6])
@pytest.mark.parametrize("stopped", [False, True])
def test_the_weights_of_the_lowest_validation_loss_are_kept(
    lowest, stopped, pretrain_settings, write_config, tmp_path, stop_after, losses_rise_after
):
    weights = losses_rise_after(lowest)
    path = write_config({**pretrain_settings, "out": str(tmp_path / "out")})
    if stopped:
        with stop_after(5):
            pretrain(load_config(PretrainConfig, path, []))
    out = pretrain(load_config(PretrainConfig, path, []))
    assert set(weights) == {2, 4, 6}
    found = load_file(out / "model.safetensors")
    kept = {name.replace("heads.captioning", "head"): one for name, one in weights[lowest].items()}
    assert all(torch.equal(found[name], kept[name]) for name in found)
    assert json.loads((out / "run.json").read_text())["weights_of_step"] == lowest


def test_of_several_gpus_a_process_takes_one(pretrain_settings, write_config, tmp_path, monkeypatch):
    """The library would wrap the model in DataParallel."""
    made, compute_loss, wrapped = TrainingArguments.__post_init__, StageTrainer.compute_loss, []

    def with_two(self):
        made(self)
        self._n_gpu = 2

    def watched(self, model, *args, **kwargs):
        wrapped.append((type(model), self.args.train_batch_size))
        return compute_loss(self, model, *args, **kwargs)

    monkeypatch.setattr(TrainingArguments, "__post_init__", with_two)
    monkeypatch.setattr(StageTrainer, "compute_loss", watched)
    path = write_config({**pretrain_settings, "out": str(tmp_path / "out")})
    pretrain(load_config(PretrainConfig, path, ["optimisation.steps=1"]))
    assert wrapped == [(PretrainingModel, 4)]


def test_a_finished_run_is_left_as_it_is(pretrain_settings, trained_captioner_folder, write_config):
    before = (trained_captioner_folder / "model.safetensors").stat().st_mtime_ns
    pretrain(load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(trained_captioner_folder)}), []))
    assert (trained_captioner_folder / "model.safetensors").stat().st_mtime_ns == before


def test_other_settings_do_not_touch_a_run(pretrain_settings, trained_captioner_folder, write_config):
    path = write_config({**pretrain_settings, "out": str(trained_captioner_folder)})
    with pytest.raises(InputError, match=r"other settings \(seed\)"):
        pretrain(load_config(PretrainConfig, path, ["seed=4"]))


def change(record, **entries):
    """Lay entries over those of a record; None takes one out."""
    found = {**json.loads(record.read_text()), **entries}
    write_sealed(record, {key: value for key, value in found.items() if value is not None})


def test_a_run_does_not_go_on_with_another_store_at_the_same_path(
    pretrain_settings, store_folder, write_config, tmp_path, stop_after
):
    store = tmp_path / "store"
    shutil.copytree(store_folder, store)
    path = write_config({**pretrain_settings, "store": str(store), "out": str(tmp_path / "out")})
    config = load_config(PretrainConfig, path, [])
    with stop_after(3):
        pretrain(config)
    began_with = json.loads((store / "store.json").read_text())["fingerprint"]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["store"] == began_with
    change(store / "store.json", fingerprint="of another cohort")
    with pytest.raises(InputError, match=r"out: the folder holds a run with other settings \(what is in store\)"):
        pretrain(config)
    # Runs of before this was kept do not say what they began with.
    change(tmp_path / "out" / "run.json", store=None)
    pretrain(config)
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_run_does_not_go_on_with_another_encoder_at_the_same_path(
    finetune_settings, trained_captioner_folder, write_config, tmp_path, stop_after
):
    encoder = tmp_path / "encoder"
    shutil.copytree(trained_captioner_folder, encoder)
    path = write_config({**finetune_settings, "encoder": str(encoder), "out": str(tmp_path / "out")})
    config = load_config(FinetuneConfig, path, [])
    with stop_after(3):
        finetune(config)
    weights = load_file(encoder / "model.safetensors")
    weights["encoder.post_layernorm.bias"] += 1
    save_file(weights, encoder / "model.safetensors", metadata={"format": "pt"})
    seal(encoder)
    with pytest.raises(InputError, match=r"out: the folder holds a run with other settings \(what is in encoder\)"):
        finetune(config)
    change(tmp_path / "out" / "run.json", encoder_digest=None, store=None)
    finetune(config)
    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_two_runs_at_once_do_not_write_one_folder(
    stage, pretrain_settings, finetune_settings, captioner_folder, write_config, tmp_path, stop_after
):
    kind, function, settings = {
        "pretrain": (PretrainConfig, pretrain, pretrain_settings),
        "finetune": (FinetuneConfig, finetune, finetune_settings),
    }[stage]
    config = load_config(kind, write_config({**settings, "out": str(tmp_path / "out")}), [])
    with stop_after(3):
        function(config)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    with held(os.open(tmp_path / "out", os.O_RDONLY)) as is_ours:
        assert is_ours
        with pytest.raises(InputError, match="out: another run is writing there"):
            function(config)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["kind"], record["finished"]) == (stage, False)
    assert record["seconds"] > 0


def test_a_folder_with_other_files_is_refused(pretrain_settings, write_config, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="out: "):
        pretrain(load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(tmp_path)}), []))
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_kill_during_the_first_write_keeps_no_run_out(pretrain_settings, write_config, tmp_path):
    (tmp_path / "run.json.7.unfinished").write_text("{")
    path = write_config({**pretrain_settings, "out": str(tmp_path)})
    pretrain(load_config(PretrainConfig, path, ["optimisation.steps=1"]))
    assert json.loads((tmp_path / "run.json").read_text())["finished"]


def test_a_folder_that_cannot_be_made_is_refused(pretrain_settings, write_config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = write_config({**pretrain_settings, "out": str(tmp_path / "file" / "out")})
    with pytest.raises(InputError, match="out: the folder cannot be made or written to"):
        pretrain(load_config(PretrainConfig, path, []))


@pytest.mark.parametrize("content", ['{"model": "x"}', "[1]", "{", '{"config": 3, "finished": true}'])
def test_a_record_of_something_else_is_no_run(pretrain_settings, write_config, tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match="no run of this program"):
        pretrain(load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(tmp_path)}), []))


def test_a_store_that_is_none_leaves_nothing_behind(pretrain_settings, write_config, tmp_path):
    path = write_config({**pretrain_settings, "store": str(tmp_path / "none"), "out": str(tmp_path / "out")})
    with pytest.raises(InputError):
        pretrain(load_config(PretrainConfig, path, []))
    assert not (tmp_path / "out").exists()


def test_the_finetuned_encoder_is_the_captioners(trained_captioner_folder, trained_model_folder):
    captioner = load_folder(Captioner, trained_captioner_folder, "model").model.encoder.state_dict()
    difference = load_folder(DifferenceModel, trained_model_folder, "model").model.encoder.state_dict()
    assert all(torch.equal(captioner[name], difference[name]) for name in captioner)
    inner = load_folder(Captioner, trained_model_folder / "captioner", "model").model.encoder.state_dict()
    assert all(torch.equal(captioner[name], inner[name]) for name in captioner)


@pytest.fixture
def published_encoder(tmp_path):
    """A vision model as others publish them, for smaller images than the store's, with its own normalisation."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(3)
    encoder = AutoModel.from_config(CLIPVisionConfig(**sizes, image_size=32, patch_size=16))
    for part in (encoder, SiglipImageProcessorPil(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.2, 0.3])):
        part.save_pretrained(tmp_path / "published")
    return tmp_path / "published"


def test_pretraining_goes_on_from_a_published_encoder_and_gives_one_back(
    pretrain_settings, finetune_settings, published_encoder, write_config, tmp_path
):
    out = tmp_path / "captioner"
    # The settings name a normalisation too, of one channel: the checkpoint's own is the right one.
    settings = {**pretrain_settings, "encoder": str(published_encoder), "out": str(out)}
    pretrain(load_config(PretrainConfig, write_config(settings), ["optimisation.steps=2"]))
    folder = load_folder(Captioner, out, "model")
    assert folder.processor.image_mean == (0.4, 0.5, 0.6)
    images = torch.randn(2, 3, 64, 64)
    alone = AutoModel.from_pretrained(out / "encoder").eval()
    with torch.no_grad():
        tokens = folder.model.encode(images)
        assert torch.allclose(alone(pixel_values=images).last_hidden_state[:, -16:], tokens, atol=1e-5)
    model = finetune(
        load_config(
            FinetuneConfig,
            write_config({**finetune_settings, "encoder": str(out), "out": str(tmp_path / "model")}),
            ["optimisation.steps=2"],
        )
    )
    assert load_folder(DifferenceModel, model, "model").processor.image_mean == (0.4, 0.5, 0.6)
    assert not (model / "captioner" / "encoder").exists()


def test_an_encoder_without_a_normalisation_takes_the_configured_one_if_it_fits(
    pretrain_settings, published_encoder, write_config, tmp_path
):
    (published_encoder / "preprocessor_config.json").unlink()
    settings = {**pretrain_settings, "encoder": str(published_encoder), "out": str(tmp_path / "out")}
    with pytest.raises(InputError, match="have 1 and 1 values, but the encoder takes 3 channels"):
        pretrain(load_config(PretrainConfig, write_config(settings), []))
    with pytest.raises(InputError, match="encoder: no vision model can be read"):
        pretrain(load_config(PretrainConfig, write_config(settings), ["image_mean=null", "image_std=null"]))
    given = ["image_mean=[0.1, 0.2, 0.3]", "image_std=[1, 1, 1]", "optimisation.steps=1"]
    out = pretrain(load_config(PretrainConfig, write_config(settings), given))
    assert load_folder(Captioner, out, "model").processor.image_mean == (0.1, 0.2, 0.3)


def test_a_folder_that_holds_no_vision_model_is_said_to(pretrain_settings, write_config, tmp_path):
    path = write_config({**pretrain_settings, "out": str(tmp_path / "out")})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="encoder: no vision model can be read"):
        pretrain(load_config(PretrainConfig, path, [f"encoder={tmp_path / 'empty'}"]))
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_is_none_is_said_to_be(pretrain_settings, write_config, tmp_path):
    path = write_config({**pretrain_settings, "out": str(tmp_path / "out")})
    with pytest.raises(InputError, match=r"tokenizer: no tokenizer can be read from 'nowhere/at-all'.* or a number"):
        pretrain(load_config(PretrainConfig, path, ["tokenizer=nowhere/at-all"]))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_model_is_named(tmp_path, trained_captioner_folder):
    with pytest.raises(InputError, match="model: there is no finished model"):
        load_folder(DifferenceModel, tmp_path, "model")
    with pytest.raises(InputError, match="expected a model of type diffvqa_difference, found diffvqa_captioner"):
        load_folder(DifferenceModel, trained_captioner_folder, "model")
    (tmp_path / "config.json").write_text('{"model_type": "diffvqa_difference"}')
    with pytest.raises(InputError, match="incomplete or damaged"):
        load_folder(DifferenceModel, tmp_path, "model")


@pytest.mark.slow
def test_one_import_makes_models_known_to_the_library(trained_captioner_folder, trained_model_folder):
    folders = [trained_captioner_folder, trained_captioner_folder / "encoder", trained_model_folder]
    program = (
        "import sys; import diffvqa.models; from transformers import AutoModel\n"
        "for folder in sys.argv[1:]: print(type(AutoModel.from_pretrained(folder)).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program, *map(str, folders)], capture_output=True, text=True)
    assert done.stdout.split() == ["Captioner", "HybridVisionModel", "DifferenceModel"]


def test_finished_folders_can_be_read_by_the_librarys_own_classes(trained_captioner_folder, trained_model_folder):
    assert isinstance(AutoModel.from_pretrained(trained_captioner_folder), Captioner)
    assert isinstance(AutoModel.from_pretrained(trained_model_folder), DifferenceModel)
    alone, whole = (AutoModel.from_pretrained(trained_captioner_folder / part).state_dict() for part in ("encoder", ""))
    assert all(torch.equal(alone[name], whole[f"encoder.{name}"]) for name in alone)
