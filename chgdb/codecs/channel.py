"""A channel of the Fourier codec: what a payload holds of it, bit by bit, and its half spectrum."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..density import Crystal
from ..errors import CodecError
from ..symmetry import SpaceGroup, check_norms
from . import multipoles, spectra
from .basis import EVERY_NORM, Basis, Coarse
from .bits import BitReader, BitWriter
from .entropy import INITIAL_SCALES
from .frame import COUNT_UNITS, STEP_BITS, quantisation_step, read_count, write_count
from .groups import read_group, same_group, write_group

_LIMIT_MANTISSA = 8
MAX_LIMIT = ((1 << _LIMIT_MANTISSA) - 1) << 50


@dataclass
class Channel:
    """One channel of a payload."""

    count: int  # integral over the cell in units of 1 / COUNT_UNITS
    group: SpaceGroup
    limit: int = 0  # largest |G|^2 of the coded sphere, in units of METRIC_UNITS; 0 where nothing is coded
    nyquist: bool = False  # whether terms with some |h_i| = n_i / 2 are coded, too
    step: int = 0
    initial: int = 0
    values: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    norms: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # |G|^2 of each value; encoders need it
    coarse: Coarse | None = None
    model: Model | None = None
    coded: int | None = None  # how many values are coded, where not all are; those after them are zero


@dataclass
class Model:
    """The multipoles of a payload that predict the numbers of a channel.

    listed: (atoms,) bool, the atoms with parameters. used: (listed atoms, 25) bool, the m of l = 0 ... 4 that they use.
    values: (listed atoms, functions) int64, multiples of the step; zero where a function is not used.
    """

    listed: np.ndarray
    used: np.ndarray
    step: int
    initial: int = 0
    values: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def places(self, coarse: bool) -> np.ndarray:
        """The functions that have a parameter, (listed atoms, functions) bool."""
        return multipoles.spread_out(self.used, coarse)

    def numbers(self, crystal: Crystal, basis: Basis) -> np.ndarray:
        model = multipoles.Multipoles(crystal, basis, np.flatnonzero(self.listed))
        return model.numbers(self.values * quantisation_step(self.step))


def basis_of(grid: tuple[int, int, int], metric: np.ndarray, channel: Channel, most: int | None = None) -> Basis:
    return Basis(grid, metric, channel.group, channel.limit, channel.nyquist, most, channel.coarse)


def spectrum_of(channel: Channel, basis: Basis | None, numbers: np.ndarray, base: np.ndarray | None,
              volume: float) -> np.ndarray:  # fmt: skip
    """The smallest box that holds the sum of mean, base (the box of the prior's spectrum, if any) and coefficients."""
    shapes = [(1, 1, 1), *([] if basis is None else [basis.shape]), *([] if base is None else [base.shape])]
    spectrum = np.zeros(spectra.larger(*shapes), complex)
    if base is not None:
        spectra.put(spectrum, base)
    spectrum[0, 0, 0] += channel.count / COUNT_UNITS / volume
    if basis is not None:
        basis.synthesise(numbers, spectrum, basis.grid)
    return spectrum


def rounded_up(limit: int) -> int:
    """The next limit that an exponent and `_LIMIT_MANTISSA` bits can express."""
    exponent = max(0, limit.bit_length() - _LIMIT_MANTISSA)
    mantissa = -(-limit >> exponent)
    if mantissa >> _LIMIT_MANTISSA:
        exponent, mantissa = exponent + 1, -(-limit >> (exponent + 1))
    return mantissa << exponent


# --- the payload -----------------------------------------------------------------------------------------------------


def write_channel(out: BitWriter, channel: Channel, previous: SpaceGroup | None) -> None:
    write_count(out, channel.count)
    out.write(int(channel.limit > 0), 1)
    if not channel.limit:
        return
    if previous is not None:
        out.write(int(same_group(channel.group, previous)), 1)
    if previous is None or not same_group(channel.group, previous):
        write_group(out, channel.group)
    _write_limit(out, channel.limit)
    out.write(int(channel.nyquist), 1)
    out.write(channel.step, STEP_BITS)
    out.write(channel.initial, 6)


def _write_limit(out: BitWriter, limit: int) -> None:
    exponent = max(0, limit.bit_length() - _LIMIT_MANTISSA)
    out.write(exponent, 6)
    out.write(limit >> exponent, _LIMIT_MANTISSA)


def _read_limit(source: BitReader) -> int:
    exponent = source.read(6)
    if exponent > 50:
        raise CodecError("the payload holds an impossible sphere: the record is damaged")
    return source.read(_LIMIT_MANTISSA) << exponent


def write_prediction(out: BitWriter, channel: Channel, grid: tuple[int, int, int]) -> None:
    out.write(int(channel.coarse is not None), 1)
    if channel.coarse is not None:
        for divisions, n in zip(channel.coarse.divisions, grid, strict=True):
            out.write(int(divisions == n // 2), 1)
            if divisions != n // 2:
                out.write_gamma(divisions)
        _write_limit(out, channel.coarse.outer)
        _write_limit(out, channel.coarse.inner)
    model = channel.model
    out.write(int(model is not None), 1)
    if model is None:
        return
    out.write_gamma(len(channel.values))
    for listed in model.listed.tolist():
        out.write(int(listed), 1)
    for used in model.used:
        out.write(int(used.all()), 1)
        if not used.all():
            for one in used.tolist():
                out.write(int(one), 1)
    out.write(model.step, STEP_BITS)
    out.write(model.initial, 6)


def read_prediction(
    source: BitReader, channel: Channel, metric: np.ndarray, grid: tuple[int, int, int], atoms: int
) -> None:
    if source.read(1):
        divisions = [n // 2 if source.read(1) else source.read_gamma() for n in grid]
        outer, inner = _read_limit(source), _read_limit(source)
        if channel.nyquist or any(not 1 <= d < n for d, n in zip(divisions, grid, strict=True)):
            raise CodecError("the payload holds an impossible coarse grid: the record is damaged")
        check_norms(metric, [2 * n for n in grid])
        channel.coarse = Coarse((divisions[0], divisions[1], divisions[2]), min(outer, EVERY_NORM - 1), inner)
    if not source.read(1):
        return
    channel.coded = source.read_gamma()
    listed = np.array([source.read(1) for _ in range(atoms)], bool)
    used = np.ones((int(listed.sum()), multipoles.MASK), bool)
    for row in used:
        if not source.read(1):
            row[:] = [source.read(1) for _ in range(multipoles.MASK)]
    channel.model = Model(listed, used, source.read(STEP_BITS), source.read(6))
    if channel.model.initial >= INITIAL_SCALES:
        raise CodecError("the payload holds an impossible number: the record is damaged")


def read_channel(source: BitReader, previous: SpaceGroup | None) -> Channel:
    count = read_count(source)
    if not source.read(1):
        return Channel(count, SpaceGroup.trivial())
    group = previous if previous is not None and source.read(1) else read_group(source)
    limit = _read_limit(source)
    nyquist = bool(source.read(1))
    step, initial = source.read(STEP_BITS), source.read(6)
    if initial >= INITIAL_SCALES or not limit:
        raise CodecError("the payload holds an impossible number: the record is damaged")
    return Channel(count, group, limit, nyquist, step, initial)
