"""The model of stage 1: one image encoder under the heads of one or several objectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from diffvqa.models.composite import declare_parts
from diffvqa.models.encoder import patch_tokens
from diffvqa.models.gathering import processes


@dataclass
class PretrainingOutput(ModelOutput):
    """The loss, and by head its own loss and its number of negatives."""

    loss: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None
    negatives: dict[str, torch.Tensor] | None = None


class PretrainingConfig(PreTrainedConfig):
    """The configuration of a pretraining model, which has only a name for the Trainer."""

    model_type = "diffvqa_pretraining"


class PretrainingModel(PreTrainedModel):
    """An encoder whose patch tokens every head is given; the loss is the heads' weighted sum.

    weights: of each head's loss by the head's name, 1 where not given.
    """

    config_class = PretrainingConfig
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, encoder: PreTrainedModel, heads: dict[str, nn.Module], weights: dict[str, float]) -> None:
        super().__init__(PretrainingConfig())
        self.encoder = encoder
        self.heads = nn.ModuleDict(heads)
        self.weights = weights
        self.post_init()
        declare_parts(self)

    def _init_weights(self, module: nn.Module) -> None:
        """Heads and encoder are initialised, or loaded, when they come here."""

    def get_input_embeddings(self) -> None:  # type: ignore[override]  # transformers takes None, but does not say so
        """None: what embeds texts belongs to the heads. Sharding asks for it."""

    def forward(self, pixel_values: torch.Tensor, micro_batches: int | None = None, **batch: Any) -> PretrainingOutput:
        """The loss of one micro-batch on this process.

        pixel_values: (images, channels, size, size). micro_batches: how many a process takes in a step, None outside a
        step. batch: under each head's name its input; what else is there is overlooked. The losses of the micro-batches
        and processes of a step add up to its loss.
        """
        tokens = patch_tokens(self.encoder, pixel_values)
        # Outside a step the mean over processes is the loss.
        share = processes() if micro_batches is None else 1 / micro_batches
        found = {name: head(tokens, **batch[name]) for name, head in self.heads.items()}
        losses = {name: one.loss * share for name, one in found.items()}
        negatives = {name: one.negatives * share for name, one in found.items() if one.negatives is not None}
        loss = sum(self.weights.get(name, 1.0) * loss for name, loss in losses.items())
        return PretrainingOutput(loss, {name: loss.detach() for name, loss in losses.items()}, negatives)
