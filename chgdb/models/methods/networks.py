"""Residual 3D convolutional networks on latent tensors, in PyTorch; imported only where one is trained or used.

A latent is zero where the cell does not reach. Each is cropped to its cell, and a batch is padded to the largest cell
in it. A mask keeps everything outside of a cell at zero in every layer. A prediction thus does not depend on the rest
of its batch, and little is computed outside of cells.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..inference import Settings


class Attention(nn.Module):
    """Dual attention: each channel, then each place, is weighed by what the whole tensor looks like.

    S. Woo et al., Convolutional Block Attention Module, arXiv 1807.06521, with averages taken over the cell alone.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width, small = settings.width, settings.small()
        self.channel = nn.Sequential(nn.Linear(width, small), nn.SiLU(), nn.Linear(small, width))
        self.place = nn.Conv3d(2, 1, 3, padding=1)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        weight = torch.sigmoid(self.channel(masked_mean(values, mask)) + self.channel(masked_max(values, mask)))
        values = values * weight[:, :, None, None, None]
        seen = torch.cat([values.mean(1, keepdim=True), values.amax(1, keepdim=True)], 1) * mask
        return values * torch.sigmoid(self.place(seen))


class Block(nn.Module):
    """Residual block: (convolutions at several scales, norm, swish, convolution, norm) + input, attention, swish."""

    def __init__(self, width: int, settings: Settings) -> None:
        super().__init__()
        self.first = nn.ModuleList(
            nn.Conv3d(width, width, 3, padding=d, dilation=d, bias=False) for d in settings.scales
        )
        self.norm = nn.BatchNorm3d(width)
        self.second = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm3d(width)
        self.attention = Attention(settings) if settings.attention else None

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        inner = sum(convolution(values) for convolution in self.first)
        inner = F.silu(self.norm(inner)) * mask
        inner = self.second_norm(self.second(inner)) * mask
        if self.attention is not None:
            inner = self.attention(inner, mask)
        return F.silu(values + inner) * mask


class Network(nn.Module):
    """Latents (n, channels, z, y, x), their masks and MAGPIE features -> (n, outputs)."""

    def __init__(self, channels: int, features: int, outputs: int, settings: Settings) -> None:
        super().__init__()
        width = settings.width
        self.patch, self.squash, self.outputs = settings.patch, settings.squash, outputs
        # Two by two by two places of a latent, 1.2 Å, become one: an eighth of the work in all that follows.
        self.stem = nn.Conv3d(channels, width, self.patch, stride=self.patch, bias=False)
        self.norm = nn.BatchNorm3d(width)
        self.blocks = nn.ModuleList(Block(width, settings) for _ in range(settings.blocks))
        inside = 2 * width
        self.composition: nn.Module | None = None
        if settings.composition:
            size = settings.composition
            self.composition = nn.Sequential(
                nn.Linear(features, size), nn.SiLU(), nn.Dropout(settings.dropout), nn.Linear(size, size), nn.SiLU()
            )
            inside += size
        self.head = nn.Sequential(
            nn.Linear(inside, settings.hidden),
            nn.SiLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.hidden, outputs),
        )

    def forward(self, values: Tensor, mask: Tensor, features: Tensor) -> Tensor:
        mask = F.max_pool3d(mask, self.patch)
        if self.squash is not None:
            values = torch.arcsinh(values / self.squash)
        values = F.silu(self.norm(self.stem(values))) * mask
        for block in self.blocks:
            values = block(values, mask)
        pooled = [masked_mean(values, mask), masked_max(values, mask)]
        if self.composition is not None:
            pooled.append(self.composition(features))
        return self.head(torch.cat(pooled, 1))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """(n, channels): average over the places of the mask."""
    return (values * mask).sum((2, 3, 4)) / mask.sum((2, 3, 4))


def masked_max(values: Tensor, mask: Tensor) -> Tensor:
    """(n, channels): largest over the places of the mask."""
    return values.masked_fill(mask == 0, -1e4).amax((2, 3, 4))


