"""A model of trained members: valence electrons, domain, and errors calibrated on the validation part."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..catalog import Catalog
from ..density import Crystal
from ..parallel.processes import cores
from ..promolecule import Prior
from ..splits import RULE
from ..store.transaction import Kind, writing
from . import atoms, training
from .applicability import ApplicabilityDomain, descriptors
from .architecture import Configuration
from .calibration import Calibration
from .evaluation import evaluate
from .graph import graph
from .model import FILE, MAGNETISATION, DensityModel, Member, is_model
from .network import Network
from .samples import Sample, load

_FEWEST = 20  # minimum number of materials for a calibration
_WHOLE = 1e-3


def _is_one(folder: Path) -> bool:
    """Whether a folder holds density models, trained or in training."""
    files = [path for name in (FILE, MAGNETISATION) if os.path.lexists(path := folder / name)]
    return all(map(is_model, files)) and (bool(files) or (folder / "member0").is_dir())


#: A folder of density models, as a target of writing. The files of others in it stay.
DENSITY_MODEL = Kind("a density model", _is_one, lambda folder: lambda key: key in (FILE, MAGNETISATION))


def train(
    catalog: Catalog,
    folder: str | Path,
    recipes: Sequence[tuple[Configuration, training.Recipe]],
    *,
    more: Sequence[Catalog] = (),
    start: DensityModel | None = None,
    keep: DensityModel | None = None,
    channel: str = "total",
    workers: int | None = None,
    progress: bool = False,
    report: Callable[[int, training.Progress], None] = lambda member, progress: None,
) -> DensityModel:
    """Train the members of a model on a catalog, and write the model into a folder. An interrupted training goes on.

    recipes: of each member. more: further catalogs; their training parts train, too.
    start: a model with as many members as there are recipes; their weights are the first ones.
    keep: a model whose members stay, beside the new ones.
    channel: `total`, or `magnetization` for a model of the densities that have one.
    report: is called with the member's number and its progress.
    Raises `TrainingError` if there is nothing to train on, or `start` has other members; `StoreError` for a folder
    of something other than a density model, or one in which another training runs.
    of something else than a density model, or in which another training is running.
    """
    if start is not None and [m.configuration for m in start.members] != [c for c, _ in recipes]:
        raise training.TrainingError("a start has as many members as are trained, of the same sizes")
    for given in (start, keep):
        if given is not None and given.channel != channel:
            raise training.TrainingError(
                f"{given.identifier}: a model of the channel {given.channel}, not of {channel}"
            )
    with writing(folder, DENSITY_MODEL) as transaction:
        place = transaction.target
        samples, prior = load([catalog, *more], workers, progress, start, channel)
        if not samples:
            raise training.TrainingError(f"no density of {catalog.path} has the channel {channel}: nothing to train on")
        networks, facts = [], []
        for index, (configuration, recipe) in enumerate(recipes):
            first = None if start is None else to_network(start, index)
            network, found = training.train(
                samples, place / f"member{index}", configuration, recipe, start=first,
                report=partial(report, index),
            )  # fmt: skip
            networks.append(network)
            facts.append(found if start is None else {**found, "start": start.identifier})
        model = assemble(
            catalog, samples, prior, networks, facts, start=start, keep=keep, channel=channel, workers=workers,
            progress=progress,
        )  # fmt: skip
        return model.save(place / (FILE if channel == "total" else MAGNETISATION))


def assemble(
    catalog: Catalog,
    samples: Sequence[Sample],
    prior: Prior,
    networks: Sequence[Network],
    facts: Sequence[dict[str, Any]],
    *,
    start: DensityModel | None = None,
    keep: DensityModel | None = None,
    channel: str = "total",
    workers: int | None = None,
    progress: bool = False,
) -> DensityModel:
    """A model of trained members. It is calibrated where the validation part has at least 20 materials.

    samples: as from `samples.load`; only those of the catalog calibrate. start: a model whose potentials are the first
    guess. keep: a model whose members stay, beside the new ones. Raises `TrainingError` if it knows other elements.
    """
    training_part = [s for s in samples if s.part == "train"]
    values = np.array([descriptors(s.crystal, graph(s.crystal)) for s in training_part])
    known = np.array(networks[0].known)
    crystals, counts = [s.crystal for s in samples], np.array([s.spectrum.electrons for s in samples])
    if start is None:
        electrons = valence(crystals, counts, known)
    else:
        electrons = {**start.valence, **atoms.valence(start, crystals, counts.tolist())}
    members = tuple(Member(n.configuration, _arrays(n)) for n in networks)
    if keep is not None:
        if not np.array_equal(keep.known, known) or keep.configuration.basis != networks[0].configuration.basis:
            raise training.TrainingError(
                f"{keep.identifier} knows other elements or functions: its members cannot stay"
            )
        prior = mean_of(keep.prior, len(keep.members), prior, len(members))
        members, facts = (*keep.members, *members), [*keep.facts["members"], *facts]
    model = DensityModel(
        known=known,
        valence=electrons,
        prior=prior,
        members=members,
        calibration=None,
        domain=ApplicabilityDomain.fit(values, [s.crystal.numbers for s in training_part]),
        facts={
            "members": list(facts),
            **({} if channel == "total" else {"channel": channel, "polarised": polarised(catalog, samples)}),
            "split": RULE,
            "versions": {"python": platform.python_version(), **{n: version(n) for n in ("torch", "numpy", "spglib")}},
        },
    )
    own = set(catalog.ids)
    ids = [s.material_id for s in samples if s.part == "validation" and s.material_id in own]
    ids = [i for i in ids if np.isin(catalog[i].crystal.numbers, known).all()]
    if len(ids) < _FEWEST:
        return model
    results = evaluate(model, catalog, ids, workers=workers or cores(), progress=progress)
    spread, size, error = (np.array([getattr(r, name) for r in results]) for name in ("spread", "size", "nmae"))
    return replace(model, calibration=Calibration.fit(spread, size, error))


def mean_of(first: Prior, of_first: int, second: Prior, of_second: int) -> Prior:
    """Form factors for the mean difference of all members, where some were trained with other form factors than the
    rest: the mean, weighted by the numbers of members."""
    rows = [
        np.searchsorted(p.numbers, numbers := np.intersect1d(first.numbers, second.numbers)) for p in (first, second)
    ]
    parts = of_first * first.coefficients[rows[0]] + of_second * second.coefficients[rows[1]]
    return Prior(numbers, parts / (of_first + of_second))


def polarised(catalog: Catalog, samples: Sequence[Sample]) -> list[int]:
    """Atomic numbers of the elements that only come in densities with a magnetisation."""
    there = {s.material_id for s in samples}
    found = {int(z) for s in samples for z in s.crystal.numbers}
    without = {int(z) for i in catalog.ids if i not in there for z in catalog[i].crystal.numbers}
    return sorted(found - without)


def valence(crystals: Sequence[Crystal], electrons: np.ndarray, known: np.ndarray) -> dict[int, float]:
    """Electrons of each element, from the electron counts of cells; whole numbers where they are within 0.001.

    Elements that only come together share what their sum leaves open.
    """
    amounts = np.array([[np.count_nonzero(c.numbers == z) for z in known] for c in crystals], float)
    found = np.linalg.lstsq(amounts, electrons, rcond=None)[0]
    whole = np.rint(found)
    found = np.where(np.abs(found - whole) < _WHOLE, whole, found)
    return {int(z): float(n) for z, n in zip(known, found, strict=True)}


def to_network(model: DensityModel, index: int) -> Network:
    """A member of a model in torch."""
    import torch

    member = model.members[index]
    tensors = {name: torch.as_tensor(np.asarray(value, np.float32)) for name, value in member.weights.items()}
    network = Network(member.configuration, model.known.tolist(), tensors["properties"])
    network.load_state_dict(tensors)
    return network


def _arrays(network: Network) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in network.state_dict().items()}
