"""Augmentation occupancies as numbers, with as few numbers as the symmetry allows.

    occupancies -> channels of the PAW sets (`layouts`), found by trying which turn as the symmetry demands
                -> the numbers that the site symmetry leaves free, of one atom of each orbit
                -> uniform quantisation; the step is found by measuring the largest error
                -> adaptive range coder (`entropy`)

Where no list of channels turns as the symmetry demands, all numbers of an atom are quantised as they are.
`docs/format.md` specifies every bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby

import numpy as np

from ..density import Crystal
from ..errors import CodecError
from ..limits import most_unfolded
from ..symmetry import SpaceGroup, find
from .bits import BitReader, BitWriter
from .entropy import INITIAL_SCALES, RangeDecoder, RangeEncoder, choose_lanes, initial_scale
from .frame import STEP_BITS, quantisation_step, step_code
from .groups import read_group, same_group, write_group
from .layouts import MOST_CHANNELS, Layout, Turning, candidates, count_of, invariants, places, without_traces

#: Occupancies below this are noise: no tolerance of an atom is smaller than the same part of this number.
NOISE = 1e-9
#: Part of the tolerance by which a symmetry operation may miss the numbers.
_MISSED = 0.7
_PREDICTED = 8  # levels of the atom before predict the next ones from this size on
_BIG = 4  # largest level that counts as small
_MOST_NUMBERS = 9999  # what the four columns of VASP's number hold
_MOST_IMAGES = 30_000_000  # largest number of operations times pairs of atoms that is tried
_STEPS = 5 * 16  # number of finer steps that are tried before a layout is given up


@dataclass(frozen=True)
class Occupancies:
    """(channels, atoms) arrays of any length. imaginary: () where there are no imaginary parts."""

    real: tuple[tuple[np.ndarray, ...], ...]
    imaginary: tuple[tuple[np.ndarray, ...], ...] = ()

    def largest(self) -> np.ndarray:
        """The largest number of each atom, (2, atoms): in the total, and in all components of the magnetisation."""
        n_atoms = len(self.real[0])
        found = np.zeros((2, n_atoms))
        for parts in (self.real, self.imaginary):
            for channel, atoms in enumerate(parts):
                sizes = [float(np.abs(values).max(initial=0.0)) for values in atoms]
                np.maximum(found[min(channel, 1)], sizes, out=found[min(channel, 1)])
        return found


def error(original: Occupancies, other: Occupancies) -> float:
    """Largest difference, relative to the largest number of its atom and channel (total, or magnetisation).

    For an atom without a number above `NOISE`, the difference is relative to `NOISE`. Infinity where shapes differ.
    """
    shapes = [[[len(v) for v in atoms] for part in (o.real, o.imaginary) for atoms in part] for o in (original, other)]
    if shapes[0] != shapes[1]:
        return float("inf")
    scale, worst = np.maximum(original.largest(), NOISE), 0.0
    for one, two in ((original.real, other.real), (original.imaginary, other.imaginary)):
        for channel, (before, after) in enumerate(zip(one, two, strict=True)):
            for atom, (a, b) in enumerate(zip(before, after, strict=True)):
                worst = max(worst, float(np.abs(a - b).max(initial=0.0)) / scale[min(channel, 1), atom])
    return worst


@dataclass(frozen=True)
class _Kind:
    """Atoms of one element that have the same count of numbers. layout: None where it is not known."""

    count: int
    atoms: tuple[int, ...]
    layout: Layout | None = None


@dataclass(frozen=True)
class _Part:
    """Channels that are coded together: the total, or all components of a magnetisation, or their imaginary parts."""

    channels: tuple[int, ...]
    imaginary: bool

    @property
    def axial(self) -> bool:
        return len(self.channels) == 3

    def values(self, occupancies: Occupancies, kind: _Kind) -> np.ndarray:
        """The numbers of a kind's atoms, (atoms, components, numbers)."""
        source = occupancies.imaginary if self.imaginary else occupancies.real
        return np.array([[source[c][atom] for c in self.channels] for atom in kind.atoms]).reshape(
            len(kind.atoms), len(self.channels), kind.count
        )


def _parts(channels: int, imaginary: bool) -> list[_Part]:
    sets = [(0,), tuple(range(1, channels))] if channels > 1 else [(0,)]
    return [_Part(chosen, part) for chosen in sets for part in ((False, True) if imaginary else (False,))]


