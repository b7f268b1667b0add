"""Model folders made to run code, to lead out of the folder, to fill the memory, or to have nonsense answered."""

import json
import os
import resource

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from diffvqa.answering.answerer import Answerer
from diffvqa.errors import InputError
from diffvqa.models.source import LARGEST_TEXT
from diffvqa.sealed import write_sealed

WEIGHTS, CONFIG, TOKENIZER, PROCESSOR = (
    "model.safetensors",
    "config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
)
MEMORY = 2**21
"""Kilobytes that reading a hostile folder may take beside what the tests had: the tiny model needs a hundredth."""

CHANGES = {}


def hostile(reason):
    """A way to make a model folder hostile, and what its refusal says."""

    def add(change):
        CHANGES[change.__name__] = (change, reason)
        return change

    return add


def edit(path, **said):
    path.write_text(json.dumps({**json.loads(path.read_text()), **said}))


def edit_part(path, part, **said):
    edit(path, **{part: {**json.loads(path.read_text())[part], **said}})


def edit_weights(folder, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def into_shards(folder, name):
    (folder / WEIGHTS).rename(folder / "model-00001-of-00001.safetensors")
    weights = load_file(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, name)}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def move_out(path):
    """Put a file outside, and a link to it in its place."""
    outside = path.parents[1] / "elsewhere"
    path.rename(outside)
    path.symlink_to(outside)


@hostile("code of its own")
def tokenizer_with_code(folder, code, bomb):
    (folder / "hostile.py").write_text(code)
    edit(folder / TOKENIZER, tokenizer_class="Hostile", auto_map={"AutoTokenizer": [None, "hostile.Hostile"]})


@hostile("code of its own")
def tokenizer_with_code_elsewhere(folder, code, bomb):
    edit(folder / TOKENIZER, tokenizer_class="Hostile", auto_map={"AutoTokenizer": [None, "a/b--hostile.Hostile"]})


@hostile(None)
def code_for_what_has_a_class(folder, code, bomb):
    """It is not looked at: the folder answers as it did."""
    (folder / "hostile.py").write_text(code)
    edit(folder / CONFIG, auto_map={"AutoConfig": "hostile.Hostile", "AutoModel": "hostile.Hostile"})
    edit_part(folder / CONFIG, "vision_config", auto_map={"AutoModel": "hostile.Hostile"})
    edit_part(folder / CONFIG, "language_config", auto_map={"AutoModelForCausalLM": "hostile.Hostile"})
    edit(folder / PROCESSOR, auto_map={"AutoImageProcessor": "hostile.Hostile"})


@hostile("code of the hub")
def attention_of_the_hub(folder, code, bomb):
    edit_part(folder / CONFIG, "language_config", _attn_implementation="someone/attention")


@hostile("adapter")
def an_adapter_of_another_model(folder, code, bomb):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/model", "peft_type": "LORA"}')


@hostile("quantised")
def quantised_weights(folder, code, bomb):
    edit(folder / CONFIG, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})


@hostile("safetensors")
def pickled_weights(folder, code, bomb):
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(bomb)


@hostile("incomplete or damaged")
def a_pickle_called_safetensors(folder, code, bomb):
    (folder / WEIGHTS).write_bytes(bomb)


@hostile("no safetensors of this folder")
def shards_that_are_pickles(folder, code, bomb):
    into_shards(folder, "pytorch_model.bin")
    (folder / "pytorch_model.bin").write_bytes(bomb)


@hostile("no safetensors of this folder")
def shards_outside(folder, code, bomb):
    into_shards(folder, "../elsewhere.safetensors")
    (folder / "model-00001-of-00001.safetensors").rename(folder.parent / "elsewhere.safetensors")


@hostile("other weights")
def weights_named_by_the_configuration(folder, code, bomb):
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    (folder / "adapter_model.bin").write_bytes(bomb)
    edit(folder / CONFIG, transformers_weights="adapter_model.bin")


@hostile("leads out of the folder")
def weights_that_are_a_link(folder, code, bomb):
    move_out(folder / WEIGHTS)


