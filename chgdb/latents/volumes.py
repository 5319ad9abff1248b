"""From a density to the volume that an autoencoder sees, and back; numpy only.

Volumes are indexed (z, y, x), as the latents of a store are; densities (x, y, z).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ..codecs.symmetric import symmetric_part
from ..density import Crystal, Density
from ..errors import CodecError
from ..grids import resample
from ..promolecule import Prior, superposition

_ATOM = 0.6  # Å, width of an atom that a face should not cut
_LARGEST = 512  # of grid points, channels and blocks: 128, 64 and 4 are the most of any variant


@dataclass(frozen=True)
class Configuration:
    """The properties in which variants of the autoencoder differ.

    name: of the variant.
    network: `convolutional`, as published, or `lapped`.
    target: `total`, the density as it is, or `difference`, the density minus the superposition of atomic densities.
    boundary: `zero`: the cell's grid in the corner of a volume of `most`^3 points, zero elsewhere, as published;
        `periodic`: the cell's grid alone, circular.
    spacing: maximum distance of grid points, Å; a cell that is too long for `most` points gets a wider one along that
    axis.
    most: maximum number of grid points along an axis; a multiple of `factor`.
    factor: grid points along an axis to one of the latent.
    channels: of the latent.
    widths: channels of the encoder's blocks (`convolutional`); width and number of residual blocks (`lapped`).
    batch_norm, dropout: as the paper's text has them; its published code has neither.
    scale: e/Å^3 that count as 1 to the network.
    whole: a zero-padded cell has a whole number of latent voxels along each axis, the one nearest to the spacing, so
        that its faces never cut through a voxel. Periodic grids have that anyway.
    margin: latent voxels that stay empty past the high end of a zero-padded cell, however long it is. Without, the
        far face of a long cell meets the end of the volume, which no other crystal does, and a network fails there.
    clear: the volume begins where planes along its faces pass between the atoms (`origin`), not through those at the
        origin of the cell: a zero-padded network has to make the cut through every atom on a face.
    """

    name: str
    network: str = "convolutional"
    target: str = "total"
    boundary: str = "zero"
    spacing: float = 0.075
    most: int = 128
    factor: int = 8
    channels: int = 16
    widths: tuple[int, ...] = (16, 32, 32)
    batch_norm: bool = False
    dropout: float = 0.0
    scale: float = 1.0
    whole: bool = False
    margin: int = 0
    clear: bool = False

    def __post_init__(self) -> None:
        allowed = {
            "network": ("convolutional", "lapped"),
            "target": ("total", "difference"),
            "boundary": ("zero", "periodic"),
        }
        for field, values in allowed.items():
            if getattr(self, field) not in values:
                raise CodecError(f"{field} {getattr(self, field)!r} of an autoencoder: expected {' or '.join(values)}")
        object.__setattr__(self, "widths", tuple(self.widths))
        whole = (self.most, self.factor, self.channels, *self.widths)
        sound = isinstance(self.name, str) and len(self.name) <= 200 and 1 <= len(self.widths) <= 8
        sound = sound and all(isinstance(n, int) and 1 <= n <= _LARGEST for n in whole)
        sound = sound and all(isinstance(x, int | float) for x in (self.spacing, self.scale, self.dropout))
        sound = sound and isinstance(self.whole, bool) and isinstance(self.margin, int)
        sound = sound and isinstance(self.clear, bool)
        if not sound or not 0 <= self.dropout < 1 or (self.network == "lapped" and len(self.widths) != 2):
            raise CodecError(f"the autoencoder {str(self.name)[:80]!r} has a configuration of impossible numbers")
        fits = self.network == "lapped" or self.factor == 2 ** len(self.widths)
        numbers = 1e-3 <= self.spacing <= 1e3 and 1e-6 <= self.scale <= 1e6
        room = 0 <= self.margin < self.most // self.factor and (self.boundary == "zero" or not self.margin)
        if self.most % self.factor or not fits or not numbers or not room:
            raise CodecError(f"the autoencoder {self.name} has a configuration that does not fit together")

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """(channel, z, y, x)."""
        side = self.most // self.factor
        return self.channels, side, side, side

    @property
    def longest(self) -> int:
        """Maximum number of grid points of a cell along an axis."""
        return self.most - self.margin * self.factor

    def volume_shape(self, cell: np.ndarray) -> tuple[int, int, int]:
        """Grid points (z, y, x) of a cell: its own part of the volume, without padding."""
        lengths = np.linalg.norm(np.asarray(cell, dtype=float), axis=1)
        voxel = self.factor if self.boundary == "periodic" or self.whole else 1
        counts = lengths / (self.spacing * voxel)
        rounded = np.rint(counts) if self.whole else np.ceil(counts - 1e-9)
        points = [voxel * int(n) for n in np.clip(rounded, 1, self.longest // voxel)]
        return points[2], points[1], points[0]

    def is_reduced(self, cell: np.ndarray) -> bool:
        """Whether the cell is too long for the spacing and is sampled wider."""
        lengths = np.linalg.norm(np.asarray(cell, dtype=float), axis=1)
        return bool(lengths.max() > self.spacing * self.longest * (1 + 1e-9))

    def to_json(self) -> dict[str, Any]:
        """Facts that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Configuration:
        """Raises `CodecError` for fields that this version does not know, or of the wrong type."""
        known = {field.name for field in fields(cls)}
        if not isinstance(facts, Mapping) or not set(facts) <= known or "name" not in facts:
            raise CodecError("the autoencoder's configuration is damaged or of a later version of chgdb")
        try:
            return cls(**facts)
        except TypeError as error:
            raise CodecError(f"the autoencoder's configuration is damaged: {error}") from None


