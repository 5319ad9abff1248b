"""The volume that a crystal has at rest: what other crystals of its kind and with its elements say of it.

Bonds of a crystal are compared with the sums of covalent radii. By how much all of them are longer, in the mean of the
logarithms, is its *stretch*; a crystal whose volume grows by 10 % stretches by a third of log 1.1 and stays what it was
otherwise. A Gaussian process (`methods.gaussian`) learns the stretch of the training materials of a property model from
properties that a change of the volume leaves as they are. Composition, angles and coordination are in the tables of the
property model; packing, springs and bands are those of the crystal without stretch.

How far off it is for a crystal, the residuals of the nearest training materials say, each left out with its formula. A
structure that is farther from its volume at rest than nearly all of them is told to be stretched or compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import features
from ..crystal import Crystal
from ..errors import require
from ..features import bands, bonds, cells, environments, tightbinding
from ..plugins import models_folder
from . import ModelError, Rows, storage
from .methods import gaussian

if TYPE_CHECKING:
    from .ensemble import Ensemble

NAME = "volumes"
_FILE, _WEIGHTS = "volumes.safetensors.xz", "member-0/process.safetensors.xz"
#: Training materials whose residuals tell how far off a volume may be, and by which power of the similarity.
_NEAR, _POWER = 32, 8
#: Logarithm of the volume: added to the mean residual of what is near; the largest residual that counts in it.
_ALWAYS, _LARGEST = 0.02, 0.15
#: Share of the training materials, left out with their formula, that may be flagged.
FLAGGED = 0.017
#: Atoms of a primitive cell that is looked at. No training material has half as many; bands cost their cube.
LARGEST = 200
#: Rounds of finding the noise of each row, as in `gaussian`.
_ROUNDS = 3
#: What of a crystal's geometry its volume leaves as it is, by the beginnings of the names of features.
_SHAPE = (
    "log_n_", "cell_", "coordination_", "electronegativity_difference", "bond_radius", "share_", "angle_",
    "steinhardt_", "asymmetry_",
)  # fmt: skip
#: What is computed anew of the crystal without its stretch: the rest of its geometry, springs and bands.
_REST = tuple(
    i for i, n in enumerate(bonds.GEOMETRY_NAMES) if not n.startswith((*_SHAPE, "log_electron_density"))
)  # fmt: skip
_OWN = (len(_REST), len(bonds.SPRING_NAMES), len(bands.BAND_NAMES))
#: Of the last group of columns of an atom: all bonds' weight, mean logarithm of their lengths, directions.
_OF_ATOMS, _LENGTH = np.array([0, 1, *range(4, 10)]), 1
#: By what these lengths differ in a crystal, once its stretch is taken off.
_SPREAD = 0.05


def at_rest(crystal: Crystal) -> tuple[float, np.ndarray]:
    """Mean logarithm of bond lengths over sums of covalent radii, 0 where there are no bonds, and features (k,) that a
    crystal has without this stretch: those of its geometry that a volume changes, springs, bands."""
    small = cells.canonical(crystal).crystal
    near = bonds.neighbours(small).bonds()
    total = near.weights.sum()
    found = float(near.weights @ np.log(near.scaled) / total) if total > 0 else 0.0
    pairs = bonds.neighbours(Crystal(small.cell * np.exp(-found), small.positions, small.numbers))
    near = pairs.bonds()
    parts = [
        bonds.geometry(pairs, 1, 1.0)[list(_REST)],
        np.array(bonds.springs(near, near.scaled**-4.0)),
        bands.describe(pairs, tightbinding.by_radius(pairs)),
    ]
    return found, np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class Volumes:
    """A process of the stretches of the training materials of a model.

    Attributes
    ----------
    learner : Model
        That of `learners.invariant`, whose tables the process looks at.
    theta : np.ndarray
        Logarithms of the hyperparameters.
    stretch : np.ndarray
        (n,) of the training materials.
    own : np.ndarray
        (n, k) int8, packed features of `at_rest`.
    scaler : Scaler
        Of these features.
    alpha : np.ndarray
        (n,).
    scales : np.ndarray
        (2,): mean and scale of what is learned, three times the stretch: a logarithm of a volume.
    variance : np.ndarray
        (n,) of the training materials before anything is learned, in units of the scale.
    residual, near : np.ndarray
        (n,): by how much the logarithm of each training material's volume is more than it is told by those of other
        formulas, and the mean size of that in what is near.
    limit : float
        How many times `near + 0.02` a residual may be.
    """

    learner: Any
    theta: np.ndarray
    stretch: np.ndarray
    own: np.ndarray
    scaler: gaussian.Scaler
    alpha: np.ndarray
    scales: np.ndarray
    variance: np.ndarray
    residual: np.ndarray
    near: np.ndarray
    limit: float

    @classmethod
    def fit(
        cls,
        learner: Any,
        crystals: Sequence[Crystal],
        formulas: Sequence[str],
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
    ) -> Volumes:
        """Of the first training rows of a learner, whose crystals these are. Five minutes for 6,000."""
        found = [at_rest(crystal) for crystal in crystals]
        stretch, features_of = np.array([one for one, _ in found]), np.stack([other for _, other in found])
        scales = np.array([3 * stretch.mean(), 3 * stretch.std() + 1e-12])
        scaler = gaussian.Scaler.of(features_of)
        own = gaussian.pack(scaler(features_of))
        rows = _parts(learner, None, stretch, gaussian.unpack(own), scaler)
        target = (3 * stretch - scales[0]) / scales[1]
        theta = gaussian.optimise(_layout(), rows, target[:, None], seed)
        if progress is not None:
            progress(f"volumes: {len(crystals)} rows")
        matrix = gaussian.covariance(_layout(), theta, rows, rows)
        left, alpha = _left_out(matrix, target, float(_layout().split(theta).noise), formulas)
        residual, variance = left * scales[1], np.diag(matrix).copy()
        near = _near(_similar(matrix, variance, variance, _keys(formulas)), np.abs(residual))
        limit = float(np.quantile(np.abs(residual) / (near + _ALWAYS), 1 - FLAGGED))
        return cls(learner, theta, stretch, own, scaler, alpha, scales, variance, residual, near, limit)

    @cached_property
    def _training(self) -> gaussian.Parts:
        return _parts(self.learner, None, self.stretch, gaussian.unpack(self.own), self.scaler)

    def compare(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """(logarithm of each row's volume over that at rest (n,), how far that may be off (n,))."""
        found = [at_rest(crystal) for crystal in rows.crystals]
        stretch, own = np.array([one for one, _ in found]), self.scaler(np.stack([other for _, other in found]))
        asked, plan = _parts(self.learner, rows, stretch, own, self.scaler), _layout()
        cross = gaussian.covariance(plan, self.theta, asked, self._training)
        told = cross @ self.alpha * self.scales[1] + self.scales[0]
        variance = _variances(plan, self.theta, asked)
        near = _near(_similar(cross, variance, self.variance, None), np.abs(self.residual))
        return 3 * stretch - told, self.limit * (near + _ALWAYS)

    def flagged(self, strain: float = 0.0) -> np.ndarray:
        """(n,) bool: the training materials, left out with their formula, that are flagged at a volume larger by
        exp(strain)."""
        return np.abs(self.residual + strain) > self.limit * (self.near + _ALWAYS)

    def save(self, folder: Path, weights: str) -> str:
        """Files and `model.json`; returns the identifier. weights: checksum of those of the property model."""
        tensors = require("safetensors.numpy", "ml", "volumes")
        arrays = {"theta": self.theta, "scales": self.scales, "own": self.own, "limit": np.array([self.limit])}
        arrays |= {"mean": self.scaler.mean, "scale": self.scaler.scale}
        arrays |= {"stretch": self.stretch.astype(np.float32), "alpha": self.alpha.astype(np.float32)}
        arrays |= {"variance": self.variance.astype(np.float32)}
        arrays |= {"residual": self.residual.astype(np.float16), "near": self.near.astype(np.float16)}
        storage.write_packed(folder / _FILE, tensors.save({n: np.ascontiguousarray(a) for n, a in arrays.items()}))
        return storage.seal(folder, {"name": NAME, "features": features.VERSION, "weights": weights})

    @classmethod
    def load(cls, folder: Path, learner: Any) -> Volumes:
        """Raises `ModelError`, `ChecksumError` if it is missing or damaged."""
        tensors = require("safetensors.numpy", "ml", "volumes")
        storage.check(folder, storage.read_description(folder))
        found = tensors.load(storage.read_packed(folder / _FILE))
        names = ("theta", "stretch", "alpha", "scales", "variance", "residual", "near")
        rest = {n: found[n].astype(float) for n in names}
        scaler = gaussian.Scaler(found["mean"], found["scale"])
        return cls(learner, own=found["own"], scaler=scaler, limit=float(found["limit"][0]), **rest)


def weights_of(ensemble: Ensemble) -> str:
    """Checksum of the tables that volumes refer to; "" of a model without such tables."""
    return str(ensemble.description.get("files", {}).get(_WEIGHTS, {}).get("sha256", ""))


def of(ensemble: Ensemble, folder: Path | None = None) -> Volumes | None:
    """The volumes that go with a model; None where there are none of it."""
    weights = weights_of(ensemble)
    return _loaded(ensemble, weights, folder or models_folder(NAME)) if weights else None


@lru_cache(maxsize=1)
def _loaded(ensemble: Ensemble, weights: str, folder: Path) -> Volumes | None:
    try:
        if storage.read_description(folder).get("weights") != weights:
            return None
    except ModelError:
        return None
    return Volumes.load(folder, ensemble.members[0])


def remark(ensemble: Ensemble, rows: Rows) -> str:
    """What to say of one row that is stretched or compressed; "" of any other, of very large cells, and where there are
    no volumes."""
    volumes, crystal = of(ensemble), rows.crystals[0]
    if volumes is None or len(cells.canonical(crystal).crystal) > LARGEST:
        return ""
    apart, margin = (float(x[0]) for x in volumes.compare(rows))
    if abs(apart) <= margin:
        return ""
    here = crystal.volume / len(crystal)
    there = here * np.exp(-apart)
    more = "more" if apart > 0 else "less"
    return (
        f"volume per atom {here:.1f} Å^3, {100 * abs(here / there - 1):.0f} % {more} than such a crystal has at rest, "
        f"{there:.1f} (±{100 * margin:.0f} %): no stretched or compressed cell was learned, do not compare volumes"
    )


# What the process looks at --------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _columns() -> tuple[np.ndarray, tuple[int, ...]]:
    """Columns of the features that a volume does not change, those of a group side by side, and the groups' sizes."""
    names = features.names()
    shape = tuple(f"structure.{beginning}" for beginning in _SHAPE)
    groups = [
        [i for i, name in enumerate(names) if name.startswith(beginning)]
        for beginning in ("MagpieData", "element.", "fraction.", shape)
    ]
    return np.concatenate([np.array(group) for group in groups]), tuple(len(group) for group in groups)


@lru_cache(maxsize=1)
def _layout() -> gaussian.Layout:
    *composition, shape = _columns()[1]
    ends = np.cumsum([0, *composition, shape + _OWN[0], *_OWN[1:]])
    groups = tuple(slice(int(a), int(b)) for a, b in pairwise(ends))
    *first, last = environments.GROUPS
    atoms = (*first, slice(last.start, last.start + len(_OF_ATOMS)))
    return gaussian.Layout(groups, (0, 1, 2, 3, 4, 5), (0, 1, 3, 5), 2, atoms)


def _parts(
    learner: Any, rows: Rows | None, stretch: np.ndarray, own: np.ndarray, scaler: gaussian.Scaler
) -> gaussian.Parts:
    """Rows, or the first training rows. stretch, own: theirs, scaled by the scaler."""
    scaled, atoms = learner.seen(rows, len(own))
    columns = _columns()[0]
    used = np.concatenate([learner.scaler.scale[columns] > 0, scaler.scale > 0])
    last = environments.GROUPS[-1].start
    values = np.ascontiguousarray(atoms.values[:, np.append(np.arange(last), last + _OF_ATOMS)])
    # Lengths of an atom's bonds, less the stretch of its crystal.
    mean, scale = (float(x[last + _LENGTH]) for x in (learner.atom_scaler.mean, learner.atom_scaler.scale))
    length = (
        gaussian.BEND * np.arctanh(np.clip(values[:, last + _LENGTH] / gaussian.BEND, -0.999, 0.999)) / scale + mean
    )
    length -= stretch[atoms.owners]
    values[:, last + _LENGTH] = gaussian.BEND * np.tanh(length / _SPREAD / gaussian.BEND)
    return gaussian.parts(
        _layout(), np.hstack([scaled[:, columns], own]), used, gaussian.Atoms(values, atoms.shares, atoms.counts)
    )


# What is learned ------------------------------------------------------------------------------------------------------


def _keys(formulas: Sequence[str]) -> np.ndarray:
    return np.unique(np.asarray(formulas), return_inverse=True)[1]


def _left_out(
    matrix: np.ndarray, target: np.ndarray, least: float, formulas: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(residuals of rows that are left out with their formula (n,), weights alpha (n,)); noise as of `gaussian`."""
    from scipy.linalg.lapack import dpotrf, dpotri

    keys, n = _keys(formulas), len(target)
    order = np.argsort(keys, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
    noise, residual, alpha = np.full(n, least), np.zeros(n), np.zeros(n)
    for _ in range(_ROUNDS):
        total = matrix.copy()
        total[np.diag_indices(n)] += noise
        factor, failed = dpotrf(total, lower=True, overwrite_a=True)
        if failed:
            raise ModelError("the covariance of the training rows is not positive definite")
        inverse = np.tril(dpotri(factor, lower=True, overwrite_c=True)[0])
        inverse += np.tril(inverse, -1).T
        alpha, variance = inverse @ target, np.empty(n)
        for group in groups:
            block = np.linalg.inv(inverse[np.ix_(group, group)])
            residual[group], variance[group] = block @ alpha[group], np.diag(block)
        weight = (gaussian.FREEDOM + 1) / (gaussian.FREEDOM + residual**2 / (np.maximum(variance - noise, 0) + least))
        noise = least / np.minimum(weight, 1.0)
    return residual, alpha


def _similar(
    covariance: np.ndarray, own: np.ndarray, theirs: np.ndarray, keys: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """(the nearest training rows (n, k), their similarities) by covariances and variances; rows of the same key are not
    near to each other."""
    rows, alike = [], []
    for i, line in enumerate(covariance):
        found = line / np.sqrt(own[i] * theirs)
        if keys is not None:
            found = np.where(keys == keys[i], -1.0, found)
        some = np.argpartition(-found, min(_NEAR, len(found) - 1))[:_NEAR]
        rows.append(some)
        alike.append(np.clip(found[some], 1e-3, 1.0))
    return np.stack(rows), np.stack(alike)


def _near(similar: tuple[np.ndarray, np.ndarray], size: np.ndarray) -> np.ndarray:
    """Mean size of the residuals of what is near."""
    rows, alike = similar
    weight = alike**_POWER
    return np.asarray((weight * np.minimum(size[rows], _LARGEST)).sum(axis=1) / weight.sum(axis=1))


def _variances(plan: gaussian.Layout, theta: np.ndarray, rows: gaussian.Parts) -> np.ndarray:
    """(n,) prior variances, row by row."""
    each = (rows.take(np.array([i])) for i in range(len(rows)))
    return np.array([gaussian.covariance(plan, theta, one, one)[0, 0] for one in each])
