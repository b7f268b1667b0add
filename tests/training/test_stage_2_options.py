"""Stage 2 on published encoders and language models, with its options: adapters, attention, priors, trained blocks."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPConfig,
    Dinov2Config,
    SiglipConfig,
    SiglipImageProcessorPil,
)

from diffvqa.answering.answerer import Answerer
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.evaluating.evaluate import evaluate
from diffvqa.images.intensities import AS_STORED, EQUALISED, intensity_of
from diffvqa.inference import features, shown_pictures
from diffvqa.inference.shown_pictures import show_stored
from diffvqa.models.captioner import Captioner
from diffvqa.models.difference import DifferenceModel
from diffvqa.models.folder import load_folder
from diffvqa.sealed import write_sealed
from diffvqa.training.config import FinetuneConfig, load_config
from diffvqa.training.finetune import finetune

LANGUAGE = {
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 160},
    "qwen3": {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8,
    },
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 16,
}  # fmt: skip
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}
ENCODERS = {
    "siglip": SiglipConfig(vision_config=VISION, text_config=TEXT),
    "clip": CLIPConfig(vision_config=VISION, text_config=TEXT),
    "dinov2": Dinov2Config(**VISION),
}


@pytest.fixture(scope="session", params=LANGUAGE)
def language_folder(request, captioner_folder, tmp_path_factory):
    """A causal language model as others publish them: its weights and its tokenizer in a folder."""
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = AutoTokenizer.from_pretrained(captioner_folder)
    known = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(request.param, **known, **LANGUAGE[request.param]))
    for part in (model, tokenizer):
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def configure(finetune_settings, write_config, tmp_path):
    """A configuration for `tmp_path/out`, with these settings over the usual ones."""

    def make(*overrides, **settings):
        path = write_config({**finetune_settings, "out": str(tmp_path / "out"), **settings})
        return load_config(FinetuneConfig, path, list(overrides))

    return make


def language_weights(folder):
    """The weights of a language model in a folder, by their own names; of a finetuned folder, of the one in it."""
    weights = load_file(folder / "model.safetensors")
    inner = {name.removeprefix("language_model."): one for name, one in weights.items() if "language_model." in name}
    return inner or weights


def test_a_language_model_keeps_its_weights(language_folder, configure):
    out = finetune(
        configure("optimisation.steps=1", "optimisation.learning_rate=1e-9", language_model=str(language_folder))
    )
    expected, found = language_weights(language_folder), language_weights(out)
    assert expected.keys() == found.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_published_encoder_is_joined_to_a_published_language_model(
    kind, language_folder, configure, store_folder, tmp_path
):
    torch.manual_seed(1)
    encoder = AutoModel.from_config(ENCODERS[kind])
    for part in (encoder, SiglipImageProcessorPil(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.2, 0.3])):
        part.save_pretrained(tmp_path / "published")
    out = finetune(
        configure("optimisation.steps=2", encoder=str(tmp_path / "published"), language_model=str(language_folder))
    )
    folder = load_folder(DifferenceModel, out, "model")
    assert folder.processor.image_mean == (0.4, 0.5, 0.6)
    assert not (out / "captioner").exists()
    evaluate(out, store_folder, "test", tmp_path / "evaluation")
    rows = [json.loads(line) for line in (tmp_path / "evaluation" / "predictions.jsonl").read_text().splitlines()]
    assert rows
    assert {row["task"] for row in rows} == {"question"}


def test_adapters_train_beside_frozen_weights_and_are_merged(language_folder, configure):
    out = finetune(configure(language_model=str(language_folder), lora_rank=2))
    before, after = language_weights(language_folder), language_weights(out)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(after[name].dim() == 2 and "embed" not in name and "wte" not in name for name in changed)


@pytest.mark.slow
def test_a_stopped_run_with_adapters_goes_on_to_the_same_weights(language_folder, configure, stop_after, tmp_path):
    settings = {"language_model": str(language_folder), "lora_rank": 2}
    with stop_after(5):
        finetune(configure(**settings))
    out = finetune(configure(**settings))
    undisturbed = finetune(configure(**settings, out=str(tmp_path / "other")))
    found, expected = (load_file(folder / "model.safetensors") for folder in (out, undisturbed))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_adapters_of_a_new_language_model_are_refused(configure):
    with pytest.raises(InputError, match="lora_rank: adapts a trained language model"):
        finetune(configure("lora_rank=2"))


@pytest.fixture
def radiographs(tmp_path):
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (80, 70), dtype=np.uint8)).save(path)
    return paths


@pytest.mark.parametrize("attention", ["causal", "prefix"])
def test_two_priors_are_looked_at(attention, configure, store_folder, radiographs, tmp_path):
    out = finetune(configure("priors=2", f"attention={attention}", "optimisation.learning_rate=0.05"))
    evaluate(out, store_folder, "test", tmp_path / "evaluation")
    answerer = Answerer.from_pretrained(out)
    current, *priors = radiographs
    confidences = {
        answerer(current=current, prior=given).confidence for given in (priors[0], priors[:2], priors[1::-1])
    }
    assert len(confidences) == 3
    with pytest.raises(InputError, match="prior: given 3 times, but the model takes 2"):
        answerer(current=current, prior=priors)


@pytest.mark.slow
def test_the_last_block_is_trained_and_boxes_keep_the_captioners_encoder(
    configure, captioner_folder, store_folder, radiographs, tmp_path
):
    out = finetune(configure("trainable_blocks=1"))
    assert not (out / "features").exists()
    before = load_folder(Captioner, captioner_folder, "model").model.encoder.state_dict()
    after = load_folder(DifferenceModel, out, "model").model.encoder.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("layers.0" in name or "post_layernorm" in name for name in changed)
    evaluate(out, store_folder, "test", tmp_path / "evaluation")
    frozen = finetune(configure(out=str(tmp_path / "frozen")))
    evaluate(frozen, store_folder, "test", tmp_path / "of_frozen")
    boxes = [
        [json.loads(line) for line in (tmp_path / name / "predictions.jsonl").read_text().splitlines()]
        for name in ("evaluation", "of_frozen")
    ]
    assert [row for row in boxes[0] if row["task"] == "AREF"] == [row for row in boxes[1] if row["task"] == "AREF"]
    assert Answerer.from_pretrained(out)(current=radiographs[0], prior=radiographs[1]).boxes is not None


@pytest.fixture
def store_as_stored(store_folder, tmp_path):
    """The same store, but of a dataset whose grey values are not equalised."""
    folder = tmp_path / "store"
    shutil.copytree(store_folder, folder)
    about = json.loads((folder / "store.json").read_text())
    write_sealed(folder / "store.json", {**about, "datasets": ["table"]})
    assert Store.open(folder).intensity == AS_STORED
    return folder


@pytest.mark.parametrize("blocks", [0, 1])
@pytest.mark.parametrize("part", ["", "encoder"])
def test_an_encoder_of_equalised_images_is_shown_such_of_a_store_as_stored(
    blocks, part, configure, captioner_folder, language_folder, store_as_stored, monkeypatch
):
    """Its captioner's folder, and that of the encoder alone."""
    shown = set()

    def watched(store, position, intensity):
        shown.add(intensity)
        return show_stored(store, position, intensity)

    for module in (features, shown_pictures):
        monkeypatch.setattr(module, "show_stored", watched)
    out = finetune(
        configure(
            "optimisation.steps=1",
            f"trainable_blocks={blocks}",
            encoder=str(captioner_folder / part),
            language_model=str(language_folder),
            store=str(store_as_stored),
        )
    )
    assert shown == {EQUALISED}
    assert intensity_of(load_folder(DifferenceModel, out, "model").processor) == EQUALISED
    assert json.loads((out / "run.json").read_text())["intensity"] == EQUALISED


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["trainable_blocks=5"], "trainable_blocks: .* has 1 blocks, but 5"),
        (["encoder=nowhere/at-all"], "encoder: no vision model can be read from 'nowhere/at-all'"),
        (["language_model=nowhere/at-all"], "language_model: no causal language model"),
        (
            ["language_model=/nowhere"],
            "language_model: there is no folder '/nowhere'; give that of a causal language",
        ),
        (["questions={diference: 1}"], "no question type 'diference'; the types are difference"),
        (["attention=both"], "`attention`"),
    ],
)
def test_what_cannot_be_is_refused_before_training(configure, tmp_path, overrides, words):
    with pytest.raises(InputError, match=words):
        finetune(configure(*overrides))
    assert not (tmp_path / "out").exists()


