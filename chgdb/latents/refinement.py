"""Latents found by gradient descent: what an encoder makes in one pass, improved while the decoder stays as it is.

An encoder is trained to do well on average; for a single crystal the same decoder has better latents nearby (the
amortisation gap of Cremer, Li and Duvenaud, arXiv 1801.03558). In PyTorch; imported only where it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .levels import LARGEST
from .network import Convolutional, Lapped

_SIZE = 0.1  # of the first step, in standard deviations of the encoder's latent; it falls to zero
_LEVELS = 0.5  # least size of the first step in steps of the quantisation: below, rounding undoes it
_AROUND = 5  # latent voxels beside those that change, which the decoder's layers see


def refine(
    network: Convolutional | Lapped,
    latent: Tensor,
    volume: Tensor,
    step: float,
    steps: int,
    context: Tensor | None = None,
    report: Callable[[], None] = lambda: None,
) -> Tensor:
    """The best of the encoder's latent and those after each of `steps` steps of Adam; a multiple of `step`.

    latent: (1, channels, z, y, x), all of it; with zero padding that of the padded volume, of which only what the
        crystal reaches is changed. volume: (1, 1, z, y, x) without padding, what is to be decoded.
    context: what the decoder of a `Lapped` network also sees. report: called after every step.

    The loss is that which the network was trained for: the squared error over the padded volume, of a `Lapped` network
    the mean absolute error. Each latent is rounded, and cut off as a store does, before it is decoded, and gradients
    pass the rounding as if it were not there: the latent returned is the best as a store keeps it.
    """
    latent, context = latent.clone(), None if context is None else context.clone()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    if isinstance(network, Lapped):
        return _descend(latent, step, steps, lambda x: (network.decode(x, context) - volume).abs().mean(), report)
    if network.periodic:
        return _descend(latent, step, steps, lambda x: (network.decode(x) - volume).square().sum(), report)
    side, factor = latent.shape[2], network.configuration.factor
    reach = [min(side, math.ceil(n / factor) + 1) for n in volume.shape[2:]]
    seen = _corner(latent, [min(side, n + _AROUND) for n in reach]).clone()

    def error(values: Tensor) -> Tensor:
        whole = seen.clone()
        _corner(whole, reach).copy_(values)
        decoded = network.decode(whole)
        inside = _corner(decoded, volume.shape[2:])
        return decoded.square().sum() - inside.square().sum() + (inside - volume).square().sum()

    changing = _corner(latent, reach)
    changing.copy_(_descend(changing.clone(), step, steps, error, report))
    return latent


def _corner(values: Tensor, size: Sequence[int]) -> Tensor:
    """The low corner of so many points; a view."""
    return values[:, :, : size[0], : size[1], : size[2]]


def _descend(
    start: Tensor, step: float, steps: int, error: Callable[[Tensor], Tensor], report: Callable[[], None]
) -> Tensor:
    with torch.enable_grad():
        levels = (start / step).requires_grad_(True)
        size = max(_SIZE * float(levels.detach().std()), _LEVELS)
        optimiser = torch.optim.Adam([levels], size)
        best, least = levels.detach(), math.inf
        for number in range(steps + 1):
            rounded = levels.detach().round().clamp(-LARGEST, LARGEST)
            loss = error((levels + (rounded - levels.detach())) * step)
            found = float(loss.detach())
            if found < least:
                best, least = rounded, found
            if number == steps:
                break
            optimiser.param_groups[0]["lr"] = size * (1 - number / steps)
            (levels.grad,) = torch.autograd.grad(loss, levels)
            optimiser.step()
            report()
    return best * step
