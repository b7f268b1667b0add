"""Classification of images by their findings."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from diffvqa.models.gathering import HeadOutput, sum_over_processes


class ClassificationHead(nn.Module):
    """A linear layer on the mean of the patch tokens, one logit a finding."""

    def __init__(self, width: int, findings: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, findings)

    def forward(self, tokens: torch.Tensor, findings: torch.Tensor, known: torch.Tensor) -> HeadOutput:
        """This process's part of the mean binary cross-entropy over the images whose findings are known.

        tokens: (images, patches, width). findings: (images, findings), 1 where a finding is named, else 0. known:
        (images,), whether anything is said of an image.
        """
        losses = functional.binary_cross_entropy_with_logits(
            self.linear(tokens.mean(1)).float(), findings, reduction="none"
        ).mean(1)
        # A batch of which nothing is known has no loss, and no NaN.
        return HeadOutput((losses * known).sum() / sum_over_processes(known.sum()).clamp(min=1))
