"""Processes that train together: their rows side by side, with gradients to where they come from."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import distributed


class HeadOutput(NamedTuple):
    """The result of a head for one micro-batch: loss and number of negatives, as parts that processes add up."""

    loss: torch.Tensor
    negatives: torch.Tensor | None = None


def processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


@torch.compiler.disable
def sum_over_processes(value: torch.Tensor) -> torch.Tensor:
    """The sum of a number of each process, without a gradient."""
    if processes() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total


@torch.compiler.disable
def gather_rows(*tensors: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], int]:
    """The rows of each tensor in all processes, one after the other, and where this process's begin.

    The tensors have equally many rows; processes may have different numbers. Gradients flow back to the rows of every
    process.
    """
    if processes() == 1:
        return tensors, 0
    rows = torch.tensor(len(tensors[0]), device=tensors[0].device)
    gathered = [torch.zeros_like(rows) for _ in range(processes())]
    distributed.all_gather(gathered, rows)
    counts = [int(count) for count in gathered]
    return tuple(_gather(tensor, counts) for tensor in tensors), sum(counts[: distributed.get_rank()])


def _gather(tensor: torch.Tensor, counts: list[int]) -> torch.Tensor:
    # Every process has to send equally much.
    padded = torch.cat([tensor, tensor.new_zeros(max(counts) - len(tensor), *tensor.shape[1:])])
    gathered = _AllGather.apply(padded)
    return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])


class _AllGather(torch.autograd.Function):
    """The tensors of all processes, stacked; what flows back to one is the sum of all processes' gradients for it."""

    @staticmethod
    def forward(context: Any, tensor: torch.Tensor) -> torch.Tensor:
        gathered = [torch.empty_like(tensor) for _ in range(processes())]
        distributed.all_gather(gathered, tensor.contiguous())
        return torch.stack(gathered)

    @staticmethod
    def backward(context: Any, gradients: torch.Tensor) -> torch.Tensor:
        gradients = gradients.contiguous()
        distributed.all_reduce(gradients)
        return gradients[distributed.get_rank()]
