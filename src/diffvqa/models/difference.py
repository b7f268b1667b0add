"""The difference model of stage 2: a frozen image encoder shared by prior and current, and a language model."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from diffvqa.models import encoder

IGNORED = -100
PRIOR, CURRENT = 0, 1


class DifferenceConfig(PreTrainedConfig):
    """The sizes of a difference model: `vision_config` (any vision model), `language_config` (any causal LM).

    text_tokens: the longest question with its answer, in tokens. merge: squares of merge x merge neighbouring patches,
    their features side by side, become one token of the language model; 1 keeps every patch, as the paper does.
    Raises ValueError if they do not tile the grid of patches.
    """

    model_type = "diffvqa_difference"
    sub_configs = {"vision_config": AutoConfig, "language_config": AutoConfig}  # noqa: RUF012

    def __init__(
        self,
        vision_config: dict | PreTrainedConfig | None = None,
        language_config: dict | PreTrainedConfig | None = None,
        text_tokens: int = 96,
        merge: int = 1,
        **kwargs: Any,
    ) -> None:
        self.vision_config = encoder.vision_config(vision_config)
        grid = encoder.patch_grid(self.vision_config)
        if merge < 1 or grid % merge:
            raise ValueError(f"merge must divide the grid of {grid} x {grid} patches, found {merge}")
        self.merge = merge
        self.language_config = _as_language_config(language_config)
        self.text_tokens = text_tokens
        super().__init__(**kwargs)


def _as_language_config(config: dict | PreTrainedConfig | None) -> PreTrainedConfig:
    if isinstance(config, PreTrainedConfig):
        return config
    settings = dict(config or {})
    return AutoConfig.for_model(settings.pop("model_type", "gpt2"), **settings)


class DifferenceModel(PreTrainedModel):
    """`[prior tokens][current tokens]<bos>question\\nanswer<eos>` on a frozen encoder (arXiv 2603.04950).

    To each patch token the embedding of its time (prior or current) is added, then two layers with a GELU bring it,
    alone or merged with its neighbours, to the language model's width. Where there is no prior, one learned embedding
    says so and the rest of the prior's places are masked.
    """

    config_class = DifferenceConfig
    base_model_prefix = "difference"
    main_input_name = "current"
    _supports_sdpa = True

    def __init__(self, config: DifferenceConfig) -> None:
        super().__init__(config)
        width = config.vision_config.hidden_size
        self.encoder = encoder.build_encoder(config.vision_config)
        self.language_model = AutoModelForCausalLM.from_config(config.language_config)
        language_width = self.language_model.get_input_embeddings().embedding_dim
        self.time = nn.Embedding(2, width)
        self.no_prior = nn.Embedding(1, language_width)
        self.projector = nn.Sequential(
            nn.Linear(width * config.merge**2, language_width), nn.GELU(), nn.Linear(language_width, language_width)
        )
        self.post_init()
        self.encoder.requires_grad_(False).eval()

    def _init_weights(self, module: nn.Module) -> None:
        # As in the captioner: neither layer may shrink what the language model sees of the images. The embedding of
        # the time starts small beside the features (about 1): what is learnt of one image then serves the other too.
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.1 if module is self.time else 0.02)

    def train(self, mode: bool = True) -> DifferenceModel:
        """As usual, but the frozen encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    @torch.no_grad()
    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The patch tokens of images: (images, channels, size, size) -> (images, patches, encoder width)."""
        return encoder.patch_tokens(self.encoder, pixel_values)

    def forward(
        self,
        prior: torch.Tensor,
        current: torch.Tensor,
        has_prior: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **_: Any,
    ) -> CausalLMOutput:
        """The logits of the text positions, and with labels the loss: the mean over answer tokens.

        prior, current: (pairs, patches, encoder width) from `encode`; prior is overlooked where has_prior (pairs,)
        is false. input_ids, attention_mask: (pairs, length), right-padded. labels: (pairs, length), aligned with the
        logits, -100 where there is no loss. Logits: (pairs, length, vocabulary), only without labels.
        """
        embeddings, seen = self._images_before_text(prior, current, has_prior, input_ids, attention_mask)
        outputs = self.language_model.base_model(
            inputs_embeds=embeddings, attention_mask=seen, position_ids=_positions(seen), use_cache=False
        )
        hidden = outputs.last_hidden_state[:, -input_ids.shape[1] :]
        head = self.language_model.get_output_embeddings()
        if labels is None:
            return CausalLMOutput(logits=head(hidden))
        wanted = labels != IGNORED
        loss = functional.cross_entropy(head(hidden[wanted]).float(), labels[wanted], reduction="sum")
        return CausalLMOutput(loss=loss / (wanted.sum() if num_items_in_batch is None else num_items_in_batch))

    @torch.no_grad()
    def write(
        self,
        prior: torch.Tensor,
        current: torch.Tensor,
        has_prior: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        new_tokens: int,
        **how: Any,
    ) -> Any:
        """Answer questions: what `generate` returns, with a key-value cache, greedy unless `how` says otherwise.

        Shapes as in `forward`, but input_ids and attention_mask are left-padded.
        """
        embeddings, seen = self._images_before_text(prior, current, has_prior, input_ids, attention_mask)
        return self.language_model.generate(
            inputs_embeds=embeddings, attention_mask=seen, max_new_tokens=new_tokens, **{"do_sample": False, **how}
        )

    def _images_before_text(
        self,
        prior: torch.Tensor,
        current: torch.Tensor,
        has_prior: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings and mask of the whole sequence; places masked anywhere are skipped by the positions."""
        text = self.language_model.get_input_embeddings()(input_ids)
        merge = self.config.merge
        before = self.projector(merge_neighbours(prior + self.time.weight[PRIOR], merge))
        after = self.projector(merge_neighbours(current + self.time.weight[CURRENT], merge))
        absent = ~has_prior.bool()
        first = torch.where(absent[:, None, None], self.no_prior.weight[None].to(before.dtype), before[:, :1])
        before = torch.cat([first, before[:, 1:]], dim=1)
        seen_before = torch.ones(before.shape[:2], dtype=attention_mask.dtype, device=attention_mask.device)
        seen_before[:, 1:] = seen_before[:, 1:] * has_prior.to(attention_mask.dtype)[:, None]
        seen_after = torch.ones(after.shape[:2], dtype=attention_mask.dtype, device=attention_mask.device)
        embeddings = torch.cat([before, after, text.to(before.dtype)], dim=1)
        return embeddings, torch.cat([seen_before, seen_after, attention_mask], dim=1)


def merge_neighbours(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """Squares of side x side patches as one token each: (images, patches, width) -> (images, fewer, wider)."""
    images, patches, width = tokens.shape
    grid = math.isqrt(patches)
    squares = tokens.view(images, grid // side, side, grid // side, side, width).transpose(2, 3)
    return squares.reshape(images, patches // side**2, side**2 * width)


def _positions(seen: torch.Tensor) -> torch.Tensor:
    """Positions that count only what is seen, as `generate` counts them."""
    return (seen.cumsum(1) - 1).clamp(min=0)


AutoConfig.register(DifferenceConfig.model_type, DifferenceConfig)
