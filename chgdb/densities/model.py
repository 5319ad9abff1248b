"""The density model and its file: networks of difference densities, form factors, and how they were trained.

It is one safetensors file. Its header holds one text, `chgdb`: a SHA-256 in hex over the tensors and the rest of the
text, a blank, and JSON. The JSON has the version of the format, the sizes of the networks, calibration, domain, and how
they were trained.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from .. import atomic
from ..density import Crystal
from ..elements import SYMBOLS
from ..errors import ChecksumError, DensityError, fitting
from ..plugins import models_folder
from ..promolecule import Prior
from .applicability import ApplicabilityDomain
from .architecture import Configuration
from .calibration import Calibration
from .graph import Graph, graph
from .inference import coefficients

#: Version of the file; no other is read.
FORMAT_VERSION = 1
#: The models in the catalog: of densities, and of magnetisations.
FILE, MAGNETISATION = "model.safetensors", "magnetization.safetensors"
_KINDS = {"magnetization": "magnetisation"}
_HEADER = "chgdb"  # one entry alone, because safetensors does not keep an order


class DensityModelError(DensityError):
    """A density model that cannot be read, or a structure that it cannot say anything about."""


@dataclass(frozen=True, eq=False)
class Member:
    """One network. weights: by name, as `inference.coefficients` takes them, in the precision of the file."""

    configuration: Configuration
    weights: Mapping[str, np.ndarray]

    @cached_property
    def precise(self) -> dict[str, np.ndarray]:
        """The weights in double precision."""
        return {name: value.astype(np.float64) for name, value in self.weights.items()}


@dataclass(frozen=True, eq=False)
class DensityModel:
    """Networks whose mean is the guess, with form factors of the elements.

    known: (n,) atomic numbers of the elements, ascending. valence: atomic number -> electrons of its potential.
    cut: 1/Å, |G| / 2 pi up to which differences are guessed. facts: how the members were trained.
    """

    known: np.ndarray
    valence: Mapping[int, float]
    prior: Prior
    members: tuple[Member, ...]
    calibration: Calibration | None
    domain: ApplicabilityDomain | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    identifier: str = ""

    @property
    def configuration(self) -> Configuration:
        """The sizes of the first member. All members have the same basis and reach."""
        return self.members[0].configuration

    @property
    def channel(self) -> str:
        """The channel that is guessed: `total`, or `magnetization`, whose form factors are zero."""
        return str(self.facts.get("channel", "total"))

    def check(self, crystal: Crystal) -> None:
        """Raises `DensityModelError` for a structure without atoms, or with an element that the model does not know.

        A model of magnetisations refuses a structure without a magnetic element of its training set, too.
        """
        if not len(crystal):
            raise DensityModelError("there are no atoms in this structure: nothing has a density")
        unknown = np.setdiff1d(crystal.numbers, self.known)
        if len(unknown):
            names = ", ".join(SYMBOLS[z] for z in unknown)
            if self.facts.get("own_atoms"):
                raise DensityModelError(
                    f"{crystal.formula}: none of the densities that the atoms were fitted to has {names}: add one"
                )
            raise DensityModelError(
                f"{crystal.formula}: the density model knows no {names}: none of its training densities has it "
                f"(it knows {len(self.known)} elements)"
            )

        polarised = self.facts.get("polarised")
        if polarised is not None and not np.isin(crystal.numbers, polarised).any():
            names = ", ".join(SYMBOLS[z] for z in polarised)
            raise DensityModelError(
                f"{crystal.formula}: the training set has magnetisations only of crystals with {names}: estimate it "
                "without one"
            )

    def graph(self, crystal: Crystal) -> Graph:
        """The graph that `coefficients` takes."""
        return graph(crystal)

    def coefficients(self, crystal: Crystal, edges: Graph) -> np.ndarray:
        """Coefficients of `configuration.basis` on the atoms, of all members, (members, atoms, count, 25)."""
        elements = np.searchsorted(self.known, crystal.numbers)
        found = [coefficients(m.precise, m.configuration, elements, edges) for m in self.members]
        return np.stack(found)

    def electrons(self, crystal: Crystal) -> float:
        """Valence electrons of a cell."""
        return float(sum(self.valence[int(z)] for z in crystal.numbers))

    def with_atoms(self, prior: Prior, valence: Mapping[int, float]) -> DensityModel:
        """The same differences on other atoms. The stated error is then no longer calibrated."""
        numbers = np.intersect1d(self.known, prior.numbers)
        rows = np.searchsorted(self.known, numbers)
        tables = ("embedding", "properties", "element_scale")
        members = tuple(
            replace(m, weights={k: v[rows] if k in tables else v for k, v in m.weights.items()}) for m in self.members
        )
        kept = {int(z): float(valence[int(z)]) for z in numbers}
        facts = {**self.facts, "own_atoms": True}
        return replace(self, known=numbers, valence=kept, prior=prior, members=members, calibration=None, facts=facts)

    def save(self, path: str | os.PathLike[str]) -> DensityModel:
        """Write the model's file whole. Returns the model with its identifier. Weights are kept in half precision."""
        from safetensors.numpy import save

        tensors = {"known": self.known.astype("<i8"), "valence": np.array([self.valence[int(z)] for z in self.known])}
        tensors |= {f"prior.{name}": value for name, value in self.prior.to_arrays().items()}
        for index, member in enumerate(self.members):
            tensors |= {f"member{index}.{k}": v.astype("<f2") for k, v in member.weights.items()}
        header = {
            "format": FORMAT_VERSION,
            "members": [m.configuration.to_dict() for m in self.members],
            "calibration": self.calibration and self.calibration.to_dict(),
            "domain": self.domain and self.domain.to_dict(),
            "facts": dict(self.facts),
        }
        text = json.dumps(header, sort_keys=True, allow_nan=False)
        tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        data = save(tensors, {_HEADER: f"{_digest(tensors, text)} {text}"})
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(target, data)
        return load(target)


