"""Encoders from checkpoints in the formats in which others publish them."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoImageProcessor,
    AutoModel,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    DINOv3ViTConfig,
    GPT2Config,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipVisionConfig,
    ViTConfig,
)

from diffvqa.models.checkpoint import image_statistics, load_encoder, make_processor
from diffvqa.models.encoder import patch_tokens
from diffvqa.tasks.collate import normalise

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
KINDS = [SiglipVisionConfig, CLIPVisionConfig, ViTConfig, Dinov2Config, Dinov2WithRegistersConfig, DINOv3ViTConfig]
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.model_type)
def published(request, tmp_path):
    """A vision model of every kind, randomly initialised, in a folder of its own."""
    torch.manual_seed(0)
    model = AutoModel.from_config(request.param(**SIZES)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "position_embedding" in name:
                weight.normal_()
    model.save_pretrained(tmp_path)
    return model, str(tmp_path)


def own_tokens(model, images, **how):
    with torch.no_grad():
        return model(pixel_values=images, **how).last_hidden_state


def test_the_patch_tokens_are_the_checkpoints_own_without_class_and_registers(published):
    model, folder = published
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tokens = patch_tokens(load_encoder(folder, 32).eval(), images)
    assert tokens.shape == (2, 16, 32)
    assert torch.allclose(tokens, own_tokens(model, images)[:, -16:], atol=1e-5)


def test_larger_images_are_seen_as_the_library_sees_them(published):
    model, folder = published
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        tokens = patch_tokens(load_encoder(folder, 48).eval(), images)
    # DINO models follow the size by themselves; the others do when they are asked.
    how = {} if "dino" in model.config.model_type else {"interpolate_pos_encoding": True}
    expected = own_tokens(model, images, **how)[:, -36:]
    if model.config.model_type == "dinov2_with_registers":
        # Here the library smooths as it enlarges, which bicubic interpolation elsewhere does not.
        assert (tokens - expected).abs().mean() < 0.2 * (tokens - expected.roll(1, dims=1)).abs().mean()
    else:
        assert torch.allclose(tokens, expected, atol=1e-4)


@pytest.mark.parametrize(("kind", "config"), [(SiglipModel, SiglipConfig), (CLIPModel, CLIPConfig)])
def test_of_a_two_tower_model_the_vision_half_is_taken(kind, config, tmp_path):
    text = {**TEXT, "bos_token_id": 1, "eos_token_id": 2}
    model = kind(config(vision_config=SIZES, text_config=text)).eval()
    model.save_pretrained(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tokens = patch_tokens(load_encoder(str(tmp_path), 32).eval(), images)
    assert torch.allclose(tokens, own_tokens(model.vision_model, images)[:, -16:], atol=1e-5)


def test_a_checkpoint_without_some_of_the_weights_is_refused(published):
    _, folder = published
    weights = load_file(f"{folder}/model.safetensors")
    name = max(name for name in weights if "layer" in name and name.endswith("weight"))
    del weights[name]
    save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks 1 of the model's weights"):
        load_encoder(folder, 32)


def test_images_that_the_patches_do_not_tile_are_refused(published):
    with pytest.raises(ValueError, match="patches of 8"):
        load_encoder(published[1], 36)


def test_a_language_model_is_no_encoder(tmp_path):
    GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no encoder of model_type 'gpt2'"):
        load_encoder(str(tmp_path), 32)


def test_the_normalisation_is_the_checkpoints(tmp_path):
    SiglipImageProcessorPil(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]).save_pretrained(tmp_path)
    assert image_statistics(str(tmp_path)) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_saved_processor_does_what_is_done_with_a_square_and_nothing_else(channels, tmp_path):
    mean, deviation = [0.4, 0.5, 0.6][:channels], [0.2, 0.3, 0.4][:channels]
    make_processor(32, mean, deviation, "as stored").save_pretrained(tmp_path)
    saved = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    random = np.random.default_rng(0)
    squares = [random.integers(0, 256, (32, 32)).astype(np.uint8) for _ in range(10)]
    theirs = saved([Image.fromarray(one) for one in squares], return_tensors="pt")["pixel_values"]
    ours = normalise(squares, saved)
    assert ours.shape == (10, channels, 32, 32)
    assert torch.allclose(theirs, ours, atol=1e-5)
    other = saved(Image.fromarray(np.zeros((48, 40), np.uint8)), return_tensors="pt")["pixel_values"]
    assert other.shape[-2:] == (48, 40)
