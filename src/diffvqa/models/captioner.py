"""The captioner of stage 1: an image encoder, and a text decoder that looks at all of its patch tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, GPT2Config, GPT2LMHeadModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from diffvqa.models import encoder

IGNORED = -100


class CaptionerConfig(PreTrainedConfig):
    """The sizes of a captioner: `vision_config` (any vision model) and `decoder_config` (GPT-2 with cross-attention).

    box_bins: boxes are written as integers 0..box_bins. text_tokens: the longest text, in tokens.
    """

    model_type = "diffvqa_captioner"
    sub_configs = {"vision_config": AutoConfig, "decoder_config": GPT2Config}  # noqa: RUF012

    def __init__(
        self,
        vision_config: dict | PreTrainedConfig | None = None,
        decoder_config: dict | PreTrainedConfig | None = None,
        box_bins: int = 500,
        text_tokens: int = 96,
        **kwargs: Any,
    ) -> None:
        self.vision_config = encoder.vision_config(vision_config)
        decoder = decoder_config.to_dict() if isinstance(decoder_config, PreTrainedConfig) else decoder_config or {}
        self.decoder_config = GPT2Config(**{**decoder, "add_cross_attention": True})
        self.box_bins = box_bins
        self.text_tokens = text_tokens
        super().__init__(**kwargs)


class Captioner(PreTrainedModel):
    """Image encoder and text decoder, trained to write Cap, AREF, GCAP and CAREF texts (arXiv 2603.04950)."""

    config_class = CaptionerConfig
    base_model_prefix = "captioner"
    main_input_name = "pixel_values"
    _supports_sdpa = True

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.encoder = encoder.build_encoder(config.vision_config)
        self.projector = nn.Linear(config.vision_config.hidden_size, config.decoder_config.n_embd)
        self.decoder = GPT2LMHeadModel(config.decoder_config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # What the decoder sees of the image should be as large at any width; transformers' 0.02 suits wide models only.
        if module is self.projector:
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The patch tokens of images: (images, channels, size, size) -> (images, patches, encoder width)."""
        return encoder.patch_tokens(self.encoder, pixel_values)

    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        text_index: torch.Tensor,
        parallel: torch.Tensor,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **_: Any,
    ) -> CausalLMOutput:
        """The logits of every token, and with labels the loss: the mean over target tokens.

        All texts of an image stand in one row, so that the image is encoded, and looked at, once. pixel_values:
        (images, channels, size, size). The rest is (images, length): input_ids; position_ids, from 0 in each text;
        text_index, the number of the text a token belongs to, -1 where there is none; parallel, true in a text that
        is predicted at once from mask tokens, its self-attention not causal (arXiv 2306.07915); labels, aligned with
        the logits, -100 where there is no loss. The loss is divided by `num_items_in_batch` target tokens where
        given. Logits: (images, length, vocabulary), only without labels.
        """
        tokens = self.projector(self.encode(pixel_values))
        hidden = self.decoder.transformer(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=_attention(text_index, parallel, tokens.dtype),
            encoder_hidden_states=tokens,
            use_cache=False,
        ).last_hidden_state
        if labels is None:
            return CausalLMOutput(logits=self.decoder.lm_head(hidden))
        # Only positions with a label are worth the vocabulary's product.
        wanted = labels != IGNORED
        predicted = self.decoder.lm_head(hidden[wanted]).float()
        loss = functional.cross_entropy(predicted, labels[wanted], reduction="sum")
        return CausalLMOutput(loss=loss / (wanted.sum() if num_items_in_batch is None else num_items_in_batch))

    @torch.no_grad()
    def write(
        self, tokens: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor, new_tokens: int, **how: Any
    ) -> torch.Tensor:
        """Go on with prompts about encoded images; only the new tokens are returned: (texts, at most new_tokens).

        tokens: (texts, patches, encoder width) from `encode`. input_ids, attention_mask: (texts, length),
        left-padded. Greedy, with a key-value cache; `how` goes to `generate`.
        """
        written = self.decoder.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            encoder_hidden_states=self.projector(tokens),
            max_new_tokens=new_tokens,
            **{"do_sample": False, **how},
        )
        return written[:, input_ids.shape[1] :]


def _attention(text_index: torch.Tensor, parallel: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """An additive mask (images, 1, length, length): 0 where a token may look, the lowest number where not.

    A token sees its own text only, and of it what comes before unless the text is parallel. Additive because eager
    attention would misread a boolean mask.
    """
    length = text_index.shape[1]
    same_text = text_index[:, :, None] == text_index[:, None, :]
    before = torch.ones(length, length, dtype=torch.bool, device=text_index.device).tril()
    allowed = (same_text & (before | parallel[:, :, None]))[:, None]
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)


AutoConfig.register(CaptionerConfig.model_type, CaptionerConfig)
