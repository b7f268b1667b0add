"""A model by its name on the hub, which is not asked here: a local folder stands for what would be fetched."""

import shutil
import sys
from fnmatch import fnmatch

import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from diffvqa import cli
from diffvqa.answering.answerer import Answerer
from diffvqa.errors import InputError
from diffvqa.inference.hub import NEEDED, NOT_NEEDED, model_folder


@pytest.fixture(name="finished")
def finished_model(request):
    """The folder of the tiny model, whose fixture has the name of what is tested here."""
    return request.getfixturevalue("model_folder")


@pytest.fixture
def hub(finished, tmp_path, monkeypatch):
    """The hub holds the model as `owner/name`, with files that nobody should load; the names that were asked for."""
    asked = []

    def fetch(name, allow_patterns, ignore_patterns):
        asked.append(name)
        fetched = tmp_path / "snapshots" / "0123456789abcdef"
        for path in sorted(finished.rglob("*")):
            inside = str(path.relative_to(finished))
            wanted = any(fnmatch(inside, one) for one in allow_patterns)
            wanted = wanted and not any(fnmatch(inside, one) for one in ignore_patterns)
            if path.is_file() and wanted and not (fetched / inside).exists():
                (fetched / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, fetched / inside)
        return str(fetched)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.chdir(tmp_path)
    return asked


@pytest.fixture
def pictures(tmp_path):
    random = np.random.default_rng(0)
    for name in ("prior", "current"):
        Image.fromarray(random.integers(0, 256, (70, 60), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return {name: tmp_path / f"{name}.png" for name in ("prior", "current")}


def test_a_fetched_model_answers_as_the_folder_does(hub, finished, pictures):
    fetched, local = Answerer.from_pretrained("owner/name")(**pictures), Answerer.from_pretrained(finished)(**pictures)
    assert hub == ["owner/name"]
    assert fetched.model.name == "owner/name"
    assert fetched.model.version == local.model.version
    assert (fetched.text, fetched.changes, fetched.boxes) == (local.text, local.changes, local.boxes)


def test_a_local_folder_comes_before_a_hub_name(hub, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "owner" / "name")
    assert Answerer.from_pretrained("owner/name").version.name == "name"
    assert hub == []


def test_no_pickle_and_no_code_is_fetched():
    def fetched(name):
        return any(fnmatch(name, one) for one in NEEDED) and not any(fnmatch(name, one) for one in NOT_NEEDED)

    for name in ("pytorch_model.bin", "trust/check.pkl", "modeling.py", "captioner/weights.pt", "encoder/config.json"):
        assert not fetched(name)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "trust/trust.json", "captioner/config.json"):
        assert fetched(name)


@pytest.mark.parametrize("command", ["answer", "ground", "evaluate", "predict"])
def test_every_command_takes_a_hub_name(hub, pictures, store_folder, tmp_path, capsys, monkeypatch, command):
    (tmp_path / "pairs.csv").write_text("current,prior\ncurrent.png,prior.png\n")
    rest = {
        "answer": ["--current", pictures["current"]],
        "ground": [pictures["current"], "--phrase", "edema"],
        "evaluate": [store_folder, "--out", tmp_path / "evaluation", "--no-grounding"],
        "predict": [tmp_path / "pairs.csv", "--out", tmp_path / "out.jsonl"],
    }
    monkeypatch.setattr(sys, "argv", ["diffvqa", command, "owner/name", *map(str, rest[command])])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert "owner/name" in hub
    assert "error" not in capsys.readouterr().err


@pytest.mark.parametrize("source", ["nowhere", "/no/where", "./owner/name", "../name", "a/b/c"])
def test_what_is_neither_a_folder_nor_a_name_is_not_asked_for(hub, source):
    with pytest.raises(InputError, match=r"^model: there is no such folder.*owner/name"):
        model_folder(source)
    assert hub == []


def test_without_network_and_without_a_folder_there_is_one_line(tmp_path, monkeypatch):
    """HF_HUB_OFFLINE is set for all tests; nothing of this name was fetched before."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^model: 'owner/name' is no local folder.*HF_HUB_OFFLINE") as caught:
        model_folder("owner/name")
    assert "\n" not in str(caught.value)
