"""The model of stage 1: the sum of its heads' losses, shares of a step, layers computed anew."""

import pytest
import torch
from transformers import CLIPTextConfig, GPT2Config

from diffvqa.models.captioner import CaptioningHead
from diffvqa.models.classifier import ClassificationHead
from diffvqa.models.contrastive import ContrastiveHead
from diffvqa.models.encoder import build_encoder, vision_config
from diffvqa.models.pretraining import PretrainingModel

VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 16, "num_channels": 1,
}  # fmt: skip
DECODER = {"n_embd": 24, "n_layer": 2, "n_head": 2, "vocab_size": 60, "n_positions": 16, "add_cross_attention": True}
DROPPING_NOTHING = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
CAPTIONING = "captioning"
TEXT = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 60}


@pytest.fixture
def model():
    torch.manual_seed(0)
    heads = {
        CAPTIONING: CaptioningHead(32, GPT2Config(**DECODER, **DROPPING_NOTHING)),
        "clip": ContrastiveHead(32, CLIPTextConfig(**TEXT), sigmoid=False, local=False),
        "classification": ClassificationHead(32, 3),
    }
    return PretrainingModel(build_encoder(vision_config(VISION)), heads, {"clip": 0.5, "classification": 2.0}).train()


def batch(images=4):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 60, (images, 6), generator=generator)
    return {
        "pixel_values": torch.randn(images, 1, 32, 32, generator=generator),
        CAPTIONING: {
            "input_ids": ids,
            "position_ids": torch.arange(6).repeat(images, 1),
            "text_index": torch.zeros(images, 6, dtype=torch.long),
            "parallel": torch.zeros(images, 6, dtype=torch.bool),
            "labels": torch.where(torch.arange(6) < 2, -100, ids.roll(-1, 1)),
            "weights": torch.ones(images, 6),
        },
        "clip": {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "image_index": torch.arange(images),
            "boxes": torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(images, 1),
            "text_key": torch.arange(images),
        },
        "classification": {
            "findings": torch.randint(0, 2, (images, 3), generator=generator).float(),
            "known": torch.ones(images, dtype=torch.bool),
        },
    }


def half(inputs, which):
    """The first or the second two images of a batch."""
    if isinstance(inputs, dict):
        return {name: half(value, which) for name, value in inputs.items()}
    return inputs[2 * which : 2 * which + 2]


def test_the_loss_is_the_weighted_sum_of_the_heads(model):
    output = model(**batch())
    losses = output.losses
    assert set(losses) == {CAPTIONING, "clip", "classification"}
    assert torch.allclose(output.loss, losses[CAPTIONING] + 0.5 * losses["clip"] + 2 * losses["classification"])
    assert output.negatives["clip"] == 3


def test_every_parameter_learns(model):
    model(**batch()).loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_micro_batches_add_up_to_the_step(model):
    inputs = batch()
    # Three target tokens are in the first half, eight in the second.
    inputs[CAPTIONING]["labels"][0] = inputs[CAPTIONING]["labels"][1, 2] = -100
    whole = model(**inputs)
    parts = [half(inputs, which) for which in (0, 1)]
    for part in parts:
        part["clip"]["image_index"] = torch.arange(2)
        part[CAPTIONING]["targets"] = 11 / 2
    found = [model(**part, micro_batches=2) for part in parts]
    for name in (CAPTIONING, "classification"):
        assert sum(one.losses[name] for one in found) == pytest.approx(float(whole.losses[name]), abs=1e-5)
    # Negatives come from one micro-batch.
    assert sum(one.negatives["clip"] for one in found) == 1


def test_layers_that_are_computed_anew_give_the_same_gradients(model):
    gradients = []
    for anew in (False, True):
        if anew:
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        model.zero_grad()
        model(**batch()).loss.backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-6), name
