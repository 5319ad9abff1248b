"""The network that guesses the coefficients of a difference density, in torch, for training.

`inference` is the same in numpy. The network is equivariant by construction. It knows an atom by scalars, and by sums
over neighbours of spherical harmonics with scalar factors. Products are those of functions on the sphere, point by
point, on a quadrature that is exact for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .architecture import L_MESSAGE, L_PRODUCT, POINTS, SUM_SCALE, Configuration, waves
from .graph import Graph, padded
from .harmonics import BLOCKS, L_MAX, quadrature, rotation_matrices, spherical_harmonics


@dataclass(frozen=True, eq=False)
class Inputs:
    """A graph as tensors. Neighbours are padded to the same number for each atom.

    elements: (u,) rows of the element table, of unequal atoms. equal, turns: (a,), (a, 25, 25) as in `Graph`.
    neighbours: (u, k) atoms. waves: (u, k, waves), zero where padded. angles: (u, k, 25).
    share: (u,) the share of all atoms of the crystal that are equal to this one.
    """

    elements: Tensor
    equal: Tensor
    turns: Tensor
    neighbours: Tensor
    waves: Tensor
    angles: Tensor
    share: Tensor


def inputs(edges: Graph, table: Sequence[int], configuration: Configuration) -> Inputs:
    """A graph as the network takes it. table: the atomic numbers that the network knows, ascending."""
    neighbours, vectors, there = padded(edges, configuration.reach)
    lengths = np.linalg.norm(vectors, axis=-1)
    radial = waves(lengths, configuration.waves, configuration.reach) * there[..., None]
    share = np.bincount(edges.equal, minlength=len(edges.unique)) / len(edges.equal)

    def single(values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values, np.float32))

    return Inputs(
        elements=torch.as_tensor(np.searchsorted(table, edges.numbers[edges.unique])),
        equal=torch.as_tensor(edges.equal),
        turns=single(rotation_matrices(edges.turns)),
        neighbours=torch.as_tensor(neighbours),
        waves=single(radial),
        angles=single(spherical_harmonics(vectors / lengths[..., None])),
        share=single(share),
    )


def together(parts: Sequence[Inputs]) -> tuple[Inputs, Tensor]:
    """(several crystals as one, the crystal of each unequal atom (u,))."""
    most = max(p.neighbours.shape[1] for p in parts)
    atoms = np.cumsum([0] + [len(p.equal) for p in parts])
    unique = np.cumsum([0] + [len(p.elements) for p in parts])

    def stretched(name: str) -> list[Tensor]:
        found = [getattr(p, name) for p in parts]
        return [
            functional.pad(t, [0, 0] * (t.dim() - 2) + [0, most - t.shape[1]]) if t.shape[1] < most else t
            for t in found
        ]

    crystal = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(p.elements) for p in parts]))
    neighbours = [t + int(start) for t, start in zip(stretched("neighbours"), atoms, strict=False)]
    joined = Inputs(
        elements=torch.cat([p.elements for p in parts]),
        equal=torch.cat([p.equal + int(start) for p, start in zip(parts, unique, strict=False)]),
        turns=torch.cat([p.turns for p in parts]),
        neighbours=torch.cat(neighbours),
        waves=torch.cat(stretched("waves")),
        angles=torch.cat(stretched("angles")),
        share=torch.cat([p.share for p in parts]),
    )
    return joined, crystal


class Perceptron(nn.Module):
    """A network of two hidden layers, with dropout on the second."""

    def __init__(self, inside: int, width: int, outside: int, small: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inside, width), nn.Linear(width, width)
        self.last = nn.Linear(width, outside)
        if small:
            nn.init.zeros_(self.last.bias)
            self.last.weight.data *= 0.1

    def forward(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        x = functional.silu(self.second(functional.silu(self.first(x))))
        return self.last(functional.dropout(x, dropout, self.training))


class Layer(nn.Module):
    """One round of messages. It gives functions on the sphere about each atom, and changes the atom's scalars."""

    def __init__(self, c: Configuration, first: bool) -> None:
        super().__init__()
        n, k = c.channels, c.carried
        self.radial = nn.Linear(c.waves, (L_MAX + 1) * n, bias=False)
        self.source = nn.Linear(c.width, n)
        self.gate = nn.Linear(c.width, (L_MAX + 1) * n)
        self.left = nn.Parameter(torch.randn(L_MAX, n, n) / math.sqrt(n))
        self.right = nn.Parameter(torch.randn(L_MAX, n, n) / math.sqrt(n))
        self.update = Perceptron(2 * c.width + (L_MAX + 1) * n, c.width, c.width, small=True)
        self.carries = not first and k > 0
        if self.carries:
            self.carry = nn.Parameter(torch.randn(L_MESSAGE + 1, k, n) / math.sqrt(n))
            self.carry_gate = nn.Linear(c.width, (L_MESSAGE + 1) * k)
            self.carried = nn.Linear(c.waves, (L_MESSAGE + 1) * k, bias=False)
            self.spread = nn.Parameter(torch.randn(L_MESSAGE + 1, n, k) / math.sqrt(k))

    def forward(self, h: Tensor, before: list[Tensor], x: Inputs, pool: Any, dropout: float) -> tuple[Tensor, list]:
        count, near = x.neighbours.shape
        near_by = x.neighbours.flatten()
        source = self.source(h).index_select(0, x.equal[near_by]).view(count, near, -1)
        weight = self.radial(x.waves).view(count, near, L_MAX + 1, -1) * source[:, :, None, :]
        gate = (1 + self.gate(h)).view(count, L_MAX + 1, -1, 1).unbind(1)
        sphere = [torch.bmm(weight[:, :, ell].transpose(1, 2), x.angles[:, :, BLOCKS[ell]]) for ell in range(L_MAX + 1)]
        if self.carries:
            moved = self.carried(x.waves).view(count, near, L_MESSAGE + 1, -1)
            opened = (1 + self.carry_gate(h)).view(count, L_MESSAGE + 1, -1, 1)
            for ell in range(L_MESSAGE + 1):
                own = (self.carry[ell] @ before[ell]) * opened[:, ell]
                turned = own.index_select(0, x.equal) @ x.turns[:, BLOCKS[ell], BLOCKS[ell]].transpose(1, 2)
                there = turned.index_select(0, near_by).view(count, near, *turned.shape[1:])
                arrived = (moved[:, :, ell, :, None] * there).sum(1)
                sphere[ell] = sphere[ell] + self.spread[ell] @ arrived
        sphere = [SUM_SCALE * s * g for s, g in zip(sphere, gate, strict=True)]
        invariants = [sphere[0][:, :, 0]]
        for ell in range(1, L_MAX + 1):
            invariants.append(((self.left[ell - 1] @ sphere[ell]) * (self.right[ell - 1] @ sphere[ell])).sum(-1))
        return h + self.update(torch.cat([h, pool(h), *invariants], 1), dropout), sphere