def _digest(tensors: Mapping[str, np.ndarray], text: str) -> str:
    digest = sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype.str} {value.shape}".encode() + value.tobytes())
    return digest.hexdigest()


def path(channel: str = "total") -> Path:
    """The path of the catalog's model of a channel."""
    return models_folder("density") / (FILE if channel == "total" else MAGNETISATION)


@lru_cache(maxsize=4)
def _loaded(place: str, state: tuple[int, int]) -> DensityModel:
    return _read(Path(place))


def load(place: str | os.PathLike[str] | None = None, channel: str = "total") -> DensityModel:
    """Load a model from its file or its folder; without a name, the catalog's model of a channel.

    Raises `DensityModelError` if there is no model, or one of another format; `ChecksumError` where it is damaged.
    """
    target = path(channel) if place is None else Path(place)
    if target.is_dir():
        target = target / (FILE if channel == "total" else MAGNETISATION)
    try:
        state = target.stat()
    except OSError as error:
        raise DensityModelError(f"{target}: no density model there ({error.strerror}); train one, or name it") from None
    return _loaded(os.fspath(target.resolve()), (state.st_mtime_ns, state.st_size))


def is_model(path: Path) -> bool:
    """Whether a file is that of a density model, of any version."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return _HEADER in (file.metadata() or {})
    except (OSError, SafetensorError, ValueError):
        return False


def _read(target: Path) -> DensityModel:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(target, "np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, ValueError) as error:
        raise ChecksumError(f"{target}: not the file of a density model, or damaged ({error})") from None
    if _HEADER not in metadata:
        raise DensityModelError(f"{target}: no density model: its header does not say so")
    checksum, _, text = metadata[_HEADER].partition(" ")
    if _digest(tensors, text) != checksum:
        raise ChecksumError(f"{target}: the density model is damaged: get a fresh copy")
    with fitting(target, DensityModelError):
        header = json.loads(text)
        if header["format"] != FORMAT_VERSION:
            raise DensityModelError(
                f"{target}: a density model of format {header['format']}, this version of chgdb reads {FORMAT_VERSION}"
            )
        model = _model(tensors, header, checksum)
        model.coefficients(trial := Crystal(4 * np.eye(3), np.zeros((1, 3)), model.known[:1]), graph(trial))
        return model


def _model(tensors: Mapping[str, np.ndarray], header: Mapping[str, Any], checksum: str) -> DensityModel:
    known = tensors["known"]
    members = []
    for index, configuration in enumerate(header["members"]):
        prefix = f"member{index}."
        weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        members.append(Member(Configuration(**configuration), weights))
    calibration, domain = header["calibration"], header["domain"]
    return DensityModel(
        known=known,
        valence={int(z): float(n) for z, n in zip(known, tensors["valence"], strict=True)},
        prior=Prior.from_arrays({name: tensors[f"prior.{name}"] for name in ("numbers", "coefficients")}),
        members=tuple(members),
        calibration=Calibration.from_dict(calibration) if calibration else None,
        domain=ApplicabilityDomain.from_dict(domain) if domain else None,
        facts=header["facts"],
        identifier=f"{_KINDS.get(header['facts'].get('channel'), 'difference')}-{checksum[:8]}",
    )
