"""Classification of images by their findings."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from diffvqa.models.gathering import HeadOutput, processes


class ClassificationHead(nn.Module):
    """A linear layer on the mean of the patch tokens, one logit a finding."""

    def __init__(self, width: int, findings: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, findings)

    def forward(self, tokens: torch.Tensor, findings: torch.Tensor) -> HeadOutput:
        """This process's part of the mean binary cross-entropy.

        tokens: (images, patches, width). findings: (images, findings), 1 where a finding is named, else 0.
        """
        loss = functional.binary_cross_entropy_with_logits(self.linear(tokens.mean(1)).float(), findings)
        return HeadOutput(loss / processes())
