r"""The real-space codec, for densities that no Fourier sphere holds: all-electron files (AECCAR) alias on their grid.

Points stand in the order of their distance to the nearest atom. There is one for each orbit of the symmetry operations
that map the grid onto itself. Around a nucleus the density is nearly a function of that distance. So the values before
a quantised value predict it, and the differences go to the adaptive coder (`entropy`). The mean is stored, too: the
electron count is exact to 2^-41 e, as in the Fourier codec.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..density import Crystal, Density
from ..errors import CodecError
from ..grids import absolute_sum
from ..promolecule import Prior
from ..symmetry import UNITS, SpaceGroup, find
from . import Header
from .bits import BitReader, BitWriter
from .entropy import INITIAL_SCALES, MAX_MAGNITUDE, RangeDecoder, RangeEncoder, choose_lanes, initial_scale, most_values
from .frame import COUNT_UNITS, STEP_BITS, quantisation_step, read_count, read_frame, write_count, write_frame
from .groups import read_group, write_group

CODEC_ID = 3

#: Numbers of values before a value whose mean may predict it.
_WINDOWS = (1, 4)
_MAX_LEVEL = 1 << 40  # quantised values stay below; a finer tolerance would be below the rounding of floats


def encode(density: Density, tolerance: float, prior: Prior | None = None) -> bytes:
    """Payload of a density. The decoded NMAE of every channel, relative to the total density, is within `tolerance`.

    `prior` is not used: it knows only valence densities. Raises `CodecError` if the tolerance is below what the
    codec resolves.
    """
    whole = _on_grid(find(density.crystal), density.grid)
    payload = _encode(density, tolerance, whole)
    if prod(density.grid) * len(whole) > _most_images(len(payload)):  # a decoder would not believe so few bytes
        payload = _encode(density, tolerance, SpaceGroup.trivial())
    return payload


def least_bytes(density: Density, tolerance: float, groups: list[SpaceGroup]) -> float:
    """About the fewest bytes that a payload takes: three quarters of what differences of neighbours on the grid do.

    Around a nucleus the order by distance does better than the grid's, but not by that much unless atoms are spheres.
    groups: of operations that the channels obey, as another codec found them.
    """
    orbits = prod(density.grid) / max((len(_on_grid(group, density.grid)) for group in groups), default=1)
    step = 4 * tolerance * absolute_sum(density.total) / density.total.size  # whose errors are a quarter in the mean
    bits = 0.0
    for values in density.channels.values():
        each = []
        for axis in range(3) if step else ():
            lines = np.moveaxis(values, axis, 2)
            stride = [max(1, n // _LINES) for n in lines.shape[:2]]
            levels = np.rint(np.asarray(lines[:: stride[0], :: stride[1]], float) / step)
            each.append(float(np.log2(1 + np.abs(np.diff(levels, axis=2))).mean()) if levels.shape[2] > 1 else 0.0)
        bits += orbits * min(each, default=0.0)
    return 0.75 * bits / 8


_LINES = 16  # along each of the other axes


def _encode(density: Density, tolerance: float, whole: SpaceGroup) -> bytes:
    """Payload that uses those symmetry operations of `whole` that hold. `whole` must map the grid onto itself."""
    allowed = tolerance * float(np.abs(density.total).mean(dtype=float)) * (1 - 1e-9)
    arrays = [np.asarray(values, float) for values in density.channels.values()]
    channels = [_encode_channel(values, whole, density.crystal, allowed) for values in arrays]
    lanes = choose_lanes(sum(len(channel[-1]) for channel in channels))
    out = BitWriter()
    out.write(CODEC_ID, 8)
    write_frame(out, density.crystal, density.grid, len(channels))
    out.write(lanes, 2)
    coder = RangeEncoder(lanes)
    for group, count, step, window, differences in channels:
        initial = initial_scale(differences)
        write_group(out, group)
        write_count(out, count)
        out.write(step, STEP_BITS)
        out.write(window, 1)
        out.write(initial, 6)
        coder.encode(differences, np.zeros(len(differences), np.int64), initial)
    return out.to_bytes() + coder.finish()


def _encode_channel(values: np.ndarray, whole: SpaceGroup, crystal: Crystal, allowed: float):
    """(group, electron count, step code, window, differences), by the cheaper of two symmetries."""
    count = round(float(values.mean()) * crystal.volume * COUNT_UNITS)
    choices = []
    for share in (0.5, 0.0):
        group = _symmetry_of(values, whole, share * allowed)
        _, orbit = _ordered_orbits(values.shape, group, crystal)
        mean = np.bincount(orbit, values.ravel()) / np.bincount(orbit)
        step = _choose_step(values.ravel(), mean, orbit, allowed, count / COUNT_UNITS / crystal.volume)
        if step is not None:
            levels = np.rint(mean / quantisation_step(step)).astype(np.int64)
            window, differences = min(
                ((i, _differences(levels, w)) for i, w in enumerate(_WINDOWS)), key=lambda pair: _cost(pair[1])
            )
            choices.append((group, count, step, window, differences))
        if len(group) == 1:
            break
    if not choices:
        raise CodecError(
            "the tolerance is below what the real-space codec resolves: pack it with --lossless (tolerance=0 in Python)"
        )
    return min(choices, key=lambda choice: _cost(choice[-1]))


def _cost(differences: np.ndarray) -> float:
    return float(np.log2(1 + np.abs(differences)).sum()) + 0.2 * len(differences)


def _choose_step(values: np.ndarray, mean: np.ndarray, orbit: np.ndarray, allowed: float, average: float) -> int | None:
    """Code of the coarsest step whose mean absolute error is within `allowed`. None where there is none."""
    low, high = -1, (1 << STEP_BITS) - 1
    while low < high:
        code = (low + high + 1) // 2
        decoded = _restore(np.rint(mean / quantisation_step(code)), code, orbit, average)
        if float(np.abs(decoded - values).mean()) <= allowed:
            low = code
        else:
            high = code - 1
    if low < 0 or np.abs(mean).max() / quantisation_step(low) > _MAX_LEVEL:
        return None
    return low


def _restore(levels: np.ndarray, code: int, orbit: np.ndarray, average: float) -> np.ndarray:
    """Flat grid values of quantised orbits, shifted by far less than a step to the stored mean."""
    values = (levels * quantisation_step(code))[orbit]
    values += average - values.mean()
    return values


def _differences(levels: np.ndarray, window: int) -> np.ndarray:
    """Each level less its prediction, the rounded-down mean of the `window` levels before it (zero at first)."""
    padded = np.concatenate([np.zeros(window, np.int64), levels])
    sums = np.cumsum(padded)[window - 1 : -1] - np.concatenate([[0], np.cumsum(padded)])[: len(levels)]
    return levels - sums // window


def _levels(differences: np.ndarray, window: int) -> np.ndarray:
    """The inverse of `_differences`."""
    if window == 1:
        return np.cumsum(differences)
    levels = [0] * window
    total = 0
    for index, difference in enumerate(differences.tolist()):
        level = difference + total // window
        levels.append(level)
        total += level - levels[index]
    if max(max(levels), -min(levels)) >= MAX_MAGNITUDE:
        raise CodecError("the payload holds an impossible number: the record is damaged")
    return np.array(levels[window:], np.int64)


def _on_grid(group: SpaceGroup, grid: tuple[int, int, int]) -> SpaceGroup:
    """The operations that map every grid point to a grid point."""
    n = np.array(grid)
    mapped = group.rotations * n[:, None]
    shifted = group.translations * n
    fits = (mapped % n[None, None, :] == 0).all(axis=(1, 2)) & (shifted % UNITS == 0).all(axis=1)
    if group.origin.any():  # operations about another origin than the grid's do not hold on the grid
        fits &= (group.rotations == np.eye(3)).all(axis=(1, 2))
    fitting = SpaceGroup(group.rotations, group.translations, np.zeros(3), group.flips).subgroup(fits)
    return fitting if len(fitting) * prod(grid) <= _MAX_IMAGES else SpaceGroup.trivial()


def _images(grid: tuple[int, int, int], group: SpaceGroup):
    """For each operation, the flat indices of the images of all grid points."""
    n = np.array(grid)
    axes = [np.arange(k) for k in grid]
    for W, w in zip(group.rotations, group.translations, strict=True):
        matrix, shift = W * n[:, None] // n, w * n // UNITS
        x, y, z = (W_j[:, None, None, None] * axis for W_j, axis in zip(matrix.T, np.ix_(*axes), strict=True))
        rows = [(x[i] + y[i] + z[i] + shift[i]) % n[i] for i in range(3)]
        yield ((rows[0] * n[1] + rows[1]) * n[2] + rows[2]).ravel()


def _symmetry_of(values: np.ndarray, group: SpaceGroup, allowed: float) -> SpaceGroup:
    flat = values.ravel()
    # The mean over a group moves a value by half as much as an operation does.
    deviations = [float(np.abs(flat[image] - flat).mean()) / 2 for image in _images(values.shape, group)]
    return group.subgroup(np.array(deviations) <= allowed)


def _ordered_orbits(grid: tuple[int, ...], group: SpaceGroup, crystal: Crystal) -> tuple[np.ndarray, np.ndarray]:
    """(first point of each orbit, orbit of each point) as flat indices; orbits by element and distance to its atoms."""
    shape = (grid[0], grid[1], grid[2])
    canonical = np.arange(shape[0] * shape[1] * shape[2])
    for image in _images(shape, group):
        np.minimum(canonical, image, out=canonical)
    first, orbit = np.unique(canonical, return_inverse=True)
    element, distance = _nearest_atom(first, shape, crystal)
    order = np.lexsort((distance, element))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return first[order], rank[orbit]


_FRACTION_BITS = 18
_MAX_DISTANCES = 1 << 32
_MAX_IMAGES = 1 << 32  # points times operations; beyond (huge supercells) symmetry takes minutes to save few bytes


def _most_images(size: int) -> int:
    """Points times operations that a payload of `size` bytes may ask for: some seconds for the smallest payload."""
    return min(_MAX_IMAGES, max(1 << 26, size << 18))


def _nearest_atom(points: np.ndarray, grid: tuple[int, int, int], crystal: Crystal) -> tuple[np.ndarray, np.ndarray]:
    """(atomic number, squared distance) of the nearest atom, in integers, so that all machines find the same order.

    Distances are in units of 2^-46 Å^2. Only the images one cell to either side are tried.
    """
    A = [[int(float(x) * 2.0**60) for x in row] for row in np.clip(crystal.cell, -1e6, 1e6)]
    squares = [[sum(a * b for a, b in zip(u, v, strict=True)) >> 110 for u in A] for v in A]
    if max(abs(x) for row in squares for x in row) >= 1 << 22:
        raise CodecError(
            "a cell longer than 64 Å is too large for the real-space codec: pack it with --lossless "
            "(tolerance=0 in Python)"
        )
    if len(points) * len(crystal) >= _MAX_DISTANCES:
        raise CodecError(
            "too many points and atoms for the real-space codec: pack it with --lossless (tolerance=0 in Python)"
        )
    metric = np.array(squares, np.int64)
    index = np.stack(np.unravel_index(points, grid), axis=1)
    unit = 1 << _FRACTION_BITS
    place = (index << _FRACTION_BITS) // np.array(grid)
    nearest = np.full(len(points), np.iinfo(np.int64).max)
    element = np.zeros(len(points), np.int64)
    for position, number in zip(crystal.positions, crystal.numbers.tolist(), strict=True):
        atom = np.floor((position - np.floor(position)) * unit).astype(np.int64)
        centred = (place - atom + unit // 2) % unit - unit // 2
        product = centred @ metric
        own = (product * centred).sum(axis=1)
        for image in np.ndindex(3, 3, 3):
            shift = (np.array(image) - 1) * unit
            square = own + product @ (2 * shift) + shift @ metric @ shift  # |centred + shift|^2
            closer = square < nearest
            nearest[closer], element[closer] = square[closer], number
    return element, nearest


def decode(payload: bytes, prior: Prior | None = None, grid: tuple[int, int, int] | None = None) -> Density:
    """The density on its native grid, or resampled by Fourier to another. Raises `CodecError` for damaged bytes."""
    source = _open(payload)
    crystal, native, names = read_frame(source)
    lanes = source.read(2)
    headers = []
    for _ in names:
        group = read_group(source)
        if len(_on_grid(group, native)) != len(group):
            raise CodecError("the payload's symmetry does not fit its grid: the record is damaged")
        headers.append((group, read_count(source), source.read(STEP_BITS), source.read(1), source.read(6)))
    coded = payload[source.byte_position() :]
    coder, most = RangeDecoder(coded, lanes), most_values(len(coded))
    images = _most_images(len(payload))
    if any(prod(native) > most * len(group) or prod(native) * len(group) > images for group, *_ in headers):
        raise CodecError("the payload claims more values than it can hold: the record is damaged")
    channels = {}
    for name, (group, count, step, window, initial) in zip(names, headers, strict=True):
        if initial >= INITIAL_SCALES:
            raise CodecError("the payload holds an impossible number: the record is damaged")
        first, orbit = _ordered_orbits(native, group, crystal)
        levels = _levels(coder.decode(np.zeros(len(first), np.int64), initial), _WINDOWS[window])
        channels[name] = _restore(levels, step, orbit, count / COUNT_UNITS / crystal.volume).reshape(native)
    coder.close()
    density = Density(crystal, channels)
    return density if grid is None or grid == native else density.resample(grid)


def header(payload: bytes) -> Header:
    """Crystal, grid and channels."""
    crystal, grid, names = read_frame(_open(payload))
    return Header("realspace", crystal, grid, names, prior_id=0)


def _open(payload: bytes) -> BitReader:
    source = BitReader(payload)
    if source.read(8) != CODEC_ID:
        raise CodecError("not a payload of the real-space codec")
    return source
