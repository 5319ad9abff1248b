"""Augmentation occupancies as numbers, with as few numbers as the symmetry allows.

    occupancies -> channels of the PAW sets (`layouts`), found by trying which turn as the symmetry demands
                -> the numbers that the site symmetry leaves free, of one atom of each orbit
                -> uniform quantisation; the step is found by measuring the largest error
                -> adaptive range coder (`entropy`)

Where no list of channels turns as the symmetry demands, all numbers of an atom are quantised as they are.
`docs/format.md` specifies every bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from ..density import Crystal
from ..errors import CodecError
from ..limits import most_unfolded
from ..symmetry import SpaceGroup
from .bits import BitReader, BitWriter
from .entropy import INITIAL_SCALES, RangeDecoder, RangeEncoder, choose_lanes, initial_scale
from .frame import STEP_BITS, quantisation_step, step_code
from .groups import read_group, write_group
from .layout_search import MOST_IMAGES, OWN, Choice, LayoutSearch
from .layouts import MOST_CHANNELS, Layout, Turning, count_of
from .levels import Alone, Coded, Kind, Orbit, Part, all_orbits, guess, is_plain, parts_of, predictions, unturned

#: Occupancies below this are noise: no tolerance of an atom is smaller than the same part of this number.
NOISE = 1e-9
_BIG = 4  # largest level that counts as small
_MOST_NUMBERS = 9999  # what the four columns of VASP's number hold
_NUMBER = 15  # bytes of text that a number takes
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


# --- encoding --------------------------------------------------------------------------------------------------------


def write(
    out: BitWriter, occupancies: Occupancies, crystal: Crystal, tolerance: float, groups: Sequence[SpaceGroup]
) -> bytes:
    """Append the head to a bit stream. Returns the coder's bytes, which must be the last ones of the whole.

    groups: those of the payload's first and last channel, which a decoder knows already.
    Raises `CodecError` if the numbers are beyond the coder.
    """
    bounds = np.maximum(occupancies.largest(), NOISE) * tolerance
    counts = [len(values) for values in occupancies.real[0]]
    if max(counts) > _MOST_NUMBERS or not counts:
        raise CodecError("more augmentation occupancies than VASP prints")
    parts = parts_of(len(occupancies.real), bool(occupancies.imaginary))
    kinds = [Kind(count, tuple(atoms)) for (_, count), atoms in _sorted_atoms(crystal, counts).items()]
    search = LayoutSearch(occupancies, crystal, bounds, groups)
    chosen = search.total(parts[0], kinds)
    kinds = chosen.kinds
    turnings = {parts[0]: chosen}
    for part in parts[1:]:
        turnings[part] = Choice(0, SpaceGroup.trivial(), kinds) if part.imaginary else search.rest(part, chosen)
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
                if turnings[part].code == OWN:
                    write_group(out, turnings[part].group)
    return _write_levels(out, parts, {part: [one for one in row if one] for part, row in coded.items()})


def _sorted_atoms(crystal: Crystal, counts: Sequence[int]) -> dict[tuple[int, int], list[int]]:
    found: dict[tuple[int, int], list[int]] = {}
    for atom, (number, count) in enumerate(zip(crystal.numbers.tolist(), counts, strict=True)):
        found.setdefault((number, count), []).append(atom)
    return found


def _quantised(
    part: Part, kind: Kind, choice: Choice, crystal: Crystal, occupancies: Occupancies, bounds: np.ndarray
) -> Coded | None:
    """The levels with the coarsest step whose errors are within the bounds. None where the symmetry misses them."""
    values = part.values(occupancies, kind)
    limits = bounds[min(part.channels[0], 1)][list(kind.atoms)]
    coded = Coded(all_orbits(part, kind, choice.turning(part, crystal)), mapped=is_plain(part, kind))
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


def _sorted_levels(coded: Coded) -> Coded:
    if coded.mapped:
        big = np.abs(np.array(coded.levels)).max(axis=0) > _BIG
        coded.big = [big] * len(coded.levels)
    else:
        coded.big = unturned(coded.orbits, coded.levels)
    large = [own[big] for own, big in zip(coded.levels, coded.big, strict=True)]
    less = [own - before for own, before in zip(large, predictions(large), strict=True)]
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


def _write_kinds(out: BitWriter, crystal: Crystal, counts: Sequence[int], kinds: Sequence[Kind]) -> None:
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


def _read_kinds(source: BitReader, crystal: Crystal) -> tuple[list[int], list[Kind]]:
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
    return counts, [Kind(count, tuple(atoms), layout) for (_, count, layout), atoms in found.items()]


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


def _write_levels(out: BitWriter, parts: Sequence[Part], coded: dict[Part, list[Coded]]) -> bytes:
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
            before = predictions(large) if one.predicted else (np.zeros(len(own), np.int64) for own in large)
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
    parts = parts_of(channels, bool(source.read(1)))
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
    if code == OWN:
        group = read_group(source)
    elif code > len(groups):
        raise CodecError("the record names a group that its payload does not have: it is damaged")
    else:
        group = groups[code - 1] if code else SpaceGroup.trivial()
    if len(group) > 1 and len(group) * len(crystal) ** 2 > MOST_IMAGES:
        raise CodecError("the record holds too many operations for its atoms: it is damaged")
    return group


def _sizes(part: Part, kind: Kind, orbits: Sequence[Orbit | Alone]) -> list[np.ndarray]:
    """An array of zeros for the levels of each orbit."""
    return [
        np.zeros(orbit.size if isinstance(orbit, Orbit) else len(part.channels) * kind.count, np.int64)
        for orbit in orbits
    ]


def _read_heads(
    source: BitReader, part: Part, kinds: Sequence[Kind], turning: Turning
) -> tuple[list[Coded], list[int | None]]:
    """What the head says of each kind, and the first scales of the three lists; None for a list that is not there."""
    coded = []
    for kind in kinds:
        if not source.read(1):
            coded.append(Coded([]))
            continue
        step, orbits = source.read(STEP_BITS), all_orbits(part, kind, turning)
        predicted = len(orbits) > 1 and bool(source.read(1))
        levels = _sizes(part, kind, orbits)
        big = unturned(orbits, levels)
        coded.append(Coded(orbits, step, levels, big, is_plain(part, kind), predicted))
    mapped = any(one.mapped for one in coded)
    large = sum(int(chosen.sum()) for one in coded for chosen in one.big)
    small = sum(int((~chosen).sum()) for one in coded for chosen in one.big)
    initials = [source.read(6) if there or mapped else None for there in (mapped, large, small)]
    if any(initial is not None and initial >= INITIAL_SCALES for initial in initials):
        raise CodecError("the record holds an impossible number: it is damaged")
    return coded, initials


def _read_levels(
    coder: RangeDecoder, part: Part, kinds: Sequence[Kind], coded: Sequence[Coded], initials: Sequence[int | None]
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
                now = now + guess(before, size)
                before = now
            own[chosen] = now
            own[~chosen] = small[second : second + len(own) - size]
            first, second = first + size, second + len(own) - size
