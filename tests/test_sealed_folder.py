"""The digests in a model's record: what is damaged, missing, exchanged or added is named, whatever file it is."""

import json
import os
import shutil

import pytest

from diffvqa.answering.answerer import Answerer
from diffvqa.errors import InputError
from diffvqa.inference.hub import PHANTOM_SMALL, model_folder
from diffvqa.inference.model import FinetunedModel
from diffvqa.models import folder as loading
from diffvqa.models.difference import DifferenceModel
from diffvqa.sealed import SEAL
from diffvqa.sealed_folder import FILES, RECORD, FolderFiles, digests_of, seal


def copy(folder, to):
    return shutil.copytree(folder, to, ignore=shutil.ignore_patterns("encoder"))


@pytest.fixture
def model(tmp_path):
    return copy(model_folder(PHANTOM_SMALL), tmp_path / "model")


def files_of(folder):
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".md"
    )


ALL = files_of(model_folder(PHANTOM_SMALL))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << (place % 8)
    path.write_bytes(content)


@pytest.mark.parametrize("name", ALL)
def test_one_bit_of_any_file_is_found_and_the_file_named(model, name):
    for place in (0, 17, 12_345, 654_321):
        saved = (model / name).read_bytes()
        flip(model / name, place)
        with pytest.raises(InputError, match=r"^model(/captioner)?: ") as caught:
            FinetunedModel.load(model)
        assert name.removeprefix("captioner/") in str(caught.value)
        (model / name).write_bytes(saved)
    FinetunedModel.load(model)


@pytest.mark.parametrize("name", [name for name in ALL if name not in (RECORD, "captioner/run.json")])
def test_a_missing_file_is_named(model, name):
    (model / name).unlink()
    with pytest.raises(InputError, match=r"is missing|no config\.json"):
        FinetunedModel.load(model)


@pytest.mark.parametrize(
    "name", ["tokenizer.model", "added_tokens.json", "other.safetensors", "x.safetensors.index.json"]
)
def test_a_file_that_would_be_read_may_not_be_added(model, name):
    (model / name).write_text("{}")
    with pytest.raises(InputError, match=r"^model: .*(is not in its record|no safetensors)"):
        FinetunedModel.load(model)


@pytest.mark.parametrize(
    "name", ["README.md", "card.md", "notes.txt", "figure.png", "pytorch_model.bin", "scores.json"]
)
def test_what_is_laid_beside_it_does_no_harm(model, name):
    (model / name).write_text("what somebody has written")
    FinetunedModel.load(model)


@pytest.mark.parametrize("part", ["captioner", "trust"])
def test_a_part_that_was_left_out_is_no_damage(model, part):
    shutil.rmtree(model / part)
    found = FinetunedModel.load(model)
    assert (found.captioner is None) == (part == "captioner")


def test_a_folder_without_digests_is_taken_as_it_is(model):
    """Of an older version, or made by hand."""
    for part in (model, model / "captioner"):
        record = json.loads((part / RECORD).read_text())
        (part / RECORD).write_text(json.dumps({key: record[key] for key in record.keys() - {FILES, SEAL}}))
    digest = FinetunedModel.load(model).digest
    (model / RECORD).unlink()
    assert FinetunedModel.load(model).digest == digest


def test_what_training_leaves_is_sealed(trained_captioner_folder, trained_model_folder):
    for folder in (trained_captioner_folder, trained_model_folder, trained_model_folder / "captioner"):
        record = json.loads((folder / RECORD).read_text())
        assert {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"} < record[FILES].keys()
        assert "checkpoints" not in "".join(record[FILES])
    assert record[FILES].keys() > {"encoder/model.safetensors"}
    files = json.loads((trained_model_folder / RECORD).read_text())[FILES]
    # It has a record of its own.
    assert [name for name in files if name.startswith("captioner")] == ["captioner/run.json"]
    assert files == digests_of(trained_model_folder)


def test_files_that_were_changed_on_purpose_are_sealed_anew(model):
    config = json.loads((model / "captioner" / "preprocessor_config.json").read_text())
    (model / "captioner" / "preprocessor_config.json").write_text(json.dumps({**config, "intensity": "as stored"}))
    with pytest.raises(InputError, match=r"^model/captioner: preprocessor_config\.json is damaged"):
        FinetunedModel.load(model)
    seal(model)
    FinetunedModel.load(model)


def exchange(folder, other):
    """Put another folder in the place of one, as a deployment does."""
    folder.rename(folder.with_name("old"))
    other.rename(folder)


@pytest.mark.parametrize("how", ["another folder", "another file", "the same file, written anew"])
def test_a_model_that_is_exchanged_while_it_is_loaded_is_not_taken_for_the_old_one(model, tmp_path, monkeypatch, how):
    other = copy(model, tmp_path / "other")
    read = loading.read_model

    def meanwhile(kind, source):
        if kind is DifferenceModel:
            if how == "another folder":
                exchange(model, other)
            elif how == "another file":
                os.replace(other / "model.safetensors", model / "model.safetensors")
            else:
                shutil.copyfile(other / "model.safetensors", model / "model.safetensors")
        return read(kind, source)

    monkeypatch.setattr(loading, "read_model", meanwhile)
    with pytest.raises(InputError, match="changed while they were being read"):
        Answerer.from_pretrained(model)


def test_weights_that_are_overwritten_later_change_nothing(model):
    """A running server: `cp` writes into the file that it has read."""
    loaded = FinetunedModel.load(model).difference
    before = {name: values.clone() for name, values in loaded.model.named_parameters()}
    size = (model / "model.safetensors").stat().st_size
    with (model / "model.safetensors").open("r+b") as file:
        file.write(bytes(size))
    os.truncate(model / "model.safetensors", 0)
    assert all(values.equal(before[name]) for name, values in loaded.model.named_parameters())


def test_other_processes_load_the_same_weights_or_none(model):
    function, arguments = FinetunedModel.load(model).difference.__reduce__()
    assert function(*arguments).digest == FolderFiles.read(model, "model").weights
    with pytest.raises(InputError, match="replaced during the run"):
        function(*arguments[:-1], "0" * 64)
