"""Features of a density as a field: smooth functionals of n, its gradient, Laplacian, potential and spectrum.

Each feature is an average over the cell, or a quantile of a smoothed distribution. The smoothing is much wider than the
difference between neighbouring points of the grid. So neither the choice of the cell nor the place of the points
matters. Energies follow the density functionals of the electron gas, in Hartree atomic units: the kinetic energies of
Thomas-Fermi and von Weizsäcker, Dirac's exchange, its enhancement by PBE, and Wigner's correlation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .cells import Canonical

BOHR = 0.529177210903  # Å
_FLOOR = 2e-3  # e/Å^3; scale on which a density near or below zero is bent to a positive one
_TF = 0.3 * (3 * np.pi**2) ** (2 / 3)
_DIRAC = 0.75 * (3 / np.pi) ** (1 / 3)


@dataclass(frozen=True, eq=False)
class Field:
    """A density on the canonical grid.

    spectrum: (nx, ny, nz // 2 + 1) complex, filtered coefficients in e/Å^3.
    """

    place: Canonical
    spectrum: np.ndarray
    h: np.ndarray
    s: np.ndarray

    def _back(self, spectrum: np.ndarray) -> np.ndarray:
        return np.fft.irfftn(spectrum, s=self.place.grid, axes=(0, 1, 2)) * np.prod(self.place.grid)

    @cached_property
    def values(self) -> np.ndarray:
        """n, e/Å^3."""
        return self._back(self.spectrum)

    @cached_property
    def positive(self) -> np.ndarray:
        """n bent smoothly to a positive function, e/Å^3."""
        return 0.5 * (self.values + np.sqrt(self.values**2 + _FLOOR**2))

    @cached_property
    def log(self) -> np.ndarray:
        return np.log(self.positive)

    @cached_property
    def gradient_squared(self) -> np.ndarray:
        """|grad n|^2, e^2/Å^8."""
        vectors = self.h @ np.linalg.inv(self.place.crystal.cell).T
        total = np.zeros(self.place.grid)
        for axis in range(3):
            total += self._back(2j * np.pi * vectors[..., axis] * self.spectrum) ** 2
        return total

    @cached_property
    def laplacian(self) -> np.ndarray:
        """The Laplacian of n, e/Å^5."""
        return self._back(-((2 * np.pi * self.s) ** 2) * self.spectrum)

    @cached_property
    def weights(self) -> np.ndarray:
        """How many terms of the whole spectrum each term of the half spectrum stands for, by the last axis."""
        n = self.place.grid[2]
        weights = np.full(n // 2 + 1, 2.0)
        weights[0] = 1
        if n % 2 == 0:
            weights[-1] = 1
        return weights

    @property
    def mean(self) -> float:
        """The mean of n, e/Å^3."""
        return float(self.spectrum[0, 0, 0].real)

    @cached_property
    def power(self) -> np.ndarray:
        """|F(G)|^2 with the weights of the half spectrum; 0 at G = 0."""
        power = np.abs(self.spectrum) ** 2 * self.weights
        power[0, 0, 0] = 0
        return power


def quantiles(values: np.ndarray, weights: np.ndarray | None, at: tuple[float, ...], low: float, high: float,
              width: float) -> np.ndarray:  # fmt: skip
    """Quantiles of a distribution convolved with a Gaussian. Values beyond `low` and `high` count as these.

    width: standard deviation of the Gaussian. Values are assigned linearly to bins of a fifth of it and convolved. That
    makes the result a smooth function of the field.
    """
    step = width / 5
    size = int(np.ceil((high - low) / step)) + 1
    x = (np.clip(values, low, high).ravel() - low) / step
    first = np.minimum(x.astype(np.int64), size - 2)
    part = x - first
    mass = np.full(len(x), 1.0) if weights is None else weights.ravel()
    histogram = np.bincount(first, mass * (1 - part), size) + np.bincount(first + 1, mass * part, size)
    kernel = np.exp(-0.5 * (np.arange(-20, 21) / 5) ** 2)
    smooth = np.convolve(histogram / histogram.sum(), kernel / kernel.sum(), mode="full")
    # Tails of the kernel beyond the ends keep the distribution function strictly increasing there.
    cumulative = np.cumsum(smooth + 1e-12)
    cumulative /= cumulative[-1]
    return np.interp(at, cumulative, low + step * (np.arange(len(smooth)) - 20 + 0.5))


_VOLUME = (0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97)
_ELECTRON = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
_FEW = (0.05, 0.25, 0.5, 0.75, 0.95)
_POWERS = (-2.0, -1.0, -0.5, 1 / 3, 2 / 3, 4 / 3, 5 / 3, 2.0)
_DEPTHS = (0.05, 0.15, 0.4, 1.0)  # e/Å^3
_SHELLS = tuple(np.round(np.arange(0.15, 1.56, 0.1), 2).tolist())  # 1/Å
_SCALED = tuple(np.round(np.arange(0.6, 3.1, 0.25), 2).tolist())  # times the cube root of the volume per atom
_MOMENTS = (-4, -2, -1, 2)

FIELD_NAMES: tuple[str, ...] = (
    "log_mean",
    *(f"log_power_mean_{p:.2f}" for p in _POWERS),
    "log_geometric_mean",
    *(f"log_n_volume_{q}" for q in _VOLUME),
    *(f"log_n_electrons_{q}" for q in _ELECTRON),
    *(f"log_gradient_volume_{q}" for q in _FEW),
    *(f"log_gradient_electrons_{q}" for q in _FEW),
    *(f"laplacian_volume_{q}" for q in _FEW),
    *(f"elf_volume_{q}" for q in _FEW),
    *(f"elf_electrons_{q}" for q in _FEW),
    *("log_thomas_fermi", "log_weizsaecker", "log_dirac", "log_pbe", "log_wigner"),
    *("thomas_fermi_per_atom", "weizsaecker_per_atom", "exchange_per_atom", "correlation_per_atom"),
    *("pressure", "stiffness"),
    *(f"soft_{what}_{d}" for d in _DEPTHS for what in ("log_volume", "log_n", "log_gradient", "laplacian", "potential",
                                                       "elf")),
    *(f"spectrum_{s}" for s in _SHELLS),
    *(f"spectrum_scaled_{s}" for s in _SCALED),
    *(f"log_spectral_moment_{p}" for p in _MOMENTS),
    "potential_deviation",
)  # fmt: skip


def describe(field: Field) -> np.ndarray:
    """Features of one field, (len(FIELD_NAMES),)."""
    n, log_n = field.positive, field.log
    volume, atoms = field.place.crystal.volume, len(field.place.crystal)
    size = n.size
    result: list[float] = [np.log(max(field.mean, 1e-6))]
    result += [np.log(np.mean(n**p)) / p for p in _POWERS]
    result.append(float(log_n.mean()))
    result += quantiles(log_n, None, _VOLUME, -7.0, 4.0, 0.15).tolist()
    result += quantiles(log_n, n, _ELECTRON, -7.0, 4.0, 0.15).tolist()

    # Atomic units from here on, where the names say so.
    na = n * BOHR**3
    g2 = field.gradient_squared * BOHR**8
    reduced2 = g2 / (4 * (3 * np.pi**2) ** (2 / 3) * na ** (8 / 3))  # s^2 of PBE
    log_s = 0.5 * np.log(reduced2 + 1e-4)
    result += quantiles(log_s, None, _FEW, -5.0, 4.0, 0.15).tolist()
    result += quantiles(log_s, n, _FEW, -5.0, 4.0, 0.15).tolist()
    bent = np.arcsinh(field.laplacian)
    result += quantiles(bent, None, _FEW, -8.0, 8.0, 0.15).tolist()

    thomas_fermi = _TF * na ** (5 / 3)
    weizsaecker = g2 / (8 * na)
    laplacian = field.laplacian * BOHR**5
    # Gradient expansion of the kinetic energy, as in the localisation function of Tsirelson and Stash (2002). Its
    # difference from von Weizsäcker's is bent to a positive one, because it fails near the nuclei.
    excess = (thomas_fermi - 8 / 9 * weizsaecker + laplacian / 6) / thomas_fermi
    excess = 0.5 * (excess + np.sqrt(excess**2 + 0.01))
    elf = 1 / (1 + excess**2)
    result += quantiles(elf, None, _FEW, 0.0, 1.0, 0.02).tolist()
    result += quantiles(elf, n, _FEW, 0.0, 1.0, 0.02).tolist()

    dirac = _DIRAC * na ** (4 / 3)
    pbe = dirac * (1.804 - 0.804 / (1 + 0.2195 / 0.804 * reduced2))
    wigner = 0.44 * na / (7.8 + (3 / (4 * np.pi * na)) ** (1 / 3))
    means = [float(np.mean(e)) for e in (thomas_fermi, weizsaecker, dirac, pbe, wigner)]
    result += np.log(np.maximum(means, 1e-12)).tolist()
    per_atom = volume / BOHR**3 / atoms
    result += [np.log(means[0] * per_atom), np.log(means[1] * per_atom), np.log(means[3] * per_atom),
               np.log(means[4] * per_atom)]  # fmt: skip
    # Under uniform scaling the kinetic energy grows as the square, exchange linearly.
    result.append(float(np.arcsinh(100 * (2 * means[0] + 2 * means[1] / 9 - means[3]) / 3)))
    result.append(float(np.log(max(10 / 9 * means[0] - 4 / 9 * means[2], 1e-6))))

    potential = field._back(_coulomb(field) * field.spectrum)
    for depth in _DEPTHS:
        soft = np.exp(-n / depth)
        total = soft.sum() + 1e-9 * size
        result += [
            float(np.log(total / size)),
            float((soft * log_n).sum() / total),
            float((soft * log_s).sum() / total),
            float((soft * bent).sum() / total),
            float((soft * potential).sum() / total),
            float((soft * elf).sum() / total),
        ]
    result += spectrum(field.power, field, _SHELLS, _SCALED).tolist()
    for p in _MOMENTS:
        with np.errstate(divide="ignore"):
            moment = np.where(field.power > 0, field.s, 1.0) ** p
        result.append(float(np.log((field.power * moment).sum() / max(field.mean, 1e-6) ** 2 + 1e-9)))
    result.append(float(np.sqrt(np.mean(potential**2))))
    return np.array(result)


def spectrum(power: np.ndarray, field: Field, shells: tuple[float, ...], scaled: tuple[float, ...]) -> np.ndarray:
    """Logarithms of the mean of |F / F_0|^2 on smooth shells of |G| / 2 pi, in 1/Å and in units of the atoms' size.

    The number of reciprocal vectors in a shell grows with the volume of the cell, and is divided out.
    """
    size = field.place.crystal.volume
    atom = (size / len(field.place.crystal)) ** (1 / 3)
    present = power > 0
    s, weight = field.s[present], power[present] / max(field.mean, 1e-6) ** 2
    result = []
    for radius, width in [(r, 0.06) for r in shells] + [(r / atom, 0.15 / atom) for r in scaled]:
        inside = np.exp(-0.5 * ((s - radius) / width) ** 2)
        norm = 4 * np.pi * (radius**2 + width**2) * width * np.sqrt(2 * np.pi)
        # Per volume of reciprocal space, in units of an atom's cell.
        result.append(float(np.log((weight * inside).sum() / (norm * atom**3) + 1e-5)))
    return np.array(result)


def _coulomb(field: Field) -> np.ndarray:
    """4 pi / G^2 in eV Å^2 / e, 0 at G = 0."""
    s2 = np.where(field.s > 0, field.s, 1.0) ** 2
    return np.where(field.s > 0, 14.399645 / (np.pi * s2), 0.0)


_DIFFERENCE_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_DIFFERENCE_SHELLS = _SHELLS[::2]

DIFFERENCE_NAMES: tuple[str, ...] = (
    *("moved", "log_mean_square", "log_hartree_per_atom", "log_hartree_per_volume", "interaction_per_atom"),
    *(f"value_{q}" for q in _DIFFERENCE_QUANTILES),
    *(f"soft_{d}" for d in _DEPTHS),
    *(f"log_spectrum_{s}" for s in _DIFFERENCE_SHELLS),
    *(f"overlap_{s}" for s in _DIFFERENCE_SHELLS),
    *("charge_mean", "charge_max", "charge_min", "charge_deviation", "charge_electronegativity", "madelung_per_atom",
      "madelung_per_volume", "electron_excess"),
)  # fmt: skip


def difference(field: Field, reference: Field, parts: dict[int, np.ndarray]) -> np.ndarray:
    """Features of what bonding does: a density against its superposition of atoms, (len(DIFFERENCE_NAMES),).

    reference: the superposition. parts: its coefficients, by element. Charges of the elements are Hirshfeld's.
    """
    crystal = field.place.crystal
    atoms = len(crystal)
    change = field.spectrum - reference.spectrum
    excess = float(change[0, 0, 0].real) / max(reference.mean, 1e-6)
    change[0, 0, 0] = 0
    moved = field._back(change)
    smooth = np.sqrt(moved**2 + 1e-4) - 1e-2
    power = np.abs(change) ** 2 * field.weights
    cross = (change * reference.spectrum.conj()).real * field.weights
    coulomb = _coulomb(field)
    hartree = 0.5 * crystal.volume * float((power * coulomb).sum())
    result = [
        float(smooth.mean()) / max(reference.mean, 1e-6),
        float(np.log(power.sum() + 1e-9)),
        float(np.log(hartree / atoms + 1e-6)),
        float(np.log(hartree / crystal.volume + 1e-8)),
        float(np.arcsinh(crystal.volume * (cross * coulomb).sum() / atoms)),
    ]
    bent = np.arcsinh(moved / 0.02)
    result += quantiles(bent, None, _DIFFERENCE_QUANTILES, -7.0, 7.0, 0.1).tolist()
    for depth in _DEPTHS:
        soft = np.exp(-reference.positive / depth)
        result.append(float((soft * bent).sum() / (soft.sum() + 1e-9 * soft.size)))
    for radius in _DIFFERENCE_SHELLS:
        inside = np.exp(-0.5 * ((field.s - radius) / 0.1) ** 2)
        atom_power = (reference.power * inside).sum() + 1e-9
        result.append(float(np.log((power * inside).sum() / atom_power + 1e-6)))
    for radius in _DIFFERENCE_SHELLS:
        inside = np.exp(-0.5 * ((field.s - radius) / 0.1) ** 2)
        atom_power = (reference.power * inside).sum() + 1e-9
        result.append(float(np.clip((cross * inside).sum() / atom_power, -2, 2)))
    return np.array([*result, *_charges(field, moved, parts), excess])


def _charges(field: Field, moved: np.ndarray, parts: dict[int, np.ndarray]) -> list[float]:
    from .composition import tables

    crystal = field.place.crystal
    numbers = np.array(list(parts))
    counts = np.array([(crystal.numbers == z).sum() for z in numbers])
    shares = np.stack([_bent(field._back(part)) for part in parts.values()])
    shares /= shares.sum(axis=0)
    # Positive where electrons are missing.
    charges = -(shares * moved).mean(axis=(1, 2, 3)) * crystal.volume / counts
    fractions = counts / counts.sum()
    chi = tables()["Electronegativity"][numbers]
    chi = chi - fractions @ chi
    # Point charges are narrow Gaussians; their own energy is subtracted.
    width = 0.35
    factors = _points(field, numbers, width)
    spectrum = sum(q * factor / crystal.volume for q, factor in zip(charges, factors, strict=True))
    power = np.abs(spectrum) ** 2 * field.weights
    energy = 0.5 * crystal.volume * float((power * _coulomb(field)).sum())
    own = 14.399645 / (2 * width * np.sqrt(np.pi)) * float(counts @ charges**2)
    madelung = energy - own
    return [
        float(fractions @ np.sqrt(charges**2 + 1e-6)),
        float(charges.max()),
        float(charges.min()),
        float(np.sqrt(fractions @ (charges - fractions @ charges) ** 2)),
        float(fractions @ (charges * chi)),
        madelung / len(crystal),
        madelung / crystal.volume,
    ]


def _points(field: Field, numbers: np.ndarray, width: float) -> list[np.ndarray]:
    """Structure factor of each element, of Gaussians with a standard deviation in Å, on the half spectrum."""
    crystal, grid = field.place.crystal, field.place.grid
    damping = np.exp(-2 * (np.pi * width * field.s) ** 2)
    result = []
    for number in numbers:
        factor = np.zeros(field.s.shape, complex)
        for position in crystal.positions[crystal.numbers == number]:
            axes = [np.fft.fftfreq(n, 1 / n) for n in grid[:2]] + [np.arange(grid[2] // 2 + 1)]
            x, y, z = (np.exp(-2j * np.pi * h * p) for h, p in zip(axes, position, strict=True))
            factor += x[:, None, None] * y[None, :, None] * z[None, None, :]
        result.append(factor * damping)
    return result


def _bent(values: np.ndarray) -> np.ndarray:
    return 0.5 * (values + np.sqrt(values**2 + 1e-8)) + 1e-7
