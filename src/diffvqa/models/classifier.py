"""Classification of images by their findings, and by how severe these are."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from diffvqa.models.captioner import IGNORED
from diffvqa.models.gathering import HeadOutput, sum_over_processes
from diffvqa.models.probe_heads import LabelProbe


class ClassificationHead(nn.Module):
    """One logit a finding, linear in the mean of the patch tokens that the finding's own query weighs."""

    def __init__(self, width: int, findings: int) -> None:
        super().__init__()
        self.probe = LabelProbe(width, findings, classes=1, attends=True)

    def forward(self, tokens: torch.Tensor, findings: torch.Tensor, known: torch.Tensor) -> HeadOutput:
        """This process's part of the mean binary cross-entropy over the images whose findings are known.

        tokens: (images, patches, width). findings: (images, findings), 1 where a finding is named, else 0. known:
        (images,), whether anything is said of an image.
        """
        logits = self.probe(tokens[:, None]).squeeze(-1).float()
        losses = functional.binary_cross_entropy_with_logits(logits, findings, reduction="none").mean(1)
        # A batch of which nothing is known has no loss, and no NaN.
        return HeadOutput((losses * known).sum() / sum_over_processes(known.sum()).clamp(min=1))


class LevelHead(nn.Module):
    """The level of each finding, linear in the mean of the patch tokens that the finding's own query weighs.

    levels: how many a finding can have, absence with them.
    """

    def __init__(self, width: int, findings: int, levels: int) -> None:
        super().__init__()
        self.probe = LabelProbe(width, findings, classes=levels, attends=True)

    def forward(self, tokens: torch.Tensor, levels: torch.Tensor) -> HeadOutput:
        """This process's part of the mean cross-entropy over the levels that are known.

        tokens: (images, patches, width). levels: (images, findings), IGNORED where nothing is said.
        """
        logits = self.probe(tokens[:, None]).float().transpose(1, 2)
        loss = functional.cross_entropy(logits, levels, ignore_index=IGNORED, reduction="sum")
        return HeadOutput(loss / sum_over_processes((levels != IGNORED).sum()).clamp(min=1))
