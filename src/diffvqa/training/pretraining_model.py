"""The model of stage 1 as configured: a new encoder or a checkpoint's, under the heads of its objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import CLIPTextConfig, GPT2Config, PreTrainedModel, PreTrainedTokenizerBase, SiglipVisionConfig

from diffvqa.errors import InputError
from diffvqa.models import encoder as encoders
from diffvqa.models.captioner import CaptionerConfig
from diffvqa.models.checkpoint import load_encoder
from diffvqa.models.pretraining import PretrainingModel
from diffvqa.tasks.tokenizer import special_tokens
from diffvqa.training.config import PretrainConfig
from diffvqa.training.config_errors import explain_source, refuse_unknown_sizes
from diffvqa.training.objectives import HeadContext, make_heads

NO_DROPOUT = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
"""No dropout, as in CapPa (arXiv 2306.07915): the dropped units would depend on the number of processes."""


def build_model(config: PretrainConfig, encoder: PreTrainedModel, context: HeadContext) -> PretrainingModel:
    """An encoder with new heads of the configured objectives. Raises what explain_sizes explains."""
    return PretrainingModel(encoder, make_heads(config.objective, context), config.objective)


def captioner_config(
    config: PretrainConfig, encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> CaptionerConfig:
    """The sizes of the captioner that the configured objectives train on an encoder."""
    decoder: dict[str, Any] = {
        # The longest prefix stands before a full length of masks.
        "n_positions": 2 * config.text_tokens,
        **NO_DROPOUT,
        **config.decoder,
        **special_tokens(tokenizer),
    }
    return CaptionerConfig(
        encoder.config,
        decoder,
        config.box_bins,
        config.location_tokens,
        config.region_box_first,
        config.text_tokens,
        [task for task, count in config.mixture.texts.items() if count],
    )


def make_head_context(
    config: PretrainConfig, encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, findings: Sequence[str]
) -> HeadContext:
    """The context for heads. A text encoder is as large as the decoder, so that objectives can be compared."""
    refuse_unknown_sizes(config.decoder, GPT2Config, "decoder")
    decoder = GPT2Config(**config.decoder)
    text_config = CLIPTextConfig(
        hidden_size=decoder.n_embd,
        intermediate_size=decoder.n_inner or 4 * decoder.n_embd,
        num_hidden_layers=decoder.n_layer,
        num_attention_heads=decoder.n_head,
        max_position_embeddings=config.text_tokens,
        **special_tokens(tokenizer),
    )
    decoder_config = captioner_config(config, encoder, tokenizer).decoder_config
    width, size = encoder.config.hidden_size, encoder.config.image_size
    return HeadContext(width, size, decoder_config, text_config, tokenizer, config.text_tokens, findings)


def build_encoder(config: PretrainConfig, size: int) -> PreTrainedModel:
    """The encoder as configured for images of `size` pixels a side: a checkpoint's, or a new one.

    Raises InputError, and what explain_sizes explains.
    """
    if isinstance(config.encoder, str):
        with explain_source("encoder", config.encoder):
            return load_encoder(config.encoder, size)
    encoder = encoders.build_encoder(encoders.vision_config(encoder_sizes(config, size)))
    if isinstance(encoder.config, SiglipVisionConfig):
        encoders.set_sine_positions(encoder)
    return encoder


def encoder_sizes(config: PretrainConfig, size: int) -> dict[str, Any]:
    """The sizes of a new encoder for images of `size` pixels a side.

    Raises InputError where they do not go together, or are no settings of that kind of encoder.
    """
    given = {} if isinstance(config.encoder, str) else config.encoder
    encoder = {"image_size": size, "num_channels": len(config.image_mean or (0.5,) * 3), **given}
    if encoder["image_size"] != size:
        raise InputError(
            f"{encoder['image_size']}, but the store holds {size}-pixel images", argument="encoder.image_size"
        )
    kind = encoders.encoder_config_class(encoder.get("model_type"))
    patch = encoder.get("patch_size", getattr(kind, "patch_size", None))
    if isinstance(patch, int) and patch > 0 and size % patch and "image_size" not in given:
        raise InputError(
            f"{patch} does not divide the store's {size} pixels: the model would not see {size % patch} at the "
            f"edges; give another size, or accept this with encoder.image_size={size}",
            argument="encoder.patch_size",
        )
    refuse_unknown_sizes(encoder, kind, "encoder")
    for part, part_kind in kind.sub_configs.items():
        refuse_unknown_sizes(encoder.get(part) or {}, part_kind, f"encoder.{part}")
    return encoder