@hostile("leads out of the folder")
def a_tokenizer_that_is_a_link(folder, code, bomb):
    move_out(folder / "tokenizer.json")


@hostile("leads out of the folder")
def a_captioner_that_is_a_link(folder, code, bomb):
    move_out(folder / "captioner")


@hostile("no plain file")
def a_tokenizer_that_is_a_pipe(folder, code, bomb):
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")


@hostile("too large")
def a_tokenizer_of_a_terabyte(folder, code, bomb):
    (folder / "tokenizer.json").unlink()
    (folder / "added_tokens.json").touch()
    os.truncate(folder / "added_tokens.json", LARGEST_TEXT + 1)
    (folder / "tokenizer.json").write_text("{}")


@hostile("is no JSON")
def a_configuration_of_many_levels(folder, code, bomb):
    (folder / CONFIG).write_text('{"model_type": "diffvqa_difference", "x": ' + "[" * 100_000 + "]" * 100_000 + "}")


@hostile("nested too deeply")
def a_configuration_of_some_levels(folder, code, bomb):
    edit(folder / CONFIG, x=json.loads("[" * 400 + "]" * 400))


@hostile("incomplete or damaged")
def a_tokenizer_of_many_levels(folder, code, bomb):
    (folder / "tokenizer.json").write_text("[" * 100_000 + "]" * 100_000)


@hostile("many more weights")
def a_wide_model(folder, code, bomb):
    edit_part(folder / CONFIG, "language_config", n_embd=2**17, n_head=1)


@hostile("many more weights")
def a_deep_model(folder, code, bomb):
    edit_part(folder / CONFIG, "language_config", n_layer=10**8)


@hostile("many more weights")
def a_model_of_many_words(folder, code, bomb):
    edit_part(folder / CONFIG, "language_config", vocab_size=10**10)


@hostile("many more weights|image_size|by its config")
def a_model_of_large_images(folder, code, bomb):
    edit_part(folder / CONFIG, "vision_config", image_size=2**20)


@hostile("text_tokens")
def endless_answers(folder, code, bomb):
    edit(folder / CONFIG, text_tokens=10**12)


@hostile("not finite")
def weights_that_are_no_numbers(folder, code, bomb):
    edit_weights(folder, lambda weights: weights["projector.0.weight"].fill_(torch.nan))


@hostile("not finite")
def a_captioner_of_infinite_weights(folder, code, bomb):
    edit_weights(folder / "captioner", lambda weights: weights[min(weights)].view(-1)[:1].fill_(torch.inf))


@hostile("normalise by")
def pixels_divided_by_nothing(folder, code, bomb):
    edit(folder / PROCESSOR, image_std=[0.0])


@hostile("is not in its record|is missing")
def a_record_that_names_other_files(folder, code, bomb):
    edit(folder / "run.json", files={"../../etc/passwd": "0" * 64})


@hostile("no words|damaged")
def no_tokenizer(folder, code, bomb):
    for path in folder.glob("tokenizer*"):
        path.unlink()


@hostile("damaged")
def a_cut_tokenizer(folder, code, bomb):
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text[: len(text) // 2])


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_hostile_folder_is_refused_in_one_line_or_overlooked(model_folder, copy_of, code, bomb, name, capfd):
    change, reason = CHANGES[name]
    folder = copy_of(
        model_folder, None if name == a_record_that_names_other_files.__name__ else _given(change, code, bomb)
    )
    if name == a_record_that_names_other_files.__name__:
        change(folder, code, bomb)
        _sign(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if reason is None:
        Answerer.from_pretrained(folder)
    else:
        with pytest.raises(InputError, match=f"^model.*({reason})") as caught:
            Answerer.from_pretrained(folder)
        assert str(folder.parent) not in str(caught.value)
        assert str(caught.value).isprintable()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY
    assert capfd.readouterr().out == ""


def _given(change, code, bomb):
    return lambda folder: change(folder, code, bomb)


def _sign(folder):
    write_sealed(folder / "run.json", json.loads((folder / "run.json").read_text()))


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 60), dtype=np.uint8)).save(path)
    return path


