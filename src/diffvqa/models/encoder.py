"""The image encoder: patch tokens from a vision transformer, one of `transformers` or our hybrid."""

from __future__ import annotations

import copy
import math
from typing import Literal

import torch
from torch import nn
from transformers import (
    AutoModel,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    DINOv3ViTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    SiglipVisionConfig,
    ViTConfig,
)

from diffvqa.models.hybrid import HybridVisionConfig

ENCODERS: dict[str, type[PreTrainedConfig]] = {
    kind.model_type: kind
    for kind in (
        SiglipVisionConfig,
        HybridVisionConfig,
        CLIPVisionConfig,
        ViTConfig,
        Dinov2Config,
        Dinov2WithRegistersConfig,
        DINOv3ViTConfig,
    )
}
"""The encoders there are: by their `model_type`, their configurations."""


def encoder_config_class(model_type: str | None) -> type[PreTrainedConfig]:
    """The configuration class of an encoder (of a SigLIP vision model where unnamed). Raises ValueError."""
    model_type = model_type or SiglipVisionConfig.model_type
    if model_type not in ENCODERS:
        raise ValueError(f"there is no encoder of model_type {model_type!r}; there are {', '.join(ENCODERS)}")
    return ENCODERS[model_type]


def vision_config(settings: PreTrainedConfig | dict | None) -> PreTrainedConfig:
    """The configuration of an encoder from a mapping with its `model_type`. Raises ValueError."""
    if isinstance(settings, PreTrainedConfig):
        # A copy: a configuration that becomes a part of another one forgets which attention its model computes by.
        return copy.deepcopy(settings)
    settings = dict(settings or {})
    kind = encoder_config_class(settings.pop("model_type", None))
    if issubclass(kind, SiglipVisionConfig):
        # SigLIP's pooling head is not looked at.
        settings.setdefault("vision_use_head", False)
    return kind(**settings)


def patch_grid(config: PreTrainedConfig) -> int:
    """The number of patches a side that an encoder of this configuration makes of an image."""
    return config.image_size // config.patch_size


def build_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """A randomly initialised encoder of this configuration, with convolutions in the fastest memory layout."""
    return AutoModel.from_config(config, trust_remote_code=False).to(memory_format=torch.channels_last)


def patch_tokens(encoder: PreTrainedModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """The patch tokens of images, without class and register tokens.

    (images, channels, size, size) -> (images, patches, width).
    """
    patches = math.prod(side // encoder.config.patch_size for side in pixel_values.shape[-2:])
    return encoder(pixel_values=pixel_values).last_hidden_state[:, -patches:]


def train_last_blocks(encoder: PreTrainedModel, blocks: int | Literal["all"]) -> None:
    """Freeze an encoder except its last blocks and what follows them; `all` freezes nothing.

    Raises ValueError if the encoder has fewer blocks.
    """
    encoder.requires_grad_(blocks == "all")
    if blocks == "all" or blocks == 0:
        return
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    # The last of them: a hybrid's stem, which comes before the blocks, may have as many stages.
    layers = next(
        (found for found in reversed(lists) if len(found) == encoder.config.num_hidden_layers), nn.ModuleList()
    )
    if blocks > len(layers):
        raise ValueError(f"the encoder has {len(layers)} blocks, but {blocks} of them are to be trained")
    layers[-blocks:].requires_grad_(True)
    # The last normalisation has many names: it is the part beside the blocks that is no embedding.
    for name, module in encoder.named_children():
        if isinstance(module, nn.LayerNorm) and not name.startswith("pre"):
            module.requires_grad_(True)


def set_sine_positions(encoder: PreTrainedModel) -> None:
    """Start the position embeddings of a new SigLIP or hybrid encoder as two-dimensional sines of amplitude 1.

    Their usual start is 1 / sqrt(width) of that, which the patches' content drowns. A small encoder then takes many
    thousand steps before a box depends on the picture. Waves as long as MAE's (arXiv 2111.06377), but for the base,
    which is 100: a grid of patches is short.
    """
    positions = encoder.get_parameter("embeddings.position_embedding.weight")
    side, width = math.isqrt(len(positions)), positions.shape[1]
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    frequencies = 100.0 ** (-torch.arange(width // 4) / (width // 4))
    waves = [
        wave(place.flatten()[:, None] * frequencies) for place in (columns, rows) for wave in (torch.sin, torch.cos)
    ]
    with torch.no_grad():
        positions[:, : 4 * (width // 4)] = torch.cat(waves, dim=1)
