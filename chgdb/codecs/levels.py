"""What is coded of augmentation occupancies: kinds of atoms, parts, orbits, and the levels of each.

The numbers of a *part* (the total, say) of a *kind* of atoms are coded orbit by orbit. An orbit has as many levels as
its site leaves numbers free. `layout_search` finds by which operations the numbers turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .frame import quantisation_step
from .layouts import Layout, Turning, invariants, places, without_traces

if TYPE_CHECKING:
    from .occupancies import Occupancies

_PREDICTED = 8  # levels of the atom before predict the next ones from this size on


@dataclass(frozen=True)
class Kind:
    """Atoms of one element that have the same count of numbers. layout: None where it is not known."""

    count: int
    atoms: tuple[int, ...]
    layout: Layout | None = None


@dataclass(frozen=True)
class Part:
    """Channels that are coded together: the total, or all components of a magnetisation, or their imaginary parts."""

    channels: tuple[int, ...]
    imaginary: bool

    @property
    def axial(self) -> bool:
        return len(self.channels) == 3

    def values(self, occupancies: Occupancies, kind: Kind) -> np.ndarray:
        """The numbers of a kind's atoms, (atoms, components, numbers)."""
        source = occupancies.imaginary if self.imaginary else occupancies.real
        return np.array([[source[c][atom] for c in self.channels] for atom in kind.atoms]).reshape(
            len(kind.atoms), len(self.channels), kind.count
        )


def parts_of(channels: int, imaginary: bool) -> list[Part]:
    sets = [(0,), tuple(range(1, channels))] if channels > 1 else [(0,)]
    return [Part(chosen, part) for chosen in sets for part in ((False, True) if imaginary else (False,))]


@dataclass(frozen=True, eq=False)
class Orbit:
    """Equivalent atoms, as indices in their kind.

    terms: for each L the places of its numbers, the basis of their free part, and the matrix onto each atom.
    """

    atoms: list[int]
    terms: list[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]

    @property
    def big(self) -> int:
        """How many of the first numbers do not turn at all."""
        place, basis, _ = self.terms[0]
        return len(place) * basis.shape[1] if place.shape[1] == 1 else 0

    @property
    def size(self) -> int:
        """How many numbers are free."""
        return sum(len(place) * basis.shape[1] for place, basis, _ in self.terms)

    def analyse(self, values: np.ndarray) -> np.ndarray:
        """The free numbers nearest to the numbers of all atoms. values: (atoms of the kind, components, numbers)."""
        found = []
        for place, basis, matrices in self.terms:
            turned = np.zeros((len(place), len(basis)))
            for atom, matrix in zip(self.atoms, matrices, strict=True):
                turned += blocks_of(values[atom], place) @ matrix
            weights = basis / np.maximum((basis**2).sum(axis=0), 1e-300)
            found.append((turned / len(self.atoms) @ weights).reshape(-1))
        return np.concatenate(found)

    def synthesise(self, free: np.ndarray, values: np.ndarray) -> None:
        """Put the values that the free numbers stand for into the values of all atoms."""
        start = 0
        for place, basis, matrices in self.terms:
            size = len(place) * basis.shape[1]
            own = free[start : start + size].reshape(len(place), -1) @ basis.T
            start += size
            for atom, matrix in zip(self.atoms, matrices, strict=True):
                turned = (own @ matrix.T).reshape(len(place), values.shape[1], -1)
                values[atom][:, place] = turned.transpose(1, 0, 2)


def blocks_of(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The numbers of one atom by blocks, (blocks, components times 2L + 1). values: (components, numbers)."""
    return values[:, place].transpose(1, 0, 2).reshape(len(place), -1)


def _orbits(kind: Kind, turning: Turning) -> list[Orbit]:
    """The orbits of a kind. Raises `CodecError` if an operation takes an atom to one of another kind."""
    assert kind.layout is not None
    index = {atom: i for i, atom in enumerate(kind.atoms)}
    found = []
    for members in turning.orbits(kind.atoms):
        terms = []
        for ell, place in places(kind.layout).items():
            basis = invariants(turning.onto(members[0], members[0], ell))
            terms.append((place, basis, [turning.onto(members[0], atom, ell) for atom in members]))
        found.append(Orbit([index[atom] for atom in members], terms))
    return found


@dataclass(frozen=True)
class Alone:
    """An atom by itself, as an index in its kind. Every number is free; the components of a number stand together."""

    atom: int

    def analyse(self, values: np.ndarray) -> np.ndarray:
        return values[self.atom].T.reshape(-1)

    def synthesise(self, free: np.ndarray, values: np.ndarray) -> None:
        values[self.atom] = free.reshape(values.shape[:0:-1]).T


@dataclass
class Coded:
    """The levels of a kind in one part, orbit by orbit, and which of them are big."""

    orbits: Sequence[Orbit | Alone]
    step: int = -1  # code; -1 where all levels are zero
    levels: list[np.ndarray] = field(default_factory=list)
    big: list[np.ndarray] = field(default_factory=list)
    mapped: bool = False
    predicted: bool = False

    def decoded(self, shape: tuple[int, ...]) -> np.ndarray:
        values = np.zeros(shape)
        if self.step >= 0:
            step = quantisation_step(self.step)
            for orbit, levels in zip(self.orbits, self.levels, strict=True):
                orbit.synthesise(levels * step, values)
            values = without_traces(values, step)
        return values


def is_plain(part: Part, kind: Kind) -> bool:
    """Whether the numbers are coded as they are.

    VASP packs imaginary parts, which are antisymmetric in the channels, into the places of symmetric ones: they turn in
    another way.
    """
    return kind.layout is None or part.imaginary


def all_orbits(part: Part, kind: Kind, turning: Turning) -> Sequence[Orbit | Alone]:
    if is_plain(part, kind):
        return [Alone(i) for i in range(len(kind.atoms))]
    return _orbits(kind, turning)


def unturned(orbits: Sequence[Orbit | Alone], levels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Which levels of each orbit belong to L = 0."""
    return [
        np.arange(len(own)) < (orbit.big if isinstance(orbit, Orbit) else 0)
        for orbit, own in zip(orbits, levels, strict=True)
    ]


def predictions(levels: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """For each orbit the big levels of the orbit before it, where these are large."""
    before = np.zeros(0, np.int64)
    for own in levels:
        yield guess(before, len(own))
        before = own


def guess(before: np.ndarray, size: int) -> np.ndarray:
    if len(before) != size:
        return np.zeros(size, np.int64)
    return np.where(np.abs(before) >= _PREDICTED, before, 0)