class Network(nn.Module):
    """Graphs to coefficients (atoms, count, 25).

    known: atomic numbers, ascending. properties: (elements, p), see `properties.table`.
    """

    properties: Tensor
    to_points: Tensor
    from_points: Tensor

    def __init__(self, configuration: Configuration, known: Sequence[int], properties: Tensor) -> None:
        super().__init__()
        c = self.configuration = configuration
        self.known = tuple(int(number) for number in known)
        self.register_buffer("properties", properties)
        self.embedding = nn.Parameter(0.3 * torch.randn(len(known), c.width))
        self.described = Perceptron(properties.shape[1], c.width, c.width)
        self.layers = nn.ModuleList([Layer(c, first=t == 0) for t in range(c.layers)])
        points, weights = quadrature(*POINTS)
        harmonics = spherical_harmonics(points)
        functions = (L_PRODUCT + 1) ** 2
        dtype = torch.float32
        self.register_buffer(
            "to_points", torch.tensor(harmonics[:, :functions].T.copy(), dtype=dtype), persistent=False
        )
        self.register_buffer("from_points", torch.tensor(harmonics * weights[:, None], dtype=dtype), persistent=False)
        total = c.layers * c.channels
        self.factors = nn.Parameter(torch.randn(L_PRODUCT + 1, 2 * c.channels, total) / math.sqrt(total))
        self.gate = Perceptron(2 * c.width, c.width, (L_MAX + 1) * (total + c.channels))
        self.out = nn.Parameter(0.1 * torch.randn(L_MAX + 1, c.count, total + c.channels) / math.sqrt(total))
        self.round = Perceptron(2 * c.width, c.width, c.count, small=True)
        self.element_scale = nn.Parameter(torch.ones(len(known), L_MAX + 1, c.count))

    def forward(self, x: Inputs, crystal: Tensor, crystals: int, dropout: float = 0.0) -> Tensor:
        c = self.configuration

        def pool(h: Tensor) -> Tensor:
            mean = h.new_zeros(crystals, h.shape[1]).index_add(0, crystal, h * x.share[:, None])
            return mean.index_select(0, crystal)

        h = (self.embedding + self.described(self.properties)).index_select(0, x.elements)
        sphere: list[Tensor] = []
        every: list[list[Tensor]] = []
        for layer in self.layers:
            h, sphere = layer(h, sphere, x, pool, dropout)
            every.append(sphere)
        features = [torch.cat([s[ell] for s in every], 1) for ell in range(L_MAX + 1)]
        factors = torch.cat([self.factors[ell] @ features[ell] for ell in range(L_PRODUCT + 1)], 2) @ self.to_points
        product = (factors[:, : c.channels] * factors[:, c.channels :]) @ self.from_points
        both = torch.cat([h, pool(h)], 1)
        gate = self.gate(both, dropout).view(len(h), L_MAX + 1, -1, 1)
        scale = self.element_scale.index_select(0, x.elements)[..., None]
        result = []
        for ell in range(L_MAX + 1):
            joined = torch.cat([features[ell], product[:, :, BLOCKS[ell]]], 1)
            value = self.out[ell] @ (joined * gate[:, ell])
            if ell == 0:
                value = value + self.round(both, dropout)[:, :, None]
            value = (value * scale[:, ell]).index_select(0, x.equal)
            result.append(value @ x.turns[:, BLOCKS[ell], BLOCKS[ell]].transpose(1, 2))
        return torch.cat(result, 2)
