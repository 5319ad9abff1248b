"""Muon, an optimiser for convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix of a kernel, (outputs, inputs and taps), is made orthogonal by Newton-Schulz iterations.

    Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024). `torch.optim.Muon` is
    no substitute: it takes matrices alone, no kernels of convolutions, and the oldest torch that chgdb allows, 2.4, is
    without it.
    """

    def __init__(self, kernels: Sequence[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(kernel)
                state["momentum"].lerp_(kernel.grad, 1 - group["momentum"])
                ahead = kernel.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                size = max(1.0, ahead.shape[0] / ahead.shape[1]) ** 0.5
                kernel.add_(_orthogonal(ahead).view_as(kernel), alpha=-group["lr"] * size)


def _orthogonal(matrix: Tensor) -> Tensor:
    """Nearly U V^T of a matrix U S V^T: five steps of the quintic iteration of the source."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-12)
    for _ in range(5):
        square = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * square + 2.0315 * square @ square) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
