"""The captioner: an image encoder, and a text decoder that looks at all of its patch tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, GPT2Config, GPT2LMHeadModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from diffvqa.models import encoder
from diffvqa.models.composite import declare_parts
from diffvqa.models.gathering import HeadOutput, sum_over_processes

IGNORED = -100


class CaptionerConfig(PreTrainedConfig):
    """The sizes of a captioner: `vision_config` (any vision model) and `decoder_config` (GPT-2 with cross-attention).

    box_bins: boxes are written as integers 0..box_bins, with location_tokens as tokens of their own. region_box_first:
    the box of a named region is written before its phrase. text_tokens: the longest text, in tokens. tasks: those that
    it has learnt.
    """

    model_type = "diffvqa_captioner"
    sub_configs = {"vision_config": AutoConfig, "decoder_config": GPT2Config}  # noqa: RUF012

    def __init__(
        self,
        vision_config: dict | PreTrainedConfig | None = None,
        decoder_config: dict | PreTrainedConfig | None = None,
        box_bins: int = 500,
        location_tokens: bool = False,
        region_box_first: bool = False,
        text_tokens: int = 96,
        tasks: Sequence[str] = ("Cap", "AREF", "GCAP", "CAREF"),
        **kwargs: Any,
    ) -> None:
        self.vision_config = encoder.vision_config(vision_config)
        decoder = decoder_config.to_dict() if isinstance(decoder_config, PreTrainedConfig) else decoder_config or {}
        self.decoder_config = GPT2Config(**{**decoder, "add_cross_attention": True})
        self.box_bins = box_bins
        self.location_tokens = location_tokens
        self.region_box_first = region_box_first
        self.text_tokens = text_tokens
        self.tasks = list(tasks)
        super().__init__(**kwargs)


class CaptioningHead(nn.Module):
    """A text decoder that looks at all patch tokens, trained to write Cap, AREF, GCAP and CAREF (arXiv 2603.04950)."""

    def __init__(self, width: int, decoder_config: GPT2Config) -> None:
        super().__init__()
        self.projector = nn.Linear(width, decoder_config.n_embd)
        # The decoder's input should be equally large at any width; transformers' 0.02 suits wide models only.
        nn.init.normal_(self.projector.weight, std=width**-0.5)
        nn.init.zeros_(self.projector.bias)
        self.decoder = GPT2LMHeadModel(decoder_config)

    def forward(
        self,
        tokens: torch.Tensor,
        labels: torch.Tensor,
        weights: torch.Tensor | None = None,
        targets: torch.Tensor | float | None = None,
        **texts: torch.Tensor,
    ) -> HeadOutput:
        """This process's part of the mean loss over target tokens.

        tokens and texts: for which see `read`. labels: (images, length), aligned with the logits, -100 where there is
        no loss. weights: (images, length), of each label's loss, 1 where not given. targets: how many target tokens a
        micro-batch has, on all processes, on average over the step's; where not given, how many this one has.
        """
        hidden = self.read(tokens, **texts)
        # Only positions with a label are worth the vocabulary's product.
        wanted = labels != IGNORED
        predicted = self.decoder.lm_head(hidden[wanted]).float()
        losses = functional.cross_entropy(predicted, labels[wanted], reduction="none")
        if weights is not None:
            losses = losses * weights[wanted]
        if targets is None:
            # A batch without a single text has no loss, and no NaN.
            targets = sum_over_processes(wanted.sum()).clamp(min=1)
        return HeadOutput(losses.sum() / targets)

    def read(
        self,
        tokens: torch.Tensor,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        text_index: torch.Tensor,
        parallel: torch.Tensor,
    ) -> torch.Tensor:
        """The decoder's last hidden state at every token: (images, length, decoder width).

        All texts of an image stand in one row, so that the image is encoded, and looked at, once. tokens: (images,
        patches, encoder width). The rest is (images, length): input_ids; position_ids, from 0 in each text;
        text_index, the number of the text a token belongs to, -1 where there is none; parallel, true in a text that
        is predicted at once from mask tokens, its self-attention not causal (arXiv 2306.07915).
        """
        projected = self.projector(tokens)
        return self.decoder.transformer(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=_attention(text_index, parallel, projected.dtype),
            encoder_hidden_states=projected,
            use_cache=False,
        ).last_hidden_state

    @torch.no_grad()
    def write(
        self,
        tokens: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        new_tokens: int,
        **generate_kwargs: Any,
    ) -> Any:
        """Continue prompts about encoded images: what `generate` returns, its sequences holding new tokens only.

        tokens: (texts, patches, encoder width). input_ids, attention_mask: (texts, length), left-padded. Greedy, with
        a key-value cache; generate_kwargs go to `generate`.
        """
        device = self.projector.weight.device
        written = self.decoder.generate(
            input_ids=input_ids.to(device),
            attention_mask=attention_mask.to(device),
            encoder_hidden_states=self.projector(tokens.to(device)),
            max_new_tokens=new_tokens,
            **{"do_sample": False, "return_dict_in_generate": True, **generate_kwargs},
        )
        written.sequences = written.sequences[:, input_ids.shape[1] :]
        return written


class Captioner(PreTrainedModel):
    """An image encoder with a captioning head: what reads out phrases and their boxes."""

    config_class = CaptionerConfig
    base_model_prefix = "captioner"
    main_input_name = "pixel_values"
    _supports_sdpa = True

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.encoder = encoder.build_encoder(config.vision_config)
        self.head = CaptioningHead(config.vision_config.hidden_size, config.decoder_config)
        self.post_init()
        declare_parts(self)

    def _init_weights(self, module: nn.Module) -> None:
        """The parts initialise themselves."""

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The patch tokens of images: (images, channels, size, size) -> (images, patches, encoder width)."""
        return encoder.patch_tokens(self.encoder, pixel_values.to(self.device))

    def forward(self, pixel_values: torch.Tensor, **texts: Any) -> CausalLMOutput:
        """The logits of texts about images (images, channels, size, size); for `texts` see `CaptioningHead.read`."""
        hidden = self.head.read(self.encode(pixel_values), **texts)
        return CausalLMOutput(logits=self.head.decoder.lm_head(hidden))

    def write(self, tokens: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Continue prompts about images encoded by `encode`; see `CaptioningHead.write`."""
        return self.head.write(tokens, *args, **kwargs)


def _attention(text_index: torch.Tensor, parallel: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """An additive mask (images, 1, length, length): 0 where a token may attend, the lowest number where not.

    A token attends to its own text only, and there to what comes before, unless the text is parallel.
    Additive because eager attention would misread a boolean mask.
    """
    length = text_index.shape[1]
    same_text = text_index[:, :, None] == text_index[:, None, :]
    before = torch.ones(length, length, dtype=torch.bool, device=text_index.device).tril()
    allowed = (same_text & (before | parallel[:, :, None]))[:, None]
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)


AutoConfig.register(CaptionerConfig.model_type, CaptionerConfig)
AutoModel.register(CaptionerConfig, Captioner)
