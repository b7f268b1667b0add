"""The configurations at the papers' sizes: their models have as many parameters as counted by hand."""

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, Qwen3Config

from diffvqa.models.difference import DifferenceConfig, DifferenceModel
from diffvqa.training.config import PretrainConfig, load_config
from diffvqa.training.pretraining_model import build_encoder, build_model, make_head_context

CONFIGS = Path(__file__).parents[2] / "configs"
VOCABULARY = 50_258
"""GPT-2's, and a mask token."""


class Tokenizer:
    bos_token_id = eos_token_id = pad_token_id = 50_256

    def __len__(self):
        return VOCABULARY


def layer_norm(width):
    return 2 * width


def linear(inputs, outputs):
    return inputs * outputs + outputs


def block(width, inner):
    """Self-attention and two layers, each behind a normalisation."""
    return 4 * linear(width, width) + linear(width, inner) + linear(inner, width) + 2 * layer_norm(width)


def vision(width, inner, layers, patches):
    """SigLIP's vision model without its head, patches of 14 pixels of three channels."""
    return linear(3 * 14 * 14, width) + patches * width + layers * block(width, inner) + layer_norm(width)


def decoder(width, inner, layers, positions):
    """GPT-2 with cross-attention; its head is its embedding."""
    cross = layer_norm(width) + 4 * linear(width, width)
    return (VOCABULARY + positions) * width + layers * (block(width, inner) + cross) + layer_norm(width)


SO400M = (224, 1152, 4304, 27, 256)
SIZES = {"paper": SO400M, "author": SO400M, "vitl384": (384, 1024, 4096, 24, 729)}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def build(config, size):
    encoder = build_encoder(config, size)
    return build_model(config, encoder, make_head_context(config, encoder, Tokenizer(), []))


@pytest.mark.parametrize("name", SIZES)
def test_the_captioner(name):
    size, width, inner, layers, patches = SIZES[name]
    config = load_config(PretrainConfig, CONFIGS / name / "pretrain.yaml", [])
    with torch.device("meta"):
        model = build(config, size)
    assert count(model.encoder) == vision(width, inner, layers, patches)
    expected = vision(width, inner, layers, patches) + linear(width, 768) + decoder(768, 3072, 12, 2 * 128)
    assert count(model) == expected


@pytest.mark.parametrize(
    ("name", "language", "width"),
    [
        ("paper", GPT2Config(n_embd=1024, n_layer=24, n_head=16), 1024),
        ("vitl384", Qwen3Config(hidden_size=1024, num_hidden_layers=2, intermediate_size=3072, head_dim=128), 1024),
    ],
)
def test_the_difference_model_takes_the_images_of_that_captioner(name, language, width):
    size, encoder_width, inner, layers, patches = SIZES[name]
    config = load_config(PretrainConfig, CONFIGS / name / "pretrain.yaml", [])
    with torch.device("meta"):
        encoder = build_encoder(config, size)
        model = DifferenceModel(DifferenceConfig(encoder.config, language, text_tokens=128))
    between = linear(encoder_width, width) + linear(width, width) + 2 * encoder_width + width
    assert count(model) - count(model.language_model) == vision(encoder_width, inner, layers, patches) + between
