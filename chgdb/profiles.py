"""Numbers of a density: averages over planes, values at points and along lines, integrals in spheres.

All of them are those of the trigonometric polynomial through the values on the grid, so they are exact for densities
that the grid resolves, wherever planes, points and spheres lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .density import Density
from .errors import DensityError
from .grids import resample, slices

_AT_ONCE = 1 << 22  # complex numbers that are held at once
_LEAST_PHASE = 1e-4  # below it a form factor is its series


@dataclass(frozen=True, eq=False)
class Profile:
    """A scalar field averaged over lattice planes, along a lattice vector.

    Attributes
    ----------
    axis : int
        0, 1 or 2: the planes are spanned by the two other lattice vectors.
    fraction : np.ndarray
        (n,) fractional coordinates of the planes, i/n.
    distance : np.ndarray
        (n,) Å along the lattice vector.
    average : np.ndarray
        (n,) average over each plane, e/Å^3 (μB/Å^3 of a magnetisation).
    macroscopic : np.ndarray | None
        (n,) average of `average` over `window`, centred on each plane.
    cumulative : np.ndarray
        (n,) integral from plane 0 to each plane, electrons: of a difference, the charge displaced across the plane.
    window : float | None
        Å along the lattice vector.
    """

    axis: int
    fraction: np.ndarray
    distance: np.ndarray
    average: np.ndarray
    macroscopic: np.ndarray | None
    cumulative: np.ndarray
    window: float | None


def planar_average(
    density: Density, axis: int = 2, *, channel: str = "total", window: float | None = None, points: int | None = None
) -> Profile:
    """Average over lattice planes along a lattice vector, and over a window along it (the macroscopic average).

    Parameters
    ----------
    density : Density
        Or a `ScalarField`.
    axis : int
        0, 1 or 2.
    channel : str
        As for `Density.channel`.
    window : float | None
        Å along the lattice vector, the period that the macroscopic average takes out; none without it.
        Baldereschi, Baroni and Resta, Phys. Rev. Lett. 61, 734 (1988).
    points : int | None
        Planes, by Fourier interpolation; those of the grid unless given.

    Returns
    -------
    Profile

    Raises
    ------
    DensityError
        For an axis, a channel or a window that there is not.

    Examples
    --------
    >>> planar_average(chgdb.read("CHGCAR"), 2, window=4.2).macroscopic   # doctest: +SKIP
    """
    if axis not in (0, 1, 2):
        raise DensityError(f"{axis!r} is no axis: expected 0, 1 or 2 for a, b and c")
    if window is not None and not 0 < window < np.inf:
        raise DensityError(f"a window of {window} Å is not a positive length")
    values = density.channel(channel)
    average = values.mean(axis=tuple(i for i in range(3) if i != axis), dtype=float)
    count = len(average) if points is None else points
    if not 1 <= count <= 10**7:
        raise DensityError(f"{count} planes are not a number from 1 to 10 million")
    length = float(np.linalg.norm(density.crystal.cell[axis]))
    h, spectrum = _series(average)
    fraction = np.arange(count) / count
    if count != len(average):
        average = _sum(h, spectrum, fraction)
    macroscopic = None
    if window is not None:
        macroscopic = _sum(h, spectrum * np.sinc(h * window / length), fraction)
    with np.errstate(divide="ignore", invalid="ignore"):
        integral = np.where(h == 0, 0, spectrum / (2j * np.pi * h))
    below = _sum(h, integral, fraction) + spectrum[0].real * fraction
    below -= below[0]  # the first plane is at 0
    return Profile(axis, fraction, fraction * length, average, macroscopic, below * density.crystal.volume, window)


def _series(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(frequencies from 0, coefficients that stand for both signs) of a periodic function of one variable."""
    spectrum = np.fft.rfft(values) / len(values)
    weights = np.full(len(spectrum), 2.0)
    weights[0] = 1.0
    if len(values) % 2 == 0:
        weights[-1] = 1.0  # its own negative
    return np.arange(len(spectrum)), spectrum * weights


