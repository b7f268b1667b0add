"""Models are read whole, or not at all."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from diffvqa.models.weights import read_model


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 1, "vocab_size": 10, "bos_token_id": 1, "eos_token_id": 2}
    GPT2LMHeadModel(GPT2Config(**sizes)).to(torch.bfloat16).save_pretrained(tmp_path)
    return tmp_path


def change(folder, edit):
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_model_is_read_in_full_precision(folder):
    model = read_model(AutoModelForCausalLM, folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    saved = load_file(folder / "model.safetensors")["transformer.wte.weight"]
    assert torch.equal(model.get_input_embeddings().weight, saved.float())


def test_a_weight_that_is_missing_is_named_unless_it_may_be(folder):
    change(folder, lambda weights: weights.pop("transformer.ln_f.bias"))
    with pytest.raises(ValueError, match=r"lacks 1 of the model's weights, such as transformer\.ln_f\.bias"):
        read_model(AutoModelForCausalLM, folder)
    read_model(AutoModelForCausalLM, folder, may_lack=["transformer.ln_f."])


def test_a_weight_of_another_shape_is_named_with_both(folder):
    change(folder, lambda weights: weights.update({"transformer.wpe.weight": torch.zeros(7, 8)}))
    with pytest.raises(
        ValueError, match=r"transformer\.wpe\.weight is 7 x 8 in the checkpoint, but 1024 x 8 by its config"
    ):
        read_model(AutoModelForCausalLM, folder)


def test_weights_that_would_have_to_be_unpickled_are_not_read(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        read_model(AutoModelForCausalLM, folder)
