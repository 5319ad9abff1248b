"""Training of the network of difference densities, one member of an ensemble at a time.

A training is resumable. Given the seed, every epoch sees the same materials in the same order with the same dropout,
after any number of interruptions. The learning rate falls along a cosine to the end of the epochs or of the time,
whichever comes first.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from .. import atomic
from ..errors import ChgdbError
from .architecture import Configuration
from .basis import EVEN, ODD
from .network import Inputs, Network, inputs, together
from .properties import table
from .samples import Sample

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"
_TARGETS = ("difference", "total")
_SAVE_EVERY = 120.0  # s
_LOOK_EVERY = 60.0  # s, between two evaluations of the validation part
_WARM_UP = 100  # steps
_GROUP = 16  # batches whose materials are sorted by their number of neighbours


class TrainingError(ChgdbError, ValueError):
    """A training that cannot start or go on."""


@dataclass(frozen=True)
class Recipe:
    """How a member is trained.

    epochs: maximum number. minutes: maximum, over all sessions; 0 for no limit. batch: materials in a step.
    learning_rate, weight_decay: of AdamW; element tables, biases and scales do not decay. dropout: of the scalars.
    real_space: share of the training before which the loss is the root mean square, which needs no Fourier transform;
        after it the loss is the mean |error| on a grid, the NMAE itself.
    average: of the exponential mean of the weights; the mean is what is kept.
    target: `difference` from the superposition, or `total`, for comparisons.
    """

    epochs: int = 100
    minutes: float = 0.0
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    dropout: float = 0.05
    real_space: float = 0.6
    average: float = 0.998
    target: str = "difference"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.target not in _TARGETS:
            raise TrainingError(f"target {self.target!r}: expected {' or '.join(_TARGETS)}")
        if min(self.epochs, self.batch) < 1 or not self.learning_rate > 0 or self.minutes < 0:
            raise TrainingError(
                "epochs and batch are at least 1, the learning rate is above 0, minutes are not negative"
            )
        if not (0 <= self.dropout < 1 and 0 <= self.real_space <= 1 and 0 <= self.average < 1):
            raise TrainingError("dropout and average lie between 0 and 1 without it, real_space between 0 and 1")


@dataclass(frozen=True)
class Progress:
    """Progress after each epoch, and during one.

    It has the share of the whole that is done, and relative errors (NMAE from `Recipe.real_space` on); nan where not
    measured.
    """

    epoch: int
    share: float
    train: float
    validation: float


class Task:
    """A sample as tensors: the input of the network, and the coefficients that its output is compared with."""

    def __init__(self, sample: Sample, known: Sequence[int], configuration: Configuration, target: str) -> None:
        spectrum, crystal = sample.spectrum, sample.crystal
        self.material_id = sample.material_id
        self.inputs: Inputs = inputs(sample.graph, known, configuration)
        self.degree = self.inputs.neighbours.shape[1]
        vectors = spectrum.h @ np.linalg.inv(crystal.cell).T
        inside = np.linalg.norm(vectors, axis=1) < configuration.cut
        even, odd = configuration.basis.functions(vectors[inside])
        phase = 2 * np.pi * (spectrum.h[inside] @ crystal.positions.T)
        wanted = spectrum.values - (sample.superposition if target == "difference" else 0)
        wanted = wanted[inside]

        def single(values: np.ndarray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values, np.float32))

        self.even, self.odd = single(even / crystal.volume), single(odd / crystal.volume)
        self.cosine, self.sine = single(np.cos(phase)), single(np.sin(phase))
        self.real, self.imaginary = single(wanted.real), single(wanted.imag)
        self.multiplicity = single(spectrum.multiplicity[inside])
        self.mean = spectrum.mean
        self._real_space(spectrum, inside)

    def _real_space(self, spectrum: Any, inside: np.ndarray) -> None:
        """Find the place of each orbit's coefficient on the half spectrum of the smallest grid that holds them."""
        kept = inside[spectrum.orbit]
        rank = np.cumsum(inside) - 1
        h, orbit = spectrum.members[kept].astype(np.int64), rank[spectrum.orbit[kept]]
        factor, sign = spectrum.factor[kept], np.where(spectrum.conjugate[kept], -1.0, 1.0)
        self.grid = tuple(int(2 * n + 2) for n in np.abs(h).max(axis=0, initial=0))
        both = np.concatenate([h, -h])
        orbit, factor = np.tile(orbit, 2), np.concatenate([factor, factor.conj()])
        sign = np.concatenate([sign, -sign])
        upper = both[:, 2] >= 0
        both = both[upper] % np.array(self.grid)
        shape = (*self.grid[:2], self.grid[2] // 2 + 1)
        self.place = torch.as_tensor(np.ravel_multi_index(tuple(both.T), shape))
        self.orbit = torch.as_tensor(orbit[upper])
        self.factor = torch.as_tensor(factor[upper].astype(np.complex64))
        self.sign = torch.as_tensor(sign[upper].astype(np.float32))

    def difference(self, even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary parts of (guess - truth) of each orbit, from the coefficients of all atoms."""
        at_even, at_odd = self.even @ even.T, self.odd @ odd.T
        real = (at_even * self.cosine - at_odd * self.sine).sum(1) - self.real
        imaginary = -(at_even * self.sine + at_odd * self.cosine).sum(1) - self.imaginary
        return real, imaginary

    def error(self, even: Tensor, odd: Tensor, on_grid: bool) -> Tensor:
        """Relative error of a guess: the root mean square, or, on the grid, the mean absolute error."""
        real, imaginary = self.difference(even, odd)
        if not on_grid:
            power = (self.multiplicity * (real * real + imaginary * imaginary)).sum()
            return torch.sqrt(power + 1e-12 * self.mean**2) / self.mean
        values = self.factor * torch.complex(real[self.orbit], self.sign * imaginary[self.orbit])
        shape = (*self.grid[:2], self.grid[2] // 2 + 1)
        half = torch.zeros(math.prod(shape), dtype=torch.complex64).index_copy(0, self.place, values)
        grid = torch.fft.irfftn(half.view(shape), s=self.grid, norm="forward")
        return grid.abs().mean() / self.mean


_EVEN, _ODD = torch.as_tensor(EVEN), torch.as_tensor(ODD)


def errors(network: Network, tasks: Sequence[Task], on_grid: bool, dropout: float = 0.0) -> Tensor:
    """Relative errors of a network on some tasks, (n,)."""
    joined, crystal = together([t.inputs for t in tasks])
    coefficients = network(joined, crystal, len(tasks), dropout)
    counts = [len(t.inputs.equal) for t in tasks]
    even = coefficients[:, :, _EVEN].flatten(1).split(counts)
    odd = coefficients[:, :, _ODD].flatten(1).split(counts)
    return torch.stack([t.error(e, o, on_grid) for t, e, o in zip(tasks, even, odd, strict=True)])


def measure(network: Network, tasks: Sequence[Task], on_grid: bool = True) -> np.ndarray:
    """`errors` without gradients, some tasks at a time."""
    network.eval()
    with torch.no_grad():
        parts = [errors(network, tasks[k : k + 16], on_grid).numpy() for k in range(0, len(tasks), 16)]
    return np.concatenate(parts) if parts else np.zeros(0)


class Member:
    """A network in training, and everything that a checkpoint holds."""

    def __init__(self, configuration: Configuration, recipe: Recipe, known: Sequence[int]) -> None:
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        self.network = Network(configuration, known, torch.as_tensor(table(known), dtype=torch.float32))
        self.mean = {name: value.clone() for name, value in self.network.named_parameters()}
        fixed = ("embedding", "element_scale")
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, value in self.network.named_parameters():
            groups[value.dim() > 1 and name not in fixed].append(value)
        parameters: list[dict[str, Any]] = [
            {"params": groups[True], "weight_decay": recipe.weight_decay},
            {"params": groups[False]},
        ]
        self.optimiser = torch.optim.AdamW(
            parameters, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )
        self.epoch, self.steps, self.seconds = 0, 0, 0.0
        self.training: float | None = None
        self.validation: float | None = None

    def averaged(self) -> Network:
        """The network with the mean of its weights."""
        network = Network(self.network.configuration, self.network.known, self.network.properties)
        network.load_state_dict(self.mean | {"properties": self.network.properties})
        return network.eval()

    def save(self, folder: Path, mark: dict[str, Any]) -> None:
        tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in self.network.named_parameters()}
        tensors |= {f"mean.{k}": v for k, v in self.mean.items()}
        for index, entry in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in entry.items()}
        names = ("epoch", "steps", "seconds", "training", "validation")
        state = {name: getattr(self, name) for name in names}
        data = save(
            {k: v.detach().contiguous() for k, v in tensors.items()}, {"state": json.dumps(state | {"mark": mark})}
        )
        atomic.write(folder / CHECKPOINT, data)

    def resume(self, folder: Path, mark: dict[str, Any]) -> None:
        """Go on from a checkpoint, if there is one. Raises `TrainingError` for that of another training."""
        if not (folder / CHECKPOINT).exists():
            return
        try:
            from safetensors import safe_open

            with safe_open(folder / CHECKPOINT, "pt") as file:
                state = json.loads(file.metadata()["state"])
            tensors = load_file(folder / CHECKPOINT)
        except Exception as error:  # safetensors raises an exception of its own for every fault of a file
            raise TrainingError(f"{folder / CHECKPOINT} is damaged ({error}): remove it to start anew") from None
        if state["mark"] != mark:
            raise TrainingError(f"{folder} holds a checkpoint of another training: remove it, or choose another folder")
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                value.copy_(tensors[f"network.{name}"])
                self.mean[name].copy_(tensors[f"mean.{name}"])
        found = self.optimiser.state_dict()
        count = sum(len(group["params"]) for group in found["param_groups"])
        found["state"] = {
            index: {key: tensors[f"optimiser.{index}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
            for index in range(count)
        }
        self.optimiser.load_state_dict(found)
        self.epoch, self.steps, self.seconds = state["epoch"], state["steps"], state["seconds"]
        self.training, self.validation = state["training"], state["validation"]

    def step(self, tasks: Sequence[Task], share: float) -> np.ndarray:
        """Take one step on some tasks at a share of the whole training. Returns their errors before it."""
        recipe = self.recipe
        rate = recipe.learning_rate * min(1.0, (self.steps + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * share))
        for group in self.optimiser.param_groups:
            group["lr"] = rate + 1e-6
        self.network.train()
        found = errors(self.network, tasks, share >= recipe.real_space, recipe.dropout)
        self.optimiser.zero_grad()
        found.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        keep = min(recipe.average, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.mean.values()), list(self.network.parameters()), 1 - keep)
        return found.detach().numpy()


def train(
    samples: Sequence[Sample],
    folder: str | Path,
    configuration: Configuration,
    recipe: Recipe,
    *,
    start: Network | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Network, dict[str, Any]]:
    """Train a member on the training part of some samples, or go on with an interrupted training.

    folder: of its checkpoint and its log. start: a network whose weights are the first ones.
    Returns the network and facts of its training. Raises `TrainingError` if there is no training part, or the folder
    holds a checkpoint of another training.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    chosen = {part: [s for s in samples if s.part == part] for part in ("train", "validation")}
    if not chosen["train"]:
        raise TrainingError(f"none of {len(samples)} materials is in the training part of the split: give more of them")
    known = start.known if start is not None else sorted({int(z) for s in chosen["train"] for z in s.crystal.numbers})
    mark = _mark(chosen, configuration, recipe, start)
    member = Member(configuration, recipe, known)
    if start is not None:
        member.network.load_state_dict(start.state_dict())
        member.mean = {name: value.detach().clone() for name, value in member.network.named_parameters()}
    member.resume(place, mark)
    tasks = {part: [Task(s, known, configuration, recipe.target) for s in found] for part, found in chosen.items()}
    _loop(member, tasks, place, mark, report)
    network = member.averaged()
    facts = {
        "recipe": asdict(recipe),
        "configuration": configuration.to_dict(),
        "epochs": member.epoch,
        "steps": member.steps,
        "training": member.training,
        "validation": member.validation,
        "seconds": round(member.seconds),
        "parameters": sum(p.numel() for p in network.parameters()),
        "materials": {part: len(found) for part, found in chosen.items()},
        "data_sha256": mark["data"],
        "history": history(place, member.epoch),
    }
    return network, facts


def history(folder: Path, epochs: int) -> list[tuple[int, int, float, float]]:
    """(epoch, seconds, training error, validation error) of each look at the validation part, up to an epoch.

    An interrupted training repeats what came after its checkpoint; the later line of an epoch is the one that counts.
    """
    if not (folder / LOG).exists():
        return []
    lines = map(json.loads, (folder / LOG).read_text(encoding="utf-8").splitlines())
    found = {line["epoch"]: line for line in lines if line["epoch"] <= epochs}
    names = ("train", "validation")
    return [(e, line["seconds"], *(float(f"{line[n]:.4g}") for n in names)) for e, line in sorted(found.items())]


def _mark(
    chosen: dict[str, list[Sample]], configuration: Configuration, recipe: Recipe, start: Network | None
) -> dict[str, Any]:
    """What a checkpoint must agree with to be resumed."""
    digest = sha256()
    for sample in chosen["train"]:
        digest.update(f"{sample.material_id} {sample.formula}\n".encode())
        digest.update(np.ascontiguousarray(sample.spectrum.values, "<c8").tobytes())
    first = sha256()
    for value in start.state_dict().values() if start is not None else ():
        first.update(value.numpy().tobytes())
    return {
        "configuration": configuration.to_dict(),
        "recipe": asdict(replace(recipe, minutes=0.0)),
        "data": digest.hexdigest(),
        "start": first.hexdigest() if start is not None else None,
    }


def _loop(
    member: Member,
    tasks: dict[str, list[Task]],
    place: Path,
    mark: dict[str, Any],
    report: Callable[[Progress], None],
) -> None:
    recipe = member.recipe
    began = time.monotonic() - member.seconds
    saved = looked = time.monotonic()

    def share(done: float) -> float:
        by_time = (time.monotonic() - began) / (60 * recipe.minutes) if recipe.minutes else 0.0
        return min(1.0, max((member.epoch + done) / recipe.epochs, by_time))

    while share(0.0) < 1:
        torch.manual_seed(recipe.seed * 100_003 + member.epoch)
        batches = list(_batches(tasks["train"], recipe, member.epoch))
        found = []
        for index, batch in enumerate(batches):
            if (now := share(index / len(batches))) >= 1:
                break
            found.append(member.step(batch, now).mean())
            if index % 20 == 0:
                report(Progress(member.epoch, now, float(np.mean(found)), math.nan))
        member.epoch += 1
        member.seconds = time.monotonic() - began
        train = float(np.mean(found or [math.nan]))
        member.training = train if found else member.training
        over, validation = share(0.0) >= 1, math.nan
        if tasks["validation"] and (over or time.monotonic() - looked > _LOOK_EVERY):
            validation = member.validation = float(measure(member.averaged(), tasks["validation"]).mean())
            looked = time.monotonic()
            line = {"epoch": member.epoch, "seconds": round(member.seconds), "train": train, "validation": validation}
            with open(place / LOG, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if over or time.monotonic() - saved > _SAVE_EVERY:
            member.save(place, mark)
            saved = time.monotonic()
        report(Progress(member.epoch, share(0.0), train, validation))


def _batches(tasks: Sequence[Task], recipe: Recipe, epoch: int) -> Iterator[list[Task]]:
    """Batches of one epoch. The materials of a batch have similar numbers of neighbours, padded to the largest."""
    random = np.random.default_rng((recipe.seed, epoch))
    order = random.permutation(len(tasks))
    groups = []
    for start in range(0, len(order), recipe.batch * _GROUP):
        group = sorted(order[start : start + recipe.batch * _GROUP], key=lambda k: tasks[k].degree)
        groups += [group[k : k + recipe.batch] for k in range(0, len(group), recipe.batch)]
    random.shuffle(groups)
    for group in groups:
        yield [tasks[k] for k in group]
