"""Probes of frozen patch tokens: how much of what they hold can be read out with next to nothing."""

from __future__ import annotations

import math

import torch
from torch import nn


class Pooling(nn.Module):
    """A mean over patch tokens for each of several names: the plain one, or weighted by a query that is learnt.

    Queries start at zero, so that learning begins with the plain mean.
    """

    def __init__(self, width: int, names: int, attends: bool) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(names, width), requires_grad=attends)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(items, patches, width) -> (items, names, width)."""
        weights = (tokens @ self.query.T / math.sqrt(tokens.shape[-1])).softmax(1)
        return weights.transpose(1, 2) @ tokens


class LabelProbe(nn.Module):
    """The logits of each name's classes, linear in the pooled tokens of one image, or of a pair.

    A pair is its two images side by side, with the distance of their tokens, patch by patch. A sum over the two cannot
    tell that something is in one of them only. attends: whether each name has a query of its own for the pooling. pair:
    whether it reads pairs.
    """

    def __init__(self, width: int, names: int, classes: int, attends: bool, pair: bool = False) -> None:
        super().__init__()
        self.pooling = Pooling(width, names, attends)
        self.weight = nn.Parameter(torch.zeros(names, classes, (3 if pair else 1) * width))
        self.bias = nn.Parameter(torch.zeros(names, classes))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(items, images, patches, width) -> (items, names, classes)."""
        parts = list(tokens.unbind(1))
        if len(parts) == 2:
            parts.append((parts[1] - parts[0]).abs())
        pooled = torch.cat([self.pooling(part) for part in parts], dim=-1)
        return torch.einsum("inw,ncw->inc", pooled, self.weight) + self.bias


class BoxProbe(nn.Module):
    """A box for each name: the name's mean box at first, which two layers move by what its query attends to.

    mean_boxes: (names, 4), x1 y1 x2 y2 as shares of the side. patches: of a square grid.
    """

    mean_boxes: torch.Tensor
    places: torch.Tensor

    def __init__(self, width: int, patches: int, mean_boxes: torch.Tensor) -> None:
        super().__init__()
        self.pooling = Pooling(width + 2, len(mean_boxes), attends=True)
        first, last = nn.Linear(width + 2, width), nn.Linear(width, 4)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(first, nn.GELU(), last)
        self.register_buffer("mean_boxes", mean_boxes)
        side = math.isqrt(patches)
        centres = 2 * (torch.arange(side) + 0.5) / side - 1
        down, across = torch.meshgrid(centres, centres, indexing="ij")
        self.register_buffer("places", torch.stack([across, down], dim=-1).view(1, patches, 2))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(items, 1, patches, width) -> (items, names, 4), x1 y1 x2 y2 as shares of the side."""
        placed = torch.cat([tokens[:, 0], self.places.expand(len(tokens), -1, -1)], dim=-1)
        return self.mean_boxes + self.layers(self.pooling(placed))