def test_the_command_line_says_it_in_one_line(model_folder, copy_of, code, bomb, picture, run_command):
    folder = copy_of(model_folder, _given(tokenizer_with_code, code, bomb))
    status, said = run_command("answer", folder, "--current", picture)
    assert status == 2
    assert said.startswith("error: MODEL: ")
    assert said.count("\n") == 1


def test_what_a_model_writes_is_no_command_to_a_terminal(model_folder, copy_of, picture, run_command):
    """Neither the words of its tokenizer, nor its folder's name."""

    def change(folder):
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        for token in tokenizer["added_tokens"]:
            if not token["special"]:
                token["content"] = "\x1b[2J" + token["content"]
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))

    folder = copy_of(model_folder, change)
    folder = folder.rename(folder.parent / "\x1b[2Jmodel")
    for form in ([], ["--json"]):
        status, said = run_command("answer", folder, "--current", picture, *form)
        assert status == 0, said
        assert "\x1b" not in said
        assert "[2J" in said
    answer = Answerer.from_pretrained(folder)(picture)
    assert all(text.isprintable() for text in (answer.text, answer.model.name))


@pytest.mark.parametrize("key", ["slope", "intercept"])
def test_a_scale_of_confidence_that_is_no_number_is_refused(model_folder, copy_of, key):
    from diffvqa.models.folder import weights_digest

    def change(folder):
        scale = {"slope": 1.0, "intercept": 0.0, key: float("nan")}
        said = {"weights": weights_digest(model_folder), "confidence": {"scale": scale}, "input_check": {"measured": 0}}
        (folder / "trust").mkdir(exist_ok=True)
        (folder / "trust" / "trust.json").write_text(json.dumps(said))

    with pytest.raises(InputError, match=r"^model: trust/trust\.json is damaged"):
        Answerer.from_pretrained(copy_of(model_folder, change))


def test_a_model_that_computes_no_number_gives_no_answer(model_folder, copy_of, picture):
    """Weights that are numbers, of products that are none."""

    def change(folder):
        edit_weights(folder, lambda weights: weights["projector.2.weight"].mul_(1e38))

    with pytest.raises(InputError, match=r"^model: its output for these images is not finite"):
        Answerer.from_pretrained(copy_of(model_folder, change))(picture, question="is there edema?")


FOREIGN = {"encoder": "probe", "bertscore": "score"}


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"config.json": "{"},
        {"config.json": '{"model_type": "hostile", "auto_map": {"AutoConfig": "hostile.Hostile"}}'},
        {"config.json": '{"model_type": "siglip_vision_model"}', "model.safetensors": "no weights"},
        {"config.json": '{"model_type": "siglip_vision_model", "hidden_size": 1e300}', "model.safetensors": "x"},
        {"config.json": "[" * 100_000},
        {"config.json": '{"model_type": "siglip_vision_model"}', "model.safetensors.index.json": '{"weight_map": 1}'},
    ],
)
@pytest.mark.parametrize("asked", ["probe", "finetune", "pretrain", "score"])
def test_models_of_others_are_refused_in_one_line(
    store_folder, tmp_path, run_command, write_config, finetune_settings, pretrain_settings, code, files, asked
):
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "hostile.py").write_text(code)
    for name, text in files.items():
        (folder / name).write_text(text)
    (tmp_path / "predictions.jsonl").write_text('{"id": "1", "answer": "a", "references": ["a"]}\n')
    out = tmp_path / "out"
    command = {
        "probe": ["probe", folder, store_folder, "--out", out],
        "finetune": ["finetune", write_config({**finetune_settings, "out": str(out), "language_model": str(folder)})],
        "pretrain": ["pretrain", write_config({**pretrain_settings, "out": str(out), "tokenizer": str(folder)})],
        "score": ["score", tmp_path / "predictions.jsonl", "--bertscore", folder],
    }[asked]
    status, said = run_command(*command)
    assert (status, said.count("\n")) == (2, 1), said
    assert said.startswith("error: ")
    assert not out.exists()