def test_a_language_model_without_a_tokenizer_is_refused(language_folder, configure, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "alone").mkdir(exist_ok=True)
        (tmp_path / "alone" / name).write_bytes((language_folder / name).read_bytes())
    with pytest.raises(InputError, match="language_model: no causal language model with its tokenizer can be read"):
        finetune(configure(language_model=str(tmp_path / "alone")))


def test_a_finetuned_model_is_no_encoder_but_holds_one(configure, model_folder):
    with pytest.raises(InputError, match="encoder: the folder of a finetuned model"):
        finetune(configure(encoder=str(model_folder)))
    finetune(configure("optimisation.steps=1", encoder=str(model_folder / "captioner")))


def test_an_encoder_without_a_tokenizer_needs_a_language_model_that_has_one(configure, captioner_folder, tmp_path):
    torch.manual_seed(1)
    for part in (
        AutoModel.from_config(Dinov2Config(**VISION)),
        SiglipImageProcessorPil(image_mean=[0.5], image_std=[0.5]),
    ):
        part.save_pretrained(tmp_path / "published")
    with pytest.raises(InputError, match="takes the tokenizer of encoder, which has none"):
        finetune(configure(encoder=str(tmp_path / "published")))


def test_a_store_of_another_size_is_refused_with_both_sizes(configure, cohort_folder, tmp_path):
    from diffvqa.data import read_sources
    from diffvqa.data.prepare import prepare

    prepare(read_sources([f"mimic:{cohort_folder}"]), tmp_path / "store", 32)
    with pytest.raises(InputError, match=r"encoder: .* trained on 64-pixel images, but store holds 32-pixel ones"):
        finetune(configure(store=str(tmp_path / "store")))
