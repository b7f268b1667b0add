"""The difference model of stage 2: a frozen image encoder shared by prior and current, and a language model."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.generation.utils import ALL_CACHE_NAMES
from transformers.modeling_outputs import CausalLMOutput

from diffvqa.models import encoder
from diffvqa.models.captioner import IGNORED
from diffvqa.models.composite import declare_parts

PRIOR, CURRENT = 0, 1

CACHE = ALL_CACHE_NAMES[0]
"""The name that the installed version of transformers has for a cache of keys and values."""


class DifferenceConfig(PreTrainedConfig):
    """The sizes of a difference model: `vision_config` (any vision model), `language_config` (any causal LM).

    text_tokens: the longest question with its answer, in tokens. merge: squares of merge x merge neighbouring patches,
    their features side by side, become one token of the language model; 1 keeps every patch, as the paper does.
    attention: of the images' tokens among themselves: `causal` (the paper) or `prefix`, each attends to all.
    priors: how many earlier images it takes. trainable_blocks: the last blocks of the encoder that are trained with the
    rest, or `all`. change_threshold: how probable a change must be to be stated, weighed over several answers to both
    orders of the images; None: the answer is the most probable one, word by word, as in the paper.
    Raises ValueError if merged squares do not tile the grid of patches.
    """

    model_type = "diffvqa_difference"
    sub_configs = {"vision_config": AutoConfig, "language_config": AutoConfig}  # noqa: RUF012

    def __init__(
        self,
        vision_config: dict | PreTrainedConfig | None = None,
        language_config: dict | PreTrainedConfig | None = None,
        text_tokens: int = 96,
        merge: int = 1,
        attention: str = "causal",
        priors: int = 1,
        trainable_blocks: int | Literal["all"] = 0,
        change_threshold: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.vision_config = encoder.vision_config(vision_config)
        grid = encoder.patch_grid(self.vision_config)
        if merge < 1 or grid % merge:
            raise ValueError(f"merge must divide the grid of {grid} x {grid} patches, found {merge}")
        self.merge = merge
        self.attention = attention
        self.priors = priors
        self.trainable_blocks = trainable_blocks
        self.change_threshold = change_threshold
        if not isinstance(language_config, PreTrainedConfig):
            language_config = AutoConfig.for_model(**{"model_type": "gpt2", **(language_config or {})})
        self.language_config = language_config
        self.text_tokens = text_tokens
        super().__init__(**kwargs)


class DifferenceModel(PreTrainedModel):
    """`[prior tokens][current tokens]<bos>question\\nanswer<eos>` on a frozen encoder (arXiv 2603.04950).

    Each patch token gets the embedding of its time (prior or current). Two layers with a GELU map it, alone or merged
    with its neighbours, to the language model's width. One learned embedding stands for a missing prior,
    and its other positions are masked. The earliest of several priors comes first.
    """

    config_class = DifferenceConfig
    base_model_prefix = "difference"
    main_input_name = "current"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: DifferenceConfig) -> None:
        super().__init__(config)
        width = config.vision_config.hidden_size
        self.encoder = encoder.build_encoder(config.vision_config)
        self.language_model = AutoModelForCausalLM.from_config(config.language_config, trust_remote_code=False)
        language_width = self.language_model.get_input_embeddings().embedding_dim
        self.time = nn.Embedding(1 + config.priors, width)
        self.no_prior = nn.Embedding(1, language_width)
        self.projector = nn.Sequential(
            nn.Linear(width * config.merge**2, language_width), nn.GELU(), nn.Linear(language_width, language_width)
        )
        self.post_init()
        declare_parts(self)
        encoder.train_last_blocks(self.encoder, config.trainable_blocks)
        self.encoder.eval()

    def _init_weights(self, module: nn.Module) -> None:
        # As in the captioner: neither layer may shrink what the language model sees of the images. The embedding of
        # the time starts small beside the features (about 1): what is learnt of one image then serves the other too.
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.1 if module is self.time else 0.02)

    def train(self, mode: bool = True) -> DifferenceModel:
        """Set the mode, but keep an encoder with frozen parts in evaluation mode: its statistics stay as they are."""
        super().train(mode)
        if self.config.trainable_blocks != "all":
            self.encoder.eval()
        return self

    def get_input_embeddings(self) -> None:  # type: ignore[override]  # transformers takes None, but does not say so
        """None: what embeds the text belongs to the language model. Sharding asks for it."""

    @torch.no_grad()
    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The patch tokens of images: (images, channels, size, size) -> (images, patches, encoder width)."""
        return encoder.patch_tokens(self.encoder, pixel_values.to(self.device))

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

        current: (pairs, patches, encoder width) from `encode`, or pixels (pairs, channels, size, size) where the
        encoder is trained too. prior: (pairs, priors, ...), the nearest first, overlooked where has_prior (pairs,
        priors) is false. input_ids, attention_mask: (pairs, length), right-padded. labels: (pairs, length), aligned
        with the logits, -100 where there is no loss. Logits: (pairs, length, vocabulary), only without labels.
        """
        images, image_mask = self._images(prior, current, has_prior)
        text = self.language_model.get_input_embeddings()(input_ids)
        mask = torch.cat([image_mask, attention_mask], dim=1)
        outputs = self._read(torch.cat([images, text.to(images.dtype)], dim=1), mask, images.shape[1], use_cache=False)
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
        num_beams: int = 1,
        **generate_kwargs: Any,
    ) -> Any:
        """Answer questions: what `generate` returns, its sequences new tokens only; greedy by default.

        Shapes as in `forward`, but input_ids and attention_mask are left-padded. The images go through the language
        model once; their keys and values serve every token, and every beam.
        """
        to_device = (tensor.to(self.device) for tensor in (prior, current, has_prior, input_ids, attention_mask))
        prior, current, has_prior, input_ids, attention_mask = to_device
        images, image_mask = self._images(prior, current, has_prior)
        cache = DynamicCache(config=self.language_model.config)
        self._read(images, image_mask, images.shape[1], use_cache=True, **{CACHE: cache})
        if num_beams > 1:
            cache.batch_repeat_interleave(num_beams)
        # `generate` skips as many tokens as the cache holds: it never looks at the ones that stand for the images.
        places = input_ids.new_zeros(image_mask.shape)
        written = self.language_model.generate(
            input_ids=torch.cat([places, input_ids], dim=1),
            attention_mask=torch.cat([image_mask, attention_mask], dim=1),
            max_new_tokens=new_tokens,
            num_beams=num_beams,
            **{CACHE: cache, "do_sample": False, "return_dict_in_generate": True, **generate_kwargs},
        )
        written.sequences = written.sequences[:, image_mask.shape[1] + input_ids.shape[1] :]
        return written

    def _read(self, embeddings: torch.Tensor, mask: torch.Tensor, images: int, **cache: Any) -> Any:
        """The output of the language model for embeddings, of which the first `images` are those of the images."""
        return self.language_model.base_model(
            inputs_embeds=embeddings,
            attention_mask=self._attention(mask, images, embeddings.dtype),
            # They count only what the mask keeps, as `generate` counts.
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            **cache,
        )

    def _images(
        self, prior: torch.Tensor, current: torch.Tensor, has_prior: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The images' embeddings for the language model, (pairs, positions, its width), and their attention mask."""
        priors = has_prior.shape[1]
        if current.dim() > 3:
            current, prior = self._encode_together(prior, current, has_prior.bool())
        # Frozen features come in half precision.
        current, prior = current.float(), prior.float()
        times = [CURRENT, PRIOR, *range(2, 1 + priors)]
        tokens = torch.stack([current, *prior.unbind(1)], dim=1) + self.time.weight[times][:, None]
        projected = self.projector(merge_neighbours(tokens.flatten(0, 1), self.config.merge)).unflatten(
            0, (-1, 1 + priors)
        )
        present = torch.cat([torch.ones_like(has_prior[:, :1]), has_prior], dim=1).bool()
        first = torch.where(present[:, :, None, None], projected[:, :, :1], self.no_prior.weight.to(projected.dtype))
        projected = torch.cat([first, projected[:, :, 1:]], dim=2)
        mask = present[:, :, None].repeat(1, 1, projected.shape[2])
        mask[:, :, 0] = True
        # The earliest image stands first.
        return projected.flip(1).flatten(1, 2), mask.flip(1).flatten(1, 2).long()

    def _encode_together(
        self, prior: torch.Tensor, current: torch.Tensor, has_prior: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The patch tokens of current and prior images, from pixels; zeros in the place of a prior that is not there.

        An image that is not there must not enter statistics of a batch. All go through the encoder at once, so that
        each process of a sharded model does so once, however many priors it has.
        """
        tokens = encoder.patch_tokens(self.encoder, torch.cat([current, prior[has_prior]]))
        of_priors = tokens.new_zeros(*has_prior.shape, *tokens.shape[1:])
        of_priors[has_prior] = tokens[len(current) :]
        return tokens[: len(current)], of_priors

    def _attention(self, mask: torch.Tensor, images: int, dtype: torch.dtype) -> torch.Tensor:
        """The mask as it is where all is causal; for a prefix an additive one, (pairs, 1, positions, positions)."""
        if self.config.attention == "causal":
            return mask
        length = mask.shape[1]
        allowed = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        allowed[:images, :images] = True
        allowed = allowed & mask[:, None, None, :].bool()
        # A position that attends to nothing would be all NaN; nobody attends to what it holds.
        allowed = allowed | torch.eye(length, dtype=torch.bool, device=mask.device)
        return torch.zeros(allowed.shape, dtype=dtype, device=mask.device).masked_fill(~allowed, torch.finfo(dtype).min)


def merge_neighbours(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """Squares of side x side patches as one token each: (images, patches, width) -> (images, fewer, wider)."""
    images, patches, width = tokens.shape
    grid = math.isqrt(patches)
    squares = tokens.view(images, grid // side, side, grid // side, side, width).transpose(2, 3)
    return squares.reshape(images, patches // side**2, side**2 * width)


AutoConfig.register(DifferenceConfig.model_type, DifferenceConfig)
AutoModel.register(DifferenceConfig, DifferenceModel)
