"""Captions of pairs: a decoder that looks at two images of a patient and says what has changed, and where."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import GPT2Config

from diffvqa.models.captioner import CaptioningHead
from diffvqa.models.gathering import HeadOutput


class PairedHead(nn.Module):
    """A captioning head on the patch tokens of a prior and a current image side by side, told apart by their time."""

    def __init__(self, width: int, decoder_config: GPT2Config) -> None:
        super().__init__()
        self.time = nn.Embedding(2, width)
        # Small beside the features, as in the difference model.
        nn.init.normal_(self.time.weight, std=0.1)
        self.captioning = CaptioningHead(width, decoder_config)

    def forward(self, tokens: torch.Tensor, **texts: Any) -> HeadOutput:
        """This process's part of the mean loss over target tokens.

        tokens: (images, patches, width), image 2n the prior one of pair n, image 2n + 1 its current one. texts: one row
        a pair, for which see CaptioningHead. The first time embedding is the prior's, the second the current's.
        """
        pairs = (tokens.unflatten(0, (-1, 2)) + self.time.weight[:, None]).flatten(1, 2)
        return self.captioning(pairs, **texts)
