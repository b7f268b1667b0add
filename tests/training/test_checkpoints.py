"""Checkpoints: only one whose files are those that were written is used, and a resumed run ends in the same bits."""

import json

import pytest
import torch
from safetensors.torch import load_file

from diffvqa.errors import InputError, RunFailed
from diffvqa.sealed import write_sealed
from diffvqa.training.checkpoints import SEAL, checkpoint_to_go_on_from, fault_of, last_checkpoint, seal
from diffvqa.training.config import FinetuneConfig, PretrainConfig, load_config
from diffvqa.training.finetune import finetune
from diffvqa.training.pretrain import pretrain
from diffvqa.training.stage_trainer import StageTrainer
from diffvqa.training.train import read_log


def flip(path):
    found = bytearray(path.read_bytes())
    found[len(found) // 2] ^= 1
    path.write_bytes(found)


def cut(path):
    path.write_bytes(path.read_bytes()[:-2])


DAMAGES = {"flipped": flip, "cut": cut, "missing": lambda path: path.unlink()}


def assert_same_weights(one, other):
    found, expected = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture
def make(tmp_path):
    """Checkpoints of these steps, each with a state that names the best one."""

    def make(**best):
        for name, of in best.items():
            folder = tmp_path / f"checkpoint-{name[1:]}"
            (folder / "inner").mkdir(parents=True)
            state = {"best_model_checkpoint": of and f"/elsewhere/checkpoint-{of}"}
            for file, text in (("trainer_state.json", json.dumps(state)), ("optimizer.pt", "123"), ("inner/x", "1")):
                (folder / file).write_text(text)
            seal(folder)
        return tmp_path

    return make


@pytest.mark.parametrize("file", ["optimizer.pt", "trainer_state.json", "inner/x", SEAL])
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_one_before_is_used_where_any_file_is_damaged_in_any_way(make, file, damage):
    folder = make(_2=None, _10=None)
    last = folder / "checkpoint-10"
    assert last_checkpoint(folder) == last
    DAMAGES[damage](last / file)
    found, (fault,) = checkpoint_to_go_on_from(folder)
    assert found == folder / "checkpoint-2"
    what = f"its {file} is {'missing' if damage == 'missing' else 'damaged'}"
    if file == SEAL:  # whatever it then says of which file
        what = "it was not written to its end" if damage == "missing" else "its "
    assert fault.startswith(f"that of step 10 is not used: {what}")
    assert not last.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", '{"trainer_state.json": 3}', '{"../x": "0"}'])
def test_a_seal_of_another_form_seals_nothing(make, text):
    folder = make(_2=None)
    (folder / "checkpoint-2" / SEAL).write_text(text)
    assert fault_of(folder / "checkpoint-2")


def test_a_run_cannot_go_on_without_its_best_weights(make):
    """It would end with others."""
    folder = make(_2=None, _4="4", _6="4")
    flip(folder / "checkpoint-4" / "optimizer.pt")
    found, faults = checkpoint_to_go_on_from(folder)
    assert found == folder / "checkpoint-2"
    assert len(faults) == 2
    assert "that of step 4, the best one, cannot be used: its optimizer.pt is damaged" in faults[0]


@pytest.mark.parametrize("damaged", [["4"], ["2", "4"]])
def test_a_run_says_what_it_goes_on_from_and_ends_in_the_same_weights(
    damaged, pretrain_settings, trained_captioner_folder, write_config, tmp_path, stop_after, capsys
):
    config = load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(tmp_path / "out")}), [])
    with stop_after(5):
        pretrain(config)
    for step in damaged:
        flip(tmp_path / "out" / "checkpoints" / f"checkpoint-{step}" / "model.safetensors")
    capsys.readouterr()
    pretrain(config)
    begun = "begins at step 0" if "2" in damaged else "goes on from the checkpoint of step 2"
    assert f"pretrain: {begun}; that of step 4 is not used: its model.safetensors is damaged" in capsys.readouterr().out
    assert_same_weights(tmp_path / "out", trained_captioner_folder)