#: The variants there are. `published` is the network of arXiv 2605.07227 with the latent that the catalog has room for.
CONFIGURATIONS = {
    variant.name: variant
    for variant in (
        Configuration("published", whole=True, margin=2, clear=True),
        Configuration("published-8", factor=16, channels=8, widths=(16, 32, 32, 32), whole=True, margin=2, clear=True),
        Configuration("published-32", factor=4, widths=(16, 32), whole=True, margin=2, clear=True),
        Configuration("published-text", batch_norm=True, dropout=0.1, whole=True, margin=2, clear=True),
        Configuration("difference", target="difference", scale=0.03),
        Configuration("circular", boundary="periodic"),
        Configuration(
            "periodic", "lapped", "difference", "periodic", spacing=0.2, most=48, factor=3, widths=(64, 3), scale=0.03
        ),
        Configuration("periodic-total", "lapped", "total", "periodic", spacing=0.2, most=48, factor=3, widths=(64, 3)),
    )
}
#: The variant of the catalog.
DEFAULT = "periodic"


def to_volume(density: Density, configuration: Configuration, prior: Prior | None) -> np.ndarray:
    """The target of a configuration on its grid: (z, y, x) float32, in units of its scale, without padding.

    prior: form factors, for the target `difference`. An element that the prior does not have counts as no density.
    Total densities are encoded with their mean, differences without: a store has the electron count anyway.
    """
    values = np.asarray(density.total, dtype=float)
    if configuration.target == "difference":
        values = values - values.mean() - _atoms(density.crystal, prior, density.grid)
    z, y, x = configuration.volume_shape(density.crystal.cell)
    volume = resample(values, (x, y, z)).transpose(2, 1, 0) / configuration.scale
    begin = origin(density.crystal, configuration)
    return np.ascontiguousarray(np.roll(volume, [-n for n in begin], (0, 1, 2)), dtype=np.float32)


def origin(crystal: Crystal, configuration: Configuration) -> tuple[int, int, int]:
    """Grid points (z, y, x) of the cell's own grid at which a volume begins: 0 unless the configuration is `clear`.

    Along each axis the plane between two grid points that the atoms, as Gaussians, leave the most free; the first
    of equal ones. It follows from the structure alone, which the decoder has, too.
    """
    if not configuration.clear:
        return 0, 0, 0
    shape = configuration.volume_shape(crystal.cell)
    heights = 1 / np.linalg.norm(np.linalg.inv(crystal.cell), axis=0)
    z, y, x = (_clearest(crystal, 2 - k, shape[k], heights[2 - k]) for k in range(3))
    return z, y, x


def _clearest(crystal: Crystal, axis: int, points: int, height: float) -> int:
    away = (np.arange(points)[:, None] - 0.5) / points - crystal.positions[:, axis]
    away = (away - np.rint(away)) * height
    seen = np.zeros(points)
    for image in (-height, 0.0, height):
        seen += np.exp(-0.5 * ((away + image) / _ATOM) ** 2) @ np.cbrt(crystal.numbers)
    # Planes that symmetry makes equal differ by rounding, which another reading of the structure rounds otherwise.
    return int(np.argmin(np.round(seen / seen.max(), 4)))


def context(crystal: Crystal, configuration: Configuration, prior: Prior | None) -> np.ndarray | None:
    """What a decoder may see beside the latent: the superposition of atomic densities, (z, y, x) float32, e/Å^3."""
    if configuration.network != "lapped" or configuration.target != "difference":
        return None
    z, y, x = configuration.volume_shape(crystal.cell)
    return np.ascontiguousarray(_atoms(crystal, prior, (x, y, z)).transpose(2, 1, 0), dtype=np.float32)


def from_volume(
    volume: np.ndarray, configuration: Configuration, prior: Prior | None, crystal: Crystal,
    grid: tuple[int, int, int], n_electrons: float | None, symmetric: bool = False,
) -> np.ndarray:  # fmt: skip
    """The total density (nx, ny, nz) in e/Å^3 on a grid, from what a network gave back. Not rescaled.

    n_electrons: the mean of a difference's density; unused for a total. Raises `CodecError` if it is missing.
    symmetric: keep of the network's output what has the symmetry of the crystal.
    """
    values = np.roll(np.asarray(volume, dtype=float), origin(crystal, configuration), (0, 1, 2)).transpose(2, 1, 0)
    if symmetric:  # on the coarser of both grids: nothing of the finer one's survives resampling
        nx, ny, nz = (min(pair) for pair in zip(values.shape, grid, strict=True))
        values = symmetric_part(resample(values, (nx, ny, nz)), crystal)
    values = resample(values, grid) * configuration.scale
    if configuration.target == "difference":
        if n_electrons is None:
            raise CodecError(f"the autoencoder {configuration.name} decodes only with the electron count of the cell")
        values += _atoms(crystal, prior, grid) + n_electrons / crystal.volume
    return values


def _atoms(crystal: Crystal, prior: Prior | None, grid: tuple[int, int, int]) -> np.ndarray:
    if prior is None:
        raise CodecError("a difference density needs a prior: the form factors of its elements")
    return superposition(prior, crystal, grid)
