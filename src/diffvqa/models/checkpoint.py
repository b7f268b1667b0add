"""Encoders from checkpoints: any of the known vision models, or the image encoder of a model with two encoders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel, SiglipImageProcessorPil
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from diffvqa.models.encoder import build_encoder, encoder_config_class, vision_config
from diffvqa.models.source import read_config, read_processor_settings
from diffvqa.models.weights import read_model

UNUSED = ("pooler.", "head.")
"""Parts of a vision model that patch tokens do not pass through: a checkpoint may lack them."""


def load_encoder(source: str, image_size: int) -> PreTrainedModel:
    """Load the vision model of a local folder or a hub name, for square images of `image_size` pixels.

    Learned position embeddings are interpolated (bicubic) if the checkpoint was trained at another size. Weights are
    read from safetensors only.

    Raises ValueError for a model of an unknown kind, for a size that is no multiple of the patch size, and for weights
    that are missing or of another shape. Raises OSError if there is no checkpoint.
    """
    found = read_config(source)
    found = getattr(found, "vision_config", found)
    kind = encoder_config_class(found.model_type)
    # A model may leave a few pixels at the edges unseen at its own size (384 pixels in patches of 14).
    if image_size != found.image_size and image_size % found.patch_size:
        raise ValueError(f"images of {image_size} pixels cannot be cut into patches of {found.patch_size}")
    loaded = read_model(MODEL_MAPPING[kind], source, may_lack=UNUSED)
    encoder = build_encoder(vision_config({**loaded.config.to_dict(), "image_size": image_size}))
    weights = loaded.state_dict()
    encoder.load_state_dict(
        {name: _interpolated(weights[name], wanted.shape) for name, wanted in encoder.state_dict().items()}
    )
    return encoder


def image_statistics(source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and the standard deviation, per channel, by which a checkpoint's pixels are normalised.

    Raises ValueError if the checkpoint does not say, and OSError if there is no preprocessor_config.json.
    """
    settings = read_processor_settings(source)
    return tuple(settings["image_mean"]), tuple(settings["image_std"])


def make_processor(size: int, mean: Sequence[float], std: Sequence[float], intensity: str) -> SiglipImageProcessorPil:
    """A processor that only normalises square images, and records their convention of grey values.

    It does not resize. The encoder refuses an image of another size instead of seeing it distorted.
    """
    kept: dict[str, Any] = {"intensity": intensity}
    sides = {"height": size, "width": size}
    return SiglipImageProcessorPil(
        size=sides,
        image_mean=list(mean),
        image_std=list(std),
        do_resize=False,
        do_convert_rgb=len(mean) == 3,
        **kept,
    )


def _interpolated(weight: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Position embeddings (..., [class token and] patches, width) for another number of patches; else as it is."""
    if weight.shape == shape:
        return weight
    old, new = (math.isqrt(places) for places in (weight.shape[-2], shape[-2]))
    # A class token has a place of its own, before those of the patches.
    extra = weight.shape[-2] - old * old
    first, grid = weight.reshape(-1, weight.shape[-1]).split([extra, old * old])
    grid = functional.interpolate(
        grid.T.reshape(1, -1, old, old), size=(new, new), mode="bicubic", align_corners=False, antialias=new < old
    )
    return torch.cat([first, grid.flatten(2)[0].T]).reshape(shape)