def test_best_weights_that_were_damaged_meanwhile_are_not_used(
    pretrain_settings, trained_captioner_folder, write_config, tmp_path, monkeypatch
):
    config = load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(tmp_path / "out")}), [])
    load = StageTrainer._load_best_model

    def damaged(self):
        flip(tmp_path / "out" / "checkpoints" / "checkpoint-6" / "model.safetensors")
        load(self)

    with monkeypatch.context() as patch:
        patch.setattr(StageTrainer, "_load_best_model", damaged)
        with pytest.raises(RunFailed, match="the checkpoint of step 6, the best one, cannot be used"):
            pretrain(config)
    pretrain(config)
    assert_same_weights(tmp_path / "out", trained_captioner_folder)


def test_a_run_whose_folder_was_moved_keeps_its_best_weights(
    pretrain_settings, trained_captioner_folder, write_config, tmp_path, stop_after
):
    def config(name):
        return load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(tmp_path / name)}), [])

    with stop_after(5):
        pretrain(config("before"))
    (tmp_path / "before").rename(tmp_path / "after")
    record = tmp_path / "after" / "run.json"
    moved = json.loads(record.read_text().replace(str(tmp_path / "before"), str(tmp_path / "after")))
    write_sealed(record, moved)
    pretrain(config("after"))
    assert_same_weights(tmp_path / "after", trained_captioner_folder)


@pytest.mark.parametrize(("workers", "accumulation"), [(0, 1), pytest.param(2, 2, marks=pytest.mark.slow)])
def test_with_dropout_and_loader_workers_a_resumed_run_ends_in_the_same_bits(
    workers, accumulation, finetune_settings, write_config, tmp_path, stop_after
):
    dropout = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.3)
    language_model = {**finetune_settings["language_model"], **dropout}
    optimisation = {**finetune_settings["optimisation"], "loader_workers": workers, "accumulation": accumulation}
    settings = {**finetune_settings, "language_model": language_model, "optimisation": optimisation}

    def config(name):
        return load_config(FinetuneConfig, write_config({**settings, "out": str(tmp_path / name)}), [])

    finetune(config("undisturbed"))
    for step in (3, 5):
        with stop_after(step):
            finetune(config("stopped"))
    finetune(config("stopped"))
    assert_same_weights(tmp_path / "stopped", tmp_path / "undisturbed")
    losses = [[line.get("loss") for line in read_log(tmp_path / name)] for name in ("stopped", "undisturbed")]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("end", [b'{"step": 3, "lo', b"\0\0\0\0", b"\xff\xfe", b"{", b'{"step": 3}', b""])
def test_a_last_line_that_was_not_written_to_its_end_is_left_out(tmp_path, end):
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 1}\n{"step": 2}\n' + end)
    assert [line["step"] for line in read_log(tmp_path)] == ([1, 2, 3] if end.endswith(b"}") else [1, 2])


@pytest.mark.parametrize("line", [b"{", b"[1]", b"{}", b"\xff"])
def test_another_line_that_is_damaged_is_named(tmp_path, line):
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    with pytest.raises(InputError, match=r"out: line 2 of log.jsonl is damaged"):
        read_log(tmp_path)


def test_a_run_goes_on_after_a_torn_line(
    pretrain_settings, trained_captioner_folder, write_config, tmp_path, stop_after
):
    config = load_config(PretrainConfig, write_config({**pretrain_settings, "out": str(tmp_path / "out")}), [])
    with stop_after(3):
        pretrain(config)
    with (tmp_path / "out" / "log.jsonl").open("ab") as log:
        log.write(b'{"step": 3, "loss": 7.')
    pretrain(config)
    steps = [line["step"] for line in read_log(tmp_path / "out") if "loss" in line]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert_same_weights(tmp_path / "out", trained_captioner_folder)