@dataclass(frozen=True, eq=False)
class _Orbit:
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
                turned += _blocks(values[atom], place) @ matrix
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


def _blocks(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The numbers of one atom by blocks, (blocks, components times 2L + 1). values: (components, numbers)."""
    return values[:, place].transpose(1, 0, 2).reshape(len(place), -1)


def _orbits(kind: _Kind, turning: Turning) -> list[_Orbit]:
    """The orbits of a kind. Raises `CodecError` where an operation takes an atom to one of another kind."""
    assert kind.layout is not None
    index = {atom: i for i, atom in enumerate(kind.atoms)}
    found = []
    for members in turning.orbits(kind.atoms):
        terms = []
        for ell, place in places(kind.layout).items():
            basis = invariants(turning.onto(members[0], members[0], ell))
            terms.append((place, basis, [turning.onto(members[0], atom, ell) for atom in members]))
        found.append(_Orbit([index[atom] for atom in members], terms))
    return found


@dataclass(frozen=True)
class _Alone:
    """An atom by itself, as an index in its kind. Every number is free; the components of a number stand together."""

    atom: int

    def analyse(self, values: np.ndarray) -> np.ndarray:
        return values[self.atom].T.reshape(-1)

    def synthesise(self, free: np.ndarray, values: np.ndarray) -> None:
        values[self.atom] = free.reshape(values.shape[:0:-1]).T


@dataclass
class _Coded:
    """The levels of a kind in one part, orbit by orbit, and which of them are big."""

    orbits: Sequence[_Orbit | _Alone]
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


def _is_plain(part: _Part, kind: _Kind) -> bool:
    """Whether the numbers are coded as they are.

    VASP packs imaginary parts, which are antisymmetric in the channels, into the places of symmetric ones: they turn in
    another way.
    """
    return kind.layout is None or part.imaginary


def _all_orbits(part: _Part, kind: _Kind, turning: Turning) -> Sequence[_Orbit | _Alone]:
    if _is_plain(part, kind):
        return [_Alone(i) for i in range(len(kind.atoms))]
    return _orbits(kind, turning)


def _unturned(orbits: Sequence[_Orbit | _Alone], levels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Which levels of each orbit belong to L = 0."""
    return [
        np.arange(len(own)) < (orbit.big if isinstance(orbit, _Orbit) else 0)
        for orbit, own in zip(orbits, levels, strict=True)
    ]


def _predictions(levels: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """For each orbit the big levels of the orbit before it, where these are large."""
    before = np.zeros(0, np.int64)
    for own in levels:
        yield _guess(before, len(own))
        before = own


def _guess(before: np.ndarray, size: int) -> np.ndarray:
    if len(before) != size:
        return np.zeros(size, np.int64)
    return np.where(np.abs(before) >= _PREDICTED, before, 0)


# --- encoding --------------------------------------------------------------------------------------------------------


def write(
    out: BitWriter, occupancies: Occupancies, crystal: Crystal, tolerance: float, groups: Sequence[SpaceGroup]
) -> bytes:
    """Append the head to a bit stream. Returns the coder's bytes, which must be the last ones of the whole.

    groups: those of the payload's first and last channel, which a decoder knows already.
    Raises `CodecError` where the numbers are beyond the coder.
    """
    bounds = np.maximum(occupancies.largest(), NOISE) * tolerance
    counts = [len(values) for values in occupancies.real[0]]
    if max(counts) > _MOST_NUMBERS or not counts:
        raise CodecError("more augmentation occupancies than VASP prints")
    parts = _parts(len(occupancies.real), bool(occupancies.imaginary))
    kinds = [_Kind(count, tuple(atoms)) for (_, count), atoms in _sorted_atoms(crystal, counts).items()]
    search = _Search(occupancies, crystal, bounds, groups)
    chosen = search.total(parts[0], kinds)
    kinds = chosen.kinds
    turnings = {parts[0]: chosen}
    for part in parts[1:]:
        turnings[part] = _Choice(0, SpaceGroup.trivial(), kinds) if part.imaginary else search.rest(part, chosen)
    while True:
        coded = {
            part: [_quantised(part, kind, turnings[part], crystal, occupancies, bounds) for kind in kinds]
            for part in parts
        }
        failed = {i for row in coded.values() for i, one in enumerate(row) if one is None}
        if not failed:
            break
        kinds = [replace(kind, layout=None) if i in failed else kind for i, kind in enumerate(kinds)]
    _write_kinds(out, crystal, counts, kinds)
    out.write(int(len(parts) > len({part.channels for part in parts})), 1)
    if any(kind.layout for kind in kinds):
        out.write(int(chosen.opposite), 1)
        for part in parts:
            if not part.imaginary:
                out.write(turnings[part].code, 2)
                if turnings[part].code == _OWN:
                    write_group(out, turnings[part].group)
    return _write_levels(out, parts, {part: [one for one in row if one] for part, row in coded.items()})


def _sorted_atoms(crystal: Crystal, counts: Sequence[int]) -> dict[tuple[int, int], list[int]]:
    found: dict[tuple[int, int], list[int]] = {}
    for atom, (number, count) in enumerate(zip(crystal.numbers.tolist(), counts, strict=True)):
        found.setdefault((number, count), []).append(atom)
    return found


_OWN = 3


@dataclass(frozen=True, eq=False)
class _Choice:
    """The group of a part. code: 0 none, 1 and 2 a group of the payload, 3 a group of its own."""

    code: int
    group: SpaceGroup
    kinds: list[_Kind]
    opposite: bool = False

    @cached_property
    def _turnings(self) -> dict[bool, Turning]:
        return {}

    def turning(self, part: _Part, crystal: Crystal) -> Turning:
        if part.axial not in self._turnings:
            self._turnings[part.axial] = Turning(self.group, crystal, part.axial, self.opposite)
        return self._turnings[part.axial]

    def cost(self, part: _Part, crystal: Crystal) -> float:
        """A rough number of bits."""
        turning = self.turning(part, crystal)
        bits = 0.0
        if self.code == _OWN:
            own = BitWriter()
            write_group(own, self.group)
            bits = len(own)
        for kind in self.kinds:
            if kind.layout is None:
                bits += 4 * len(kind.atoms) * kind.count * len(part.channels)
                continue
            for members in turning.orbits(kind.atoms):
                for ell, place in places(kind.layout).items():
                    free = round(float(np.trace(turning.onto(members[0], members[0], ell))))
                    bits += (9 if ell == 0 else 2) * free * len(place)
        return bits


class _Search:
    """The search for groups and layouts by which the numbers turn."""

    def __init__(
        self, occupancies: Occupancies, crystal: Crystal, bounds: np.ndarray, groups: Sequence[SpaceGroup]
    ) -> None:
        self.occupancies, self.crystal, self.bounds = occupancies, crystal, bounds
        self.groups: list[tuple[int, SpaceGroup]] = []
        pairs = len(crystal) ** 2
        for code, group in [*enumerate(groups[:2], 1), (_OWN, find(crystal))]:
            fits = len(group) > 1 and len(group) * pairs <= _MOST_IMAGES
            if fits and (code == _OWN or not any(same_group(group, other) for _, other in self.groups)):
                self.groups.append((code, group))

    def total(self, part: _Part, kinds: list[_Kind]) -> _Choice:
        """Group and layouts, chosen by the first part."""
        choices, whole = [_Choice(0, SpaceGroup.trivial(), kinds)], 0
        for code, group in self.groups:
            if len(group) <= whole:
                continue
            for opposite in (False, True):
                choice = self._first(part, kinds, _Choice(code, group, kinds, opposite))
                if any(kind.layout is not None for kind in choice.kinds):
                    choices.append(choice)
                if all(kind.layout is not None for kind in choice.kinds):
                    whole = len(choice.group)
                    break
        return min(choices, key=lambda choice: choice.cost(part, self.crystal))

    def _first(self, part: _Part, kinds: list[_Kind], choice: _Choice) -> _Choice:
        """The layouts for a group. A group of its own keeps only operations that turn the numbers."""
        if choice.code == _OWN:
            near = np.ones(len(choice.group), bool)
            for kind in kinds:
                layout, own = self._layout(part, kind, choice, whole=False)
                near &= own if layout is not None else True
            choice = replace(choice, group=choice.group.subgroup(near))
        if len(choice.group) == 1:
            return choice
        layouts = [self._layout(part, kind, choice, whole=True)[0] for kind in kinds]
        return replace(choice, kinds=[replace(k, layout=found) for k, found in zip(kinds, layouts, strict=True)])

    def rest(self, part: _Part, first: _Choice) -> _Choice:
        """The group of a magnetisation, with the signs of its operations. The layouts are known."""
        kinds, opposite = first.kinds, first.opposite
        turned = [kind for kind in kinds if kind.layout is not None]
        choices = [_Choice(0, SpaceGroup.trivial(), kinds, opposite)]
        for code, group in self.groups if turned else ():
            turning = Turning(group, self.crystal, part.axial, opposite)
            missed = np.max([self._missed(part, kind, turning) for kind in turned], axis=0)
            if code != _OWN:
                if (missed[np.arange(len(group)), group.flips] <= _MISSED).all():
                    choices.append(_Choice(code, group, kinds, opposite))
                continue
            flips = (missed[:, 1] < missed[:, 0]).astype(np.int64)
            near = missed.min(axis=1) <= _MISSED
            near[0], flips[0] = True, 0
            own = group.with_flips(flips).subgroup(near)
            if len(own) > 1:
                choices.append(_Choice(code, own, kinds, opposite))
        return min(choices, key=lambda choice: choice.cost(part, self.crystal))

    def _layout(self, part: _Part, kind: _Kind, choice: _Choice, whole: bool) -> tuple[Layout | None, np.ndarray]:
        """The layout that leaves the fewest numbers free, and the operations by which the numbers turn with it.

        None where the numbers turn by no operation but the identity. whole: only layouts that turn by all operations.
        """
        group = choice.group
        turning = choice.turning(part, self.crystal)
        best: tuple[int, Layout | None, np.ndarray] = (kind.count * len(kind.atoms), None, np.zeros(len(group), bool))
        turnings: dict[bytes, Turning] = {}
        for trial in self._promising(part, kind, choice, whole):
            near = self._near(part, trial, turning, whole)
            if near.sum() == 1 or (whole and not near.all()):
                continue
            if near.tobytes() not in turnings:
                own = replace(choice, group=group if near.all() else group.subgroup(near))
                turnings[near.tobytes()] = own.turning(part, self.crystal)
            free = _free(trial, turnings[near.tobytes()])
            if free < best[0]:
                best = free, trial.layout, near
        return best[1:]

    def _promising(self, part: _Part, kind: _Kind, choice: _Choice, whole: bool) -> list[_Kind]:
        """A kind with each layout that is worth trying with all operations.

        These are the layouts with which most generators of the group turn the numbers, or all layouts where that takes
        little time. whole: only layouts with which all generators turn them.
        """
        few = replace(choice, group=choice.group.generators()).turning(part, self.crystal)
        layouts = candidates(kind.count) if kind.count <= _MOST_SEARCHED else ()
        trials = [replace(kind, layout=layout) for layout in layouts]
        if not whole and len(trials) * len(choice.group) * len(kind.atoms) * kind.count <= _LITTLE:
            return trials
        turned = [int(self._near(part, trial, few, whole).sum()) for trial in trials]
        most = len(few.group) if whole else max(turned, default=0)
        return [trial for trial, number in zip(trials, turned, strict=True) if number == most]

    def _near(self, part: _Part, kind: _Kind, turning: Turning, whole: bool = False) -> np.ndarray:
        """The operations by which the numbers turn, with their flips, (operations,) bool.

        whole: the caller asks for all or none, so that the search ends with the first that fails.
        """
        near = np.ones(len(turning.group), bool)
        for missed in self._missed_by_degree(part, kind, turning, both=False):
            near &= missed[np.arange(len(missed)), turning.group.flips] <= _MISSED
            # The numbers always turn by the identity, which says nothing of a layout.
            if near.sum() <= turning.identities or (whole and not near.all()):
                break
        return near

    def _missed(self, part: _Part, kind: _Kind, turning: Turning) -> np.ndarray:
        """By how much each operation misses the numbers, in parts of the tolerance, (operations, 2).

        The first column is without, the second with a change of sign.
        """
        return np.max(list(self._missed_by_degree(part, kind, turning, both=True)), axis=0)

    def _missed_by_degree(self, part: _Part, kind: _Kind, turning: Turning, both: bool) -> Iterator[np.ndarray]:
        """`_missed` of the numbers of one L after the other.

        both: False computes only the column that the operation's flip asks for, and leaves the other at 0.
        """
        values = part.values(self.occupancies, kind)
        bounds = self.bounds[min(part.channels[0], 1)][list(kind.atoms)]
        index = np.full(len(self.crystal), -1)
        index[list(kind.atoms)] = np.arange(len(kind.atoms))
        images = index[turning.images[:, list(kind.atoms)]]
        strangers = (images < 0).any(axis=1)
        assert kind.layout is not None
        for ell, place in places(kind.layout).items():
            own = np.array([_blocks(atom, place) for atom in values])
            turned = np.einsum("nij,abj->nabi", turning.matrices(ell), own)
            there, limit = own[images], bounds[images][:, :, None, None]
            missed = np.zeros((len(images), 2))
            if both:
                for k, sign in enumerate((1, -1)):
                    missed[:, k] = (np.abs(there - sign * turned) / limit).max(axis=(1, 2, 3))
            else:
                worst = np.abs(there - turning.signs[:, None, None, None] * turned) / limit
                missed[np.arange(len(missed)), turning.group.flips] = worst.max(axis=(1, 2, 3))
            missed[strangers] = np.inf
            yield missed


_MOST_SEARCHED = 1600
_LITTLE = 4_000_000  # count of numbers that are turned in little time
_NUMBER = 15  # bytes of text that a number takes


def _free(kind: _Kind, turning: Turning) -> int:
    """How many numbers of all orbits are free."""
    assert kind.layout is not None
    ranks = {
        ell: sum(round(float(np.trace(turning.onto(o[0], o[0], ell)))) for o in turning.orbits(kind.atoms))
        for ell in places(kind.layout)
    }
    return sum(ranks[ell] * len(place) for ell, place in places(kind.layout).items())


def _quantised(
    part: _Part, kind: _Kind, choice: _Choice, crystal: Crystal, occupancies: Occupancies, bounds: np.ndarray
) -> _Coded | None:
    """The levels with the coarsest step whose errors are within the bounds. None where the symmetry misses them."""
    values = part.values(occupancies, kind)
    limits = bounds[min(part.channels[0], 1)][list(kind.atoms)]
    coded = _Coded(_all_orbits(part, kind, choice.turning(part, crystal)), mapped=_is_plain(part, kind))
    orbits = coded.orbits
    if not (np.abs(values).max(axis=(1, 2), initial=0.0) > limits).any():
        return coded
    free = [orbit.analyse(values) for orbit in orbits]
    first = step_code(2 * float(limits.min()))
    for code in range(first, first - _STEPS, -1):
        if not 0 <= code < 1 << STEP_BITS:
            break
        coded.step = code
        coded.levels = [np.rint(numbers / quantisation_step(code)).astype(np.int64) for numbers in free]
        if (np.abs(coded.decoded(values.shape) - values).max(axis=(1, 2)) <= limits).all():
            return _sorted_levels(coded)
    return None


def _sorted_levels(coded: _Coded) -> _Coded:
    if coded.mapped:
        big = np.abs(np.array(coded.levels)).max(axis=0) > _BIG
        coded.big = [big] * len(coded.levels)
    else:
        coded.big = _unturned(coded.orbits, coded.levels)
    large = [own[big] for own, big in zip(coded.levels, coded.big, strict=True)]
    less = [own - before for own, before in zip(large, _predictions(large), strict=True)]
    sizes = [sum(float(np.log2(1 + np.abs(own)).sum()) for own in rows) for rows in (less, large)]
    coded.predicted = sizes[0] < sizes[1]
    return coded


# --- the bits --------------------------------------------------------------------------------------------------------


def _runs(crystal: Crystal) -> list[tuple[int, int]]:
    """(first atom, number of atoms) of each run of one element."""
    found, start = [], 0
    for _, members in groupby(crystal.numbers.tolist()):
        size = len(list(members))
        found.append((start, size))
        start += size
    return found


def _write_kinds(out: BitWriter, crystal: Crystal, counts: Sequence[int], kinds: Sequence[_Kind]) -> None:
    layouts = {atom: kind.layout for kind in kinds for atom in kind.atoms}
    known: set[tuple[int, int]] = set()
    for first, size in _runs(crystal):
        start, end = first, first + size
        while start < end:
            stop = next((atom for atom in range(start, end) if counts[atom] != counts[start]), end)
            _write_kind(out, counts[start], layouts[start])
            out.write(int(stop == end), 1)
            if stop != end:
                out.write_gamma(stop - start - 1)
            known.add((int(crystal.numbers[start]), counts[start]))
            start = stop


def _write_kind(out: BitWriter, count: int, layout: Layout | None) -> None:
    out.write(int(layout is not None), 1)
    if layout is None:
        out.write_gamma(count)
        return
    out.write_gamma(len(layout) - 1)
    for ell in layout:
        out.write(ell, 2)


def _read_kinds(source: BitReader, crystal: Crystal) -> tuple[list[int], list[_Kind]]:
    counts: list[int] = []
    found: dict[tuple[int, int, Layout | None], list[int]] = {}
    for first, size in _runs(crystal):
        start, end = first, first + size
        while start < end:
            count, layout = _read_kind(source)
            stop = end if source.read(1) else start + source.read_gamma() + 1
            if stop > end:
                raise CodecError("the record holds occupancies of more atoms than it has: it is damaged")
            counts += [count] * (stop - start)
            found.setdefault((int(crystal.numbers[start]), count, layout), []).extend(range(start, stop))
            start = stop
    return counts, [_Kind(count, tuple(atoms), layout) for (_, count, layout), atoms in found.items()]


def _read_kind(source: BitReader) -> tuple[int, Layout | None]:
    if not source.read(1):
        count = source.read_gamma()
        layout = None
    else:
        channels = source.read_gamma() + 1
        if channels > MOST_CHANNELS:
            raise CodecError("the record holds an impossible set of PAW channels: it is damaged")
        layout = tuple(source.read(2) for _ in range(channels))
        count = count_of(layout)
    if count > _MOST_NUMBERS:
        raise CodecError("the record holds more occupancies than VASP prints: it is damaged")
    return count, layout


def _write_levels(out: BitWriter, parts: Sequence[_Part], coded: dict[_Part, list[_Coded]]) -> bytes:
    lanes = choose_lanes(sum(sum(map(len, one.levels)) for row in coded.values() for one in row))
    out.write(lanes, 2)
    coder = RangeEncoder(lanes)
    for part in parts:
        for one in coded[part]:
            out.write(int(one.step >= 0), 1)
            if one.step >= 0:
                out.write(one.step, STEP_BITS)
                if len(one.orbits) > 1:
                    out.write(int(one.predicted), 1)
        used = [one for one in coded[part] if one.step >= 0]
        maps = [one.big[0].astype(np.int64) for one in used if one.mapped]
        big, small = [], []
        for one in used:
            large = [own[chosen] for own, chosen in zip(one.levels, one.big, strict=True)]
            before = _predictions(large) if one.predicted else (np.zeros(len(own), np.int64) for own in large)
            big += [own - guess for own, guess in zip(large, before, strict=True)]
            small += [own[~chosen] for own, chosen in zip(one.levels, one.big, strict=True)]
        for pieces in (maps, big, small):
            values = np.concatenate([np.zeros(0, np.int64), *pieces])
            if len(values) or (maps and pieces is not maps):
                initial = initial_scale(values)
                out.write(initial, 6)
                coder.encode(values, np.zeros(len(values), np.int64), initial)
    return coder.finish()


def read(source: BitReader, data: bytes, crystal: Crystal, channels: int, groups: Sequence[SpaceGroup]) -> Occupancies:
    """The occupancies that `write` wrote.

    data: all bytes; the coder's bytes follow those that `source` reads. groups: as for `write`.
    Raises `CodecError` for damaged bytes.
    """
    counts, kinds = _read_kinds(source, crystal)
    if sum(counts) * channels * _NUMBER > most_unfolded(len(data)):
        raise CodecError("the record claims more occupancies than it can hold: it is damaged")
    parts = _parts(channels, bool(source.read(1)))
    opposite, chosen = False, dict.fromkeys(parts, SpaceGroup.trivial())
    if any(kind.layout for kind in kinds):
        opposite = bool(source.read(1))
        for part in parts:
            chosen[part] = SpaceGroup.trivial() if part.imaginary else _read_group(source, groups, crystal)
    lanes = source.read(2)
    heads = {
        part: _read_heads(source, part, kinds, Turning(chosen[part], crystal, part.axial, opposite)) for part in parts
    }
    coder = RangeDecoder(data[source.byte_position() :], lanes)
    arrays: dict[tuple[bool, int], list[np.ndarray]] = {}
    n_atoms = len(counts)
    for part in parts:
        coded, initials = heads[part]
        _read_levels(coder, part, kinds, coded, initials)
        for channel in part.channels:
            arrays[part.imaginary, channel] = [np.zeros(0)] * n_atoms
        for kind, one in zip(kinds, coded, strict=True):
            values = one.decoded((len(kind.atoms), len(part.channels), kind.count))
            for i, channel in enumerate(part.channels):
                for atom, own in zip(kind.atoms, values[:, i], strict=True):
                    arrays[part.imaginary, channel][atom] = own
    coder.close()
    whole = [
        tuple(tuple(arrays[imaginary, channel]) for channel in range(channels) if (imaginary, channel) in arrays)
        for imaginary in (False, True)
    ]
    return Occupancies(whole[0], whole[1])


def _read_group(source: BitReader, groups: Sequence[SpaceGroup], crystal: Crystal) -> SpaceGroup:
    code = source.read(2)
    if code == _OWN:
        group = read_group(source)
    elif code > len(groups):
        raise CodecError("the record names a group that its payload does not have: it is damaged")
    else:
        group = groups[code - 1] if code else SpaceGroup.trivial()
    if len(group) > 1 and len(group) * len(crystal) ** 2 > _MOST_IMAGES:
        raise CodecError("the record holds too many operations for its atoms: it is damaged")
    return group


def _sizes(part: _Part, kind: _Kind, orbits: Sequence[_Orbit | _Alone]) -> list[np.ndarray]:
    """An array of zeros for the levels of each orbit."""
    return [
        np.zeros(orbit.size if isinstance(orbit, _Orbit) else len(part.channels) * kind.count, np.int64)
        for orbit in orbits
    ]


def _read_heads(
    source: BitReader, part: _Part, kinds: Sequence[_Kind], turning: Turning
) -> tuple[list[_Coded], list[int | None]]:
    """What the head says of each kind, and the first scales of the three lists; None for a list that is not there."""
    coded = []
    for kind in kinds:
        if not source.read(1):
            coded.append(_Coded([]))
            continue
        step, orbits = source.read(STEP_BITS), _all_orbits(part, kind, turning)
        predicted = len(orbits) > 1 and bool(source.read(1))
        levels = _sizes(part, kind, orbits)
        big = _unturned(orbits, levels)
        coded.append(_Coded(orbits, step, levels, big, _is_plain(part, kind), predicted))
    mapped = any(one.mapped for one in coded)
    large = sum(int(chosen.sum()) for one in coded for chosen in one.big)
    small = sum(int((~chosen).sum()) for one in coded for chosen in one.big)
    initials = [source.read(6) if there or mapped else None for there in (mapped, large, small)]
    if any(initial is not None and initial >= INITIAL_SCALES for initial in initials):
        raise CodecError("the record holds an impossible number: it is damaged")
    return coded, initials


def _read_levels(
    coder: RangeDecoder, part: _Part, kinds: Sequence[_Kind], coded: Sequence[_Coded], initials: Sequence[int | None]
) -> None:
    """Read the three lists into the levels."""

    def values(size: int, initial: int | None) -> np.ndarray:
        return np.zeros(0, np.int64) if initial is None else coder.decode(np.zeros(size, np.int64), initial)

    mapped = [(kind, one) for kind, one in zip(kinds, coded, strict=True) if one.mapped]
    bits = values(sum(len(part.channels) * kind.count for kind, _ in mapped), initials[0])
    start = 0
    for kind, one in mapped:
        size = len(part.channels) * kind.count
        one.big = [bits[start : start + size] != 0] * len(one.orbits)
        start += size
    large = values(sum(int(chosen.sum()) for one in coded for chosen in one.big), initials[1])
    small = values(sum(int((~chosen).sum()) for one in coded for chosen in one.big), initials[2])
    first = second = 0
    for one in coded:
        before = np.zeros(0, np.int64)
        for own, chosen in zip(one.levels, one.big, strict=True):
            size = int(chosen.sum())
            now = large[first : first + size]
            if one.predicted:
                now = now + _guess(before, size)
                before = now
            own[chosen] = now
            own[~chosen] = small[second : second + len(own) - size]
            first, second = first + size, second + len(own) - size
