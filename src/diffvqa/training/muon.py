"""Muon: steps of matrices and kernels are made orthogonal; everything else goes by AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw
from transformers.pytorch_utils import Conv1D

MOMENTUM, ITERATIONS = 0.95, 5
COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""The coefficients of the Newton-Schulz iteration, as published with the method."""


def hidden_matrices(model: nn.Module) -> list[torch.Tensor]:
    """The matrices of linear layers and the kernels of convolutions, but for those that embed or predict tokens."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    layers: list[Any] = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d | Conv1D)]
    return [layer.weight for layer in layers if layer.weight.requires_grad and id(layer.weight) not in embeddings]


class Muon(torch.optim.Optimizer):
    """Muon with the step size of AdamW (arXiv 2502.16982, section 2.2), so that one learning rate serves both.

    torch's own takes no kernels of convolutions, which are matrices of (channels out, all else) here. groups: those of
    AdamW, from which `matrices` are taken out.
    """

    def __init__(
        self,
        matrices: list[torch.Tensor],
        groups: list[dict[str, Any]],
        lr: float,
        weight_decay: float,
        betas: tuple[float, float],
    ) -> None:
        taken = {id(matrix) for matrix in matrices}
        others = [{**group, "params": [one for one in group["params"] if id(one) not in taken]} for group in groups]
        together = [{"params": matrices, "orthogonal": True}, *({**group, "orthogonal": False} for group in others)]
        defaults = {"lr": lr, "weight_decay": weight_decay, "betas": betas}
        super().__init__([group for group in together if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # as the Trainer calls it
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            (self._orthogonal_step if group["orthogonal"] else self._adamw_step)(group, parameters)

    def _orthogonal_step(self, group: dict[str, Any], parameters: list[torch.Tensor]) -> None:
        for parameter in parameters:
            gradient, state = parameter.grad, self.state[parameter]
            assert gradient is not None
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            # Nesterov's: a look ahead by one step.
            step = orthogonal(gradient.lerp(state["momentum"], MOMENTUM).flatten(1))
            # An orthogonal matrix has entries of 1 / sqrt(longer side); AdamW's steps are about 0.2.
            size = 0.2 * max(step.shape) ** 0.5
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(step.view(parameter.shape), alpha=-group["lr"] * size)

    def _adamw_step(self, group: dict[str, Any], parameters: list[torch.Tensor]) -> None:
        states = [self.state[parameter] for parameter in parameters]
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                zeros = {name: torch.zeros_like(parameter) for name in ("mean", "square")}
                state.update(zeros, step=torch.zeros((), device=parameter.device))
        beta1, beta2 = group["betas"]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix with its singular values brought near 1, by Newton and Schulz, in bf16: (rows, columns)."""
    a, b, c = COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    found = (matrix if wide else matrix.T).bfloat16()
    found = found / found.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        square = found @ found.T
        found = a * found + (b * square + c * square @ square) @ found
    return (found if wide else found.T).to(matrix.dtype)
