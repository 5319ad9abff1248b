"""The network of difference densities in numpy: the same as `network`, in double precision and without symmetry.

Messages are summed for some atoms at a time, so that memory stays bounded for any number of atoms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from .architecture import L_MESSAGE, L_PRODUCT, POINTS, SUM_SCALE, Configuration, waves
from .graph import Graph, padded
from .harmonics import BLOCKS, COUNT, L_MAX, quadrature, spherical_harmonics

Weights = Mapping[str, np.ndarray]
_AT_ONCE = 128  # atoms


def coefficients(weights: Weights, configuration: Configuration, elements: np.ndarray, edges: Graph) -> np.ndarray:
    """Coefficients of the functions of `basis` on each atom, (atoms, count, 25).

    weights: of a `Network`, by the names of its parameters, and `properties`; in double precision.
    elements: (atoms,) rows of the element table. edges: a graph in which all atoms are unequal.
    """
    h, spheres = _layers(weights, configuration, elements, edges)
    return _read_out(weights, configuration, elements, h, spheres)


def features(weights: Weights, configuration: Configuration, elements: np.ndarray, edges: Graph) -> list[np.ndarray]:
    """What the network knows of each atom before it says coefficients: for each l to 4 functions that turn as Y_lm,
    (atoms, (layers + 1) * channels, 2 l + 1). Arguments as of `coefficients`."""
    h, spheres = _layers(weights, configuration, elements, edges)
    gates = _gates(weights, configuration, h)
    parts = [list(_gated(weights, configuration, spheres, gates, part)) for part in _parts(len(h))]
    return [np.concatenate(of_degree) for of_degree in zip(*parts, strict=True)]


def _parts(count: int) -> list[slice]:
    return [slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE)]


def _layers(weights: Weights, c: Configuration, elements: np.ndarray, edges: Graph) -> tuple[np.ndarray, np.ndarray]:
    """(scalars (atoms, width), functions on the sphere of all layers (atoms, layers * channels, 25)) of each atom."""
    table = weights["embedding"] + _perceptron(weights, "described", weights["properties"])
    h = table[elements]
    neighbours, vectors, there = padded(edges, c.reach)
    lengths = np.linalg.norm(vectors, axis=-1)
    parts = _parts(len(h))
    every: list[np.ndarray] = []
    for t in range(c.layers):
        layer = f"layers.{t}."
        source = _linear(weights, layer + "source", h)
        carried = _carried(weights, layer, c, h, every[-1]) if t and c.carried else None
        sphere = np.empty((len(h), c.channels, COUNT))
        for part in parts:
            radial = waves(lengths[part], c.waves, c.reach) * there[part][..., None]
            angles = spherical_harmonics(vectors[part] / lengths[part][..., None])
            near = neighbours[part]
            weight = (radial @ weights[layer + "radial.weight"].T).reshape(*near.shape, L_MAX + 1, c.channels)
            weight *= source[near][:, :, None, :]
            for ell, block in enumerate(BLOCKS):
                sphere[part, :, block] = weight[:, :, ell].transpose(0, 2, 1) @ angles[:, :, block]
            if carried is not None:
                moved = (radial @ weights[layer + "carried.weight"].T).reshape(*near.shape, L_MESSAGE + 1, c.carried)
                for ell in range(L_MESSAGE + 1):
                    arrived = np.einsum("akc,akcm->acm", moved[:, :, ell], carried[near][..., BLOCKS[ell]])
                    sphere[part, :, BLOCKS[ell]] += weights[layer + "spread"][ell] @ arrived
        gate = 1 + _linear(weights, layer + "gate", h).reshape(len(h), L_MAX + 1, c.channels)
        for ell, block in enumerate(BLOCKS):
            sphere[:, :, block] *= SUM_SCALE * gate[:, ell, :, None]
        invariants = [sphere[:, :, 0]]
        for ell in range(1, L_MAX + 1):
            block = BLOCKS[ell]
            left, right = (weights[layer + side][ell - 1] @ sphere[:, :, block] for side in ("left", "right"))
            invariants.append((left * right).sum(-1))
        h = h + _perceptron(weights, layer + "update", np.concatenate([h, _mean(h), *invariants], axis=1))
        every.append(sphere)
    return h, np.concatenate(every, axis=1)


def _carried(weights: Weights, layer: str, c: Configuration, h: np.ndarray, before: np.ndarray) -> np.ndarray:
    """What messages carry from each atom, (atoms, carried, 9)."""
    opened = 1 + _linear(weights, layer + "carry_gate", h).reshape(len(h), L_MESSAGE + 1, c.carried)
    return np.concatenate(
        [
            (weights[layer + "carry"][ell] @ before[:, :, BLOCKS[ell]]) * opened[:, ell, :, None]
            for ell in range(L_MESSAGE + 1)
        ],
        axis=2,
    )


def _read_out(
    weights: Weights, c: Configuration, elements: np.ndarray, h: np.ndarray, spheres: np.ndarray
) -> np.ndarray:
    """The coefficients of each atom from what the layers found, (atoms, layers * channels, 25)."""
    gates = _gates(weights, c, h)
    alone = _perceptron(weights, "round", np.concatenate([h, _mean(h)], axis=1))
    scale = weights["element_scale"][elements]
    found = np.empty((len(h), c.count, COUNT))
    for part in _parts(len(h)):
        for ell, functions in enumerate(_gated(weights, c, spheres, gates, part)):
            value = weights["out"][ell] @ functions
            if ell == 0:
                value = value + alone[part, :, None]
            found[part, :, BLOCKS[ell]] = value * scale[part, ell, :, None]
    return found


def _gates(weights: Weights, c: Configuration, h: np.ndarray) -> np.ndarray:
    """(atoms, 5, (layers + 1) * channels, 1) factors of the functions on the sphere."""
    gates = _perceptron(weights, "gate", np.concatenate([h, _mean(h)], axis=1))
    return gates.reshape(len(h), L_MAX + 1, -1, 1)


def _gated(
    weights: Weights, c: Configuration, spheres: np.ndarray, gates: np.ndarray, part: slice
) -> Iterator[np.ndarray]:
    """Functions of some atoms and their products, times their gates, one l after the other."""
    points, share = quadrature(*POINTS)
    harmonics = spherical_harmonics(points)
    to_points, from_points = harmonics[:, : (L_PRODUCT + 1) ** 2].T, harmonics * share[:, None]
    own = spheres[part]
    factors = np.concatenate([weights["factors"][ell] @ own[:, :, BLOCKS[ell]] for ell in range(L_PRODUCT + 1)], axis=2)
    values = factors @ to_points
    product = (values[:, : c.channels] * values[:, c.channels :]) @ from_points
    for ell, block in enumerate(BLOCKS):
        yield np.concatenate([own[:, :, block], product[:, :, block]], axis=1) * gates[part, ell]


def _linear(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _perceptron(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    for step in ("first", "second"):
        x = _linear(weights, f"{name}.{step}", x)
        x = x / (1 + np.exp(-x))  # SiLU
    return _linear(weights, f"{name}.last", x)


def _mean(h: np.ndarray) -> np.ndarray:
    return np.broadcast_to(h.mean(axis=0), h.shape)
