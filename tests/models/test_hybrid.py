"""The hybrid encoder: a grid of tokens in the order of the picture, the batch apart, folders."""

import pytest
import torch
from transformers import AutoModel

from diffvqa.models.encoder import build_encoder, patch_tokens, set_sine_positions, train_last_blocks, vision_config

STEM = {"embedding_size": 8, "hidden_sizes": [8, 12, 16], "depths": [1, 1, 1], "layer_type": "basic"}


def settings(**changes):
    return {
        "model_type": "diffvqa_hybrid_vision",
        "stem_config": STEM,
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
        "num_channels": 1,
        **changes,
    }


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    made = build_encoder(vision_config(settings()))
    set_sine_positions(made)
    return made.eval()


def test_every_patch_has_a_token(encoder):
    assert patch_tokens(encoder, torch.randn(3, 1, 64, 64)).shape == (3, 16, 24)


def test_what_is_seen_in_a_patch_changes_its_embedding_most():
    image = torch.zeros(1, 1, 64, 64)
    changed = image.clone()
    # Strided convolutions look at a patch from its upper left corner.
    changed[:, :, 32:40, 16:24] = 1.0
    difference = torch.zeros(16)
    for seed in range(10):  # one random network may happen to look more at its neighbour
        torch.manual_seed(seed)
        encoder = build_encoder(vision_config(settings())).eval()
        with torch.no_grad():
            change = (encoder.embeddings(changed) - encoder.embeddings(image)).norm(dim=-1)[0]
        difference += change / change.sum()
    assert int(difference.argmax()) == 2 * 4 + 1


def test_the_last_blocks_are_the_transformers_though_the_stem_has_as_many_stages():
    encoder = build_encoder(vision_config(settings(num_hidden_layers=3)))
    train_last_blocks(encoder, 1)
    learnt = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert any("layers.2." in name for name in learnt)
    assert all("layers.2." in name or name.startswith("post_layernorm") for name in learnt)


def test_an_image_is_encoded_as_if_alone(encoder):
    images = torch.randn(3, 1, 64, 64)
    with torch.no_grad():
        together = patch_tokens(encoder, images)
        alone = torch.cat([patch_tokens(encoder, image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)


def test_folder_round_trip_keeps_the_running_means_too(encoder, tmp_path):
    images = torch.randn(2, 1, 64, 64)
    encoder.train()
    patch_tokens(encoder, images * 3 + 1)
    encoder.eval()
    encoder.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert type(loaded) is type(encoder)
    with torch.no_grad():
        # The layout of the convolutions may differ, and with it the last bit.
        assert torch.allclose(patch_tokens(loaded, images), patch_tokens(encoder, images), atol=1e-5)


def test_a_stem_that_does_not_fit_the_patch_size_is_refused():
    with pytest.raises(ValueError, match="patches of 16 pixels, but patch_size is 8"):
        vision_config(settings(patch_size=8))