def stack(latents: Sequence[Tensor], patch: int) -> tuple[Tensor, Tensor]:
    """(latents padded to the largest and to a multiple of the patch, masks (n, 1, z, y, x))."""
    shape = [patch * -(-max(latent.shape[axis] for latent in latents) // patch) for axis in (1, 2, 3)]
    values = torch.zeros(len(latents), latents[0].shape[0], *shape)
    mask = torch.zeros(len(latents), 1, *shape)
    for i, latent in enumerate(latents):
        z, y, x = latent.shape[1:]
        values[i, :, :z, :y, :x] = latent
        mask[i, 0, :z, :y, :x] = 1
    return values, mask


def batches(latents: Sequence[Tensor], size: int, generator: np.random.Generator | None) -> Iterator[list[int]]:
    """Indices of batches of cells alike in size, so that little padding is computed; shuffled with a generator."""
    volume = np.array([latent.shape[-3:].numel() for latent in latents], float)
    if generator is not None:
        volume = volume * np.exp(0.4 * generator.normal(size=len(volume)))
    order = np.argsort(volume, kind="stable")
    groups = [order[start : start + size].tolist() for start in range(0, len(order), size)]
    if generator is not None:
        groups = [groups[i] for i in generator.permutation(len(groups)) if len(groups[i]) > 1]
    yield from groups


def train(
    network: Network,
    latents: Sequence[Tensor],
    features: Tensor,
    targets: Tensor,
    validation: np.ndarray,
    settings: Settings,
    seed: int,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Train in place; the weights of the epoch with the smallest validation error remain, rounded to half precision,
    in which they are stored.

    latents: of each row a tensor (channel, z, y, x), taken as it is: the channels of an autoencoder are not those of
        the turned crystal when the latent is turned. Or several views of the same crystal in Cartesian axes
        (view, channel, z, y, x), of which one is taken at random each time and turned or mirrored, one of 48 ways.
    targets: (n, outputs), standardised, NaN without a label. validation: (n,) bool.
    """
    generator = np.random.default_rng(seed)
    rows, held = np.flatnonzero(~validation), np.flatnonzero(validation)
    inside = [latents[i] for i in rows.tolist()]
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=settings.decay)
    steps = settings.epochs * -(-len(rows) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.rate, total_steps=max(steps + 1, 10), pct_start=0.25
    )
    best, best_state, waited = float("inf"), copy.deepcopy(network.state_dict()), 0
    for epoch in range(settings.epochs):
        network.train()
        losses = []
        for group in batches(inside, settings.batch, generator):
            chosen = torch.from_numpy(rows[group])
            values, mask = stack([_view(inside[i], generator) for i in group], settings.patch)
            if inside[0].dim() == 5:
                values, mask = _turned(values, mask, generator)
            predicted = network(values, mask, features[chosen])
            loss = _loss(predicted, targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        if len(held):
            seen = [latents[i] for i in held.tolist()]
            error = float(_loss(infer(network, seen, features[held], most=2), targets[held]))
        else:
            error = float(np.mean(losses))
        if error < best:
            best, best_state, waited = error, copy.deepcopy(network.state_dict()), 0
        else:
            waited += 1
        if progress is not None:
            progress(f"epoch {epoch + 1} of {settings.epochs}: training {np.mean(losses):.4f}, validation {error:.4f}")
        if waited >= settings.patience:
            break
    network.load_state_dict(best_state)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half())
    network.eval()


def infer(network: Network, latents: Sequence[Tensor], features: Tensor, size: int = 64, most: int = 8) -> Tensor:
    """(n, outputs) of a network in evaluation mode; the mean over views, at most so many, where rows have several."""
    network.eval()
    result = torch.zeros(len(latents), network.outputs)
    views = min(most, len(latents[0])) if latents[0].dim() == 5 else 1
    with torch.inference_mode():
        for group in batches(latents, size, None):
            for view in range(views):
                seen = [latents[i][view] if latents[i].dim() == 5 else latents[i] for i in group]
                result[group] += network(*stack(seen, network.patch), features[group]) / views
    return result


def _view(latent: Tensor, generator: np.random.Generator) -> Tensor:
    """The latent, or one of its views at random."""
    return latent if latent.dim() == 4 else latent[int(generator.integers(len(latent)))]


def _loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Huber loss over the labels there are, targets with few labels counting as much as others."""
    known = torch.isfinite(truth)
    error = F.huber_loss(predicted, torch.where(known, truth, predicted.detach()), reduction="none", delta=1.0)
    counts = known.sum(0)
    each = (error * known).sum(0) / counts.clamp(min=1)
    return each[counts > 0].mean() if bool((counts > 0).any()) else each.sum()


def _turned(values: Tensor, mask: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Both, with the axes in another order and some of them mirrored."""
    order = [0, 1, *(int(axis) + 2 for axis in generator.permutation(3))]
    values, mask = values.permute(order), mask.permute(order)
    flipped = [axis for axis in (2, 3, 4) if generator.random() < 0.5]
    # Mirrored, a small cell lies at the other end of the batch's volume, and so does its mask.
    return (values.flip(flipped), mask.flip(flipped)) if flipped else (values, mask)