def _sum(h: np.ndarray, spectrum: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Real part of a Fourier series at fractions of the period."""
    parts = slices(len(fraction), len(h), _AT_ONCE)
    return np.concatenate([(np.exp(2j * np.pi * np.outer(fraction[part], h)) @ spectrum).real for part in parts])


def values_at(
    density: Density, points: np.ndarray | Sequence[Sequence[float]], *, channel: str = "total"
) -> np.ndarray:
    """Values at points, by the Fourier series.

    Parameters
    ----------
    density : Density
        Or a `ScalarField`.
    points : np.ndarray | Sequence[Sequence[float]]
        (n, 3) fractional coordinates, in any cell.
    channel : str
        As for `Density.channel`.

    Returns
    -------
    np.ndarray
        (n,) in e/Å^3 (μB/Å^3 of a magnetisation); those of the grid at its points, to rounding.

    Raises
    ------
    DensityError
        For a channel that there is not, and points that are no fractional coordinates.

    Examples
    --------
    >>> values_at(chgdb.read("CHGCAR"), [[0.125, 0.125, 0.125]])   # doctest: +SKIP
    """
    places = np.atleast_2d(np.asarray(points, float))
    if places.ndim != 2 or places.shape[1] != 3 or not np.isfinite(places).all():
        raise DensityError("points are not fractional coordinates: expected an array of the shape (n, 3)")
    values = np.asarray(density.channel(channel), float)
    nx, ny, nz = values.shape
    result = np.zeros(len(places))
    for part in slices(len(places), nx * ny, _AT_ONCE):
        # One axis after the other: interpolation weights of each point to the grid points of that axis.
        z, y, x = (_weights(places[part, axis], values.shape[axis]) for axis in (2, 1, 0))
        rows = (values.reshape(nx * ny, nz) @ z.T).reshape(nx, ny, -1)
        result[part] = np.einsum("xyp,py,px->p", rows, y, x, optimize=True)
    return result


def _weights(fraction: np.ndarray, size: int) -> np.ndarray:
    """(n, size): weights of the points of a periodic grid in the trigonometric interpolation at fractions of its
    period."""
    h = np.fft.rfftfreq(size, 1 / size)
    factor = np.full(len(h), 2.0)
    factor[0] = 1.0
    if size % 2 == 0:
        factor[-1] = 1.0
    phase = fraction[:, None] - np.arange(size) / size
    # The Nyquist frequency is a cosine, the mean of +n/2 and -n/2, as in `grids.resample`.
    result = np.zeros_like(phase)
    for frequency, weight in zip(h, factor, strict=True):
        if size % 2 == 0 and frequency == size // 2:
            result += np.cos(np.pi * size * fraction)[:, None] * np.cos(np.pi * np.arange(size))
        else:
            result += weight * np.cos(2 * np.pi * frequency * phase)
    return result / size


def along_line(
    density: Density, start: Sequence[float], end: Sequence[float], count: int = 101, *, channel: str = "total"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values along a straight line.

    Parameters
    ----------
    density : Density
        Or a `ScalarField`.
    start, end : Sequence[float]
        Fractional coordinates of the ends, which may lie in different cells.
    count : int
        Points, the ends included.
    channel : str
        As for `Density.channel`.

    Returns
    -------
    tuple[np.ndarray, np.ndarray, np.ndarray]
        Fractional coordinates (count, 3), distances from the start in Å, and values as of `values_at`.

    Raises
    ------
    DensityError
        As `values_at`, and for fewer than two points.
    """
    if not 2 <= count <= 10**6:
        raise DensityError(f"{count} points are not a number from 2 to 1 million")
    ends = np.array([start, end], float)
    if ends.shape != (2, 3):
        raise DensityError("the ends of a line are three fractional coordinates each")
    points = ends[0] + np.linspace(0, 1, count)[:, None] * (ends[1] - ends[0])
    length = float(np.linalg.norm((ends[1] - ends[0]) @ density.crystal.cell))
    return points, np.linspace(0, length, count), values_at(density, points, channel=channel)


def in_spheres(
    density: Density,
    radii: float | Sequence[float] | np.ndarray,
    centres: np.ndarray | Sequence[Sequence[float]] | None = None,
    *,
    channel: str = "total",
) -> np.ndarray:
    """Integrals in spheres, by the Fourier series: sum of F(G) exp(iGr) times the transform of a ball.

    Parameters
    ----------
    density : Density
        Or a `ScalarField`.
    radii : float | Sequence[float] | np.ndarray
        Å, one for all or one each.
    centres : np.ndarray | Sequence[Sequence[float]] | None
        (n, 3) fractional coordinates; the atoms unless given.
    channel : str
        As for `Density.channel`.

    Returns
    -------
    np.ndarray
        (n,) electrons (μB of a magnetisation). Spheres may overlap, and reach into neighbouring cells.

    Raises
    ------
    DensityError
        For a radius that is no positive length, and as `values_at`.

    Examples
    --------
    >>> in_spheres(chgdb.read("CHGCAR"), 1.2, channel="magnetization")   # doctest: +SKIP
    """
    places = density.crystal.positions if centres is None else np.atleast_2d(np.asarray(centres, float))
    if places.ndim != 2 or places.shape[1] != 3 or not np.isfinite(places).all():
        raise DensityError("centres are not fractional coordinates: expected an array of the shape (n, 3)")
    sizes = np.asarray(radii, float)
    if sizes.shape not in ((), (len(places),)) or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise DensityError(f"{radii!r} are no radii: expected one positive length in Å, or one for each centre")
    sizes = np.broadcast_to(sizes, (len(places),))
    values = density.channel(channel)
    # On odd grids no frequency is its own negative.
    nx, ny, nz = (n + 1 - n % 2 for n in values.shape)
    values = resample(values, (nx, ny, nz))
    reciprocal = np.linalg.inv(density.crystal.cell).T
    spectrum = np.fft.rfftn(values) / values.size
    spectrum[:, :, 1:] *= 2  # each stands for its negative, too
    axes = [np.fft.fftfreq(n, 1 / n) for n in (nx, ny)] + [np.arange(spectrum.shape[2], dtype=float)]
    result = np.zeros(len(places))
    for part in slices(nx, ny * spectrum.shape[2], _AT_ONCE):
        h = np.stack(np.meshgrid(axes[0][part], *axes[1:], indexing="ij"), axis=-1)
        g = 2 * np.pi * np.linalg.norm(h @ reciprocal, axis=-1)
        for number, (place, radius) in enumerate(zip(places, sizes, strict=True)):
            phases = [np.exp(2j * np.pi * axis * x) for axis, x in zip((axes[0][part], *axes[1:]), place, strict=True)]
            terms = spectrum[part] * phases[0][:, None, None] * phases[1][:, None] * phases[2]
            result[number] += float((terms.real * _ball(g * radius)).sum()) * radius**3
    return result


def _ball(x: np.ndarray) -> np.ndarray:
    """Fourier transform of the unit ball, 4 pi (sin x - x cos x) / x^3."""
    safe = np.where(x < _LEAST_PHASE, 1.0, x)
    return 4 * np.pi * np.where(x < _LEAST_PHASE, 1 / 3 - x * x / 30, (np.sin(safe) - safe * np.cos(safe)) / safe**3)
