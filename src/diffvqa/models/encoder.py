"""The image encoder: a vision transformer of `transformers` whose every output token is a patch."""

from __future__ import annotations

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel


def vision_config(settings: PreTrainedConfig | dict | None) -> PreTrainedConfig:
    """The configuration of an encoder from a mapping with its `model_type` (a SigLIP vision model where unnamed)."""
    if isinstance(settings, PreTrainedConfig):
        return settings
    settings = dict(settings or {})
    kind = settings.pop("model_type", "siglip_vision_model")
    if kind == "siglip_vision_model":
        settings.setdefault("vision_use_head", False)
    return AutoConfig.for_model(kind, **settings)


def build_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """A randomly initialised encoder of that configuration."""
    return AutoModel.from_config(config)


def patch_tokens(encoder: PreTrainedModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """The patch tokens of images: (images, channels, size, size) -> (images, patches, width)."""
    return encoder(pixel_values=pixel_values).last_hidden_state
