"""Captions of pairs: a decoder that looks at two images of a patient and says what has changed, and where."""

from __future__ import annotations

import torch
from torch import nn
from transformers import GPT2Config

from diffvqa.models.captioner import IGNORED, CaptioningHead
from diffvqa.models.gathering import HeadOutput, sum_over_processes


class PairedHead(nn.Module):
    """A captioning head on the patch tokens of a prior and a current image side by side, told apart by their time."""

    def __init__(self, width: int, decoder_config: GPT2Config) -> None:
        super().__init__()
        self.time = nn.Embedding(2, width)
        # As in the difference model: small beside the features.
        nn.init.normal_(self.time.weight, std=0.1)
        self.captioning = CaptioningHead(width, decoder_config)

    def forward(self, tokens: torch.Tensor, labels: torch.Tensor, **texts: torch.Tensor) -> HeadOutput:
        """This process's part of the mean loss over target tokens.

        tokens: (images, patches, width), image 2n the prior one of pair n, image 2n + 1 its current one. labels and
        texts: (pairs, length), for which see CaptioningHead.
        """
        pairs = (tokens.unflatten(0, (-1, 2)) + self.time.weight[:, None]).flatten(1, 2)
        targets = sum_over_processes((labels != IGNORED).sum()).clamp(min=1)
        return HeadOutput(self.captioning(pairs, labels=labels, num_items_in_batch=targets, **texts).loss)
