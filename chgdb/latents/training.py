"""Training of the autoencoder: `train` makes a model's folder from a catalog of densities.

On a CPU volumes are not padded to their full size (see `_cropped`) and those of the same shape go through together;
on a GPU likewise, in mixed precision, from pinned memory. Interrupted, it resumes from the last epoch; given the seed,
every epoch sees the same materials in the same order and orientation, however often it was interrupted.
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..atomic import write
from ..density import Density
from ..errors import ChgdbError
from ..parallel.progress import reporting
from ..promolecule import Prior, fit
from ..splits import PARTS, RULE, assign
from ..store.transaction import writing
from . import network
from .autoencoder import Autoencoder
from .description import AUTOENCODER, MODEL_FORMAT
from .muon import Muon
from .volumes import Configuration, context, to_volume

if TYPE_CHECKING:
    from ..catalog import Catalog

LOG, SPLIT, CHECKPOINT, STATE = "log.jsonl", "split.json", "checkpoint.safetensors", "checkpoint.json"
#: Latent voxels beside a crystal that training convolves; what lies farther is taken as constant in every layer. A
#: crystal changes latents up to two voxels beside it: with one, a network learns what is wrong beyond.
_MARGIN = 2
#: The 12 rotations of the paper: three principal axes, four angles each.
_ROTATIONS = [(axes, turns) for axes in ((0, 1), (0, 2), (1, 2)) for turns in range(4)]


_CHOICES = {
    "optimiser": ("adam", "muon"),
    "schedule": ("plateau", "cosine"),
    "precision": ("auto", "bfloat16", "float32"),
}
_NOTHING = 8  # batches from one look at what is made of the empty volume to the next, which counts for all of them
_LEVELS = 511  # of the latent of a network that was trained without rounding, so that rounding hardly counts
_ADAM_BESIDE_MUON = 2e-3  # learning rate of what Muon is not made for


class TrainingError(ChgdbError, ValueError):
    """A training that cannot start or go on."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    epochs: maximum number. minutes: maximum time of all sessions; 0 for no limit. batch: volumes of one shape at a
    time.
    optimiser: `adam`, as published, or `muon`: Adam for biases and norms, and for convolutions steps of equal size
        in all directions of the weight matrix, for which fewer epochs do.
    learning_rate: of Adam; of Muon, the size of a step relative to the weights.
    schedule: `plateau`, as published: times 0.7 after 5 epochs without progress; `cosine`: to 1 % at the last epoch.
    patience: epochs without progress on the validation set before training stops.
    part: maximum number of points along an axis that one step sees of a zero-padded crystal; of a longer one it sees a
    random part, which counts as much as the whole (any box cut out of a crystal is one that could have been given);
        0 for all of it.
    precision: `bfloat16` where torch's autocast thinks it safe (several times faster on CPUs and GPUs that have it, and
        many times slower on those that do not), `float32`, or `auto`: the one that suits the device.
    rate: weight of the latent's size against its error, for `lapped` networks: per cent of NMAE per 1/500 of the text.
    """

    epochs: int = 200
    minutes: float = 0.0
    batch: int = 4
    learning_rate: float = 1e-3
    optimiser: str = "adam"
    schedule: str = "plateau"
    patience: int = 10
    rate: float = 0.2
    seed: int = 0
    part: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, values in _CHOICES.items():
            if getattr(self, name) not in values:
                raise TrainingError(f"{name} {getattr(self, name)!r}: expected {' or '.join(values)}")
        if min(self.epochs, self.batch, self.patience) < 1 or not self.learning_rate > 0 or self.rate < 0:
            raise TrainingError("epochs, batch and patience are at least 1, the learning rate is above 0")
        if self.part < 0:
            raise TrainingError(f"parts of {self.part} points: give 0 or more")

    def seen(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Points along each axis of what one step sees of a zero-padded crystal."""
        return tuple(min(n, self.part) if self.part else n for n in shape)


@dataclass(frozen=True)
class _Sample:
    """One material, as the network sees it."""

    volume: np.ndarray  # (z, y, x), in units of the configuration's scale
    atoms: np.ndarray | None  # the decoder's context, likewise
    mean: float  # of the total density, in units of the scale: turns errors into NMAE
    budget: float  # bits of 1/500 of the CHGCAR's text


@dataclass(frozen=True)
class Epoch:
    """Progress of a training, after each epoch, and during one with `epoch_done` between 0 and 1."""

    epoch: int
    epoch_done: float
    train: float
    validation: float
    best: float


def train(
    configuration: Configuration,
    recipe: Recipe,
    densities: Sequence[Density],
    ids: Sequence[str],
    parts: Sequence[str],
    text_bytes: Sequence[int],
    folder: str | Path,
    *,
    start: str | Path | None = None,
    device: str | None = None,
    report: Callable[[Epoch], None] = lambda progress: None,
) -> Autoencoder:
    """Train a model, or go on with one that was interrupted, and write its folder.

    densities, ids, parts, text_bytes: of each material the density, id, part of the split ("train", "validation",
        "test") and size of its CHGCAR's density block. Prior and weights see the training part alone.
    start: folder of a model of the same configuration but for its grid, whose weights are the first; its prior is
        fitted anew.
    device: of torch; the GPU where there is one.
    Raises `TrainingError` for a split without training or validation materials, or a folder that holds a checkpoint
    of another configuration, recipe or set of materials, `StoreError` for a folder of something else than an
    autoencoder, or in which another training is running.
    """
    if recipe.part and configuration.boundary == "periodic":
        raise TrainingError(f"{configuration.name} is periodic and sees whole cells: leave out the part")
    place = Path(folder)
    chosen = {part: [k for k, p in enumerate(parts) if p == part] for part in PARTS}
    if not chosen["train"] or not chosen["validation"]:
        raise TrainingError(f"{len(ids)} materials have no training and validation part: give more of them")
    with writing(place, AUTOENCODER):
        place.mkdir(exist_ok=True)
        prior = fit([densities[k] for k in chosen["train"]]) if configuration.target == "difference" else None
        samples = {
            part: [_sample(densities[k], configuration, prior, text_bytes[k]) for k in chosen[part]]
            for part in ("train", "validation")
        }
        first = None if start is None else Autoencoder.load(start)
        if first is not None and _network(first.configuration) != _network(configuration):
            raise TrainingError(f"{start}: a model of another configuration; start from one of {configuration.name}")
        run = _Run(
            configuration,
            recipe,
            samples,
            first,
            torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        )
        digest = sha256("\n".join(f"{i} {p}" for i, p in zip(ids, parts, strict=True)).encode())
        for sample in samples["train"]:
            digest.update(sample.volume.tobytes())
        mark = {
            "configuration": configuration.to_json(),
            "recipe": asdict(replace(recipe, minutes=0.0)),
            "data_sha256": digest.hexdigest(),
            "start": first and first.identifier,
        }
        run.resume(place, mark)
        split = {"rule": RULE, **{part: [ids[k] for k in chosen[part]] for part in PARTS}}
        write(place / SPLIT, (json.dumps(split) + "\n").encode())
        run.loop(place, mark, report)
        run.network.load_state_dict(run.best_weights)
        run.network.eval().cpu()
        model = Autoencoder(configuration, run.network, prior, 1.0, "")
        model.step = _step(model, samples["validation"])
        model.description = {
            "format": MODEL_FORMAT,
            "training": {
                "recipe": asdict(recipe),
                "start": first and {"model": first.identifier, "training": first.description.get("training")},
                "epochs": run.epoch,
                "seconds": round(run.seconds),
                "best_validation_loss": run.best,
                "parameters": sum(p.numel() for p in run.network.parameters()),
                "materials": {part: len(chosen[part]) for part in PARTS},
                "data_sha256": mark["data_sha256"],
                "split_rule": RULE,
                "device": run.device.type,
                "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
            },
        }
        model.save(place)
        return model


def from_catalog(catalog: Catalog, *, progress: bool = False) -> tuple[list[Density], list[str], list[str], list[int]]:
    """Densities (total channel), ids, parts and text sizes of a catalog's materials: what `train` takes.

    The part is the column `split` where there is one, else by `splits.assign`, with the column `paper_split` if any.
    """
    columns = catalog.columns
    formulas = [str(formula) for formula in catalog.column("formula")]
    if "split" in columns:
        parts = [str(part) for part in catalog.column("split")]
    else:
        paper = [str(part) for part in catalog.column("paper_split")] if "paper_split" in columns else None
        parts = assign(formulas, paper).tolist()
    densities = []
    with reporting(progress, "decoding", 0, len(catalog)) as done:
        for record in catalog:
            density = record.density
            densities.append(Density(density.crystal, {"total": np.asarray(density.total, np.float32)}))
            done(record.material_id)
    return densities, list(catalog.ids), parts, [int(n) for n in catalog.column("text_bytes")]


def _network(configuration: Configuration) -> Configuration:
    """What a network is made for; the grids it sees may change from one training to the next."""
    return replace(configuration, spacing=1.0, most=configuration.factor, whole=False, margin=0, clear=False)


def _sample(density: Density, configuration: Configuration, prior: Prior | None, text: int) -> _Sample:
    atoms = context(density.crystal, configuration, prior)
    volume = to_volume(density, configuration, prior)
    return _Sample(volume, atoms, max(float(density.total.mean()), 1e-3) / configuration.scale, 8 * text / 500)


def _step(model: Autoencoder, samples: Sequence[_Sample]) -> float:
    """Quantisation step of the latent: 1 where the network was trained with it, else fine enough not to matter.

    Published networks have no natural step: the power of two with which the
    largest value of a validation latent still fits.
    """
    if model.configuration.network == "lapped":
        return 1.0
    largest = 0.0
    with torch.inference_mode():
        for sample in samples:
            largest = max(largest, float(model.network.encode(torch.from_numpy(sample.volume)[None, None]).max()))
    return float(2.0 ** math.ceil(math.log2(max(largest, 1e-6) / _LEVELS)))


class _Run:
    """State of a training: network, optimiser, how far it is."""

    def __init__(
        self,
        configuration: Configuration,
        recipe: Recipe,
        samples: dict[str, list[_Sample]],
        first: Autoencoder | None,
        device: torch.device,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.configuration, self.recipe, self.samples, self.device = configuration, recipe, samples, device
        self.network = network.build(configuration)
        if first is not None:
            self.network.load_state_dict(first.network.state_dict())
        elif isinstance(self.network, network.Lapped):
            volumes = [torch.from_numpy(s.volume)[None, None] for s in samples["train"]]
            self.network.start_from(volumes, step=0.05)
        self.network.to(device)
        # Half the time on a CPU. Torch's types do not know the argument.
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.mixed = _mixed(recipe.precision, device)
        #: Scale of a Laplace distribution per channel: an estimate of the latent's size that has a gradient.
        self.spread = nn.Parameter(torch.full((configuration.channels,), 1.0, device=device))
        parameters = [*self.network.parameters(), self.spread]
        self.optimisers: list[torch.optim.Optimizer]
        if recipe.optimiser == "muon":
            kernels = [p for p in parameters if p.ndim == 5]
            rest = [p for p in parameters if p.ndim < 5]
            self.optimisers = [Muon(kernels, recipe.learning_rate), torch.optim.Adam(rest, _ADAM_BESIDE_MUON)]
        else:
            self.optimisers = [torch.optim.Adam(parameters, recipe.learning_rate)]
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["initial_lr"] = group["lr"]
        self.epoch, self.seconds, self.best, self.stale, self.rate_cut = 0, 0.0, math.inf, 0, 1.0
        self.best_weights = {n: v.detach().cpu().clone() for n, v in self.network.state_dict().items()}
        self.log: list[dict[str, Any]] = []

    # --- checkpoints ---

    def resume(self, place: Path, mark: dict[str, Any]) -> None:
        if not (place / STATE).exists():
            return
        state = json.loads((place / STATE).read_text(encoding="utf-8"))
        if state["mark"] != json.loads(json.dumps(mark)):
            raise TrainingError(
                f"{place}: holds a training of other materials or with other settings: use a new folder"
            )
        tensors = load_file(str(place / f"{CHECKPOINT}-{state['epoch']}"))
        self.network.load_state_dict({n[8:]: v for n, v in tensors.items() if n.startswith("network.")})
        self.best_weights = {n[5:]: v for n, v in tensors.items() if n.startswith("best.")}
        self.spread.data.copy_(tensors["spread"])
        for name, parameter, optimiser in self._optimised():
            of_this = [key for key in tensors if key.startswith(name)]
            optimiser.state[parameter] = {
                key.removeprefix(name): tensors[key].to("cpu" if key.endswith(".step") else self.device)
                for key in of_this
            }
        for key in ("epoch", "seconds", "best", "stale", "rate_cut", "log"):
            setattr(self, key, state[key])

    def _keep(self, place: Path, mark: dict[str, Any]) -> None:
        """Tensors under a new name first, then the state that names them: a kill in between leaves the old pair."""
        tensors = {f"network.{n}": v for n, v in self.network.state_dict().items()}
        tensors |= {f"best.{n}": v for n, v in self.best_weights.items()} | {"spread": self.spread.data}
        for name, parameter, optimiser in self._optimised():
            tensors |= {f"{name}{key}": value for key, value in optimiser.state[parameter].items()}
        whole = {n: v.detach().cpu().contiguous().clone() for n, v in tensors.items()}
        write(place / f"{CHECKPOINT}-{self.epoch}", save(whole))
        names = ("epoch", "seconds", "best", "stale", "rate_cut", "log")
        state = {"mark": mark, **{name: getattr(self, name) for name in names}}
        write(place / STATE, json.dumps(state).encode())
        for old in place.glob(f"{CHECKPOINT}-*"):
            if old.name != f"{CHECKPOINT}-{self.epoch}":
                old.unlink()
        write(place / LOG, "".join(json.dumps(line) + "\n" for line in self.log).encode())

    def _optimised(self) -> Iterator[tuple[str, nn.Parameter, torch.optim.Optimizer]]:
        """Each parameter with its optimiser, and a name for its state."""
        for j, optimiser in enumerate(self.optimisers):
            for k, parameter in enumerate(optimiser.param_groups[0]["params"]):
                yield f"optimiser.{j}.{k}.", parameter, optimiser

    # --- epochs ---

    def loop(self, place: Path, mark: dict[str, Any], report: Callable[[Epoch], None]) -> None:
        while self.epoch < self.recipe.epochs and self.stale < self.recipe.patience and not self._late():
            start = time.perf_counter()
            trained = self._train_epoch(report)
            validated = self._validate()
            self.epoch += 1
            self.seconds += time.perf_counter() - start
            if validated["loss"] < self.best:
                self.best, self.stale = validated["loss"], 0
                self.best_weights = {n: v.detach().cpu().clone() for n, v in self.network.state_dict().items()}
            else:
                self.stale += 1
                if self.recipe.schedule == "plateau" and self.stale % 5 == 0:
                    self.rate_cut *= 0.7
            self.log.append({"epoch": self.epoch, "seconds": round(self.seconds, 1),
                             "learning_rate": self.recipe.learning_rate * self._share(0.0), "train": trained,
                             "validation": validated["loss"], "nmae": validated["nmae"],
                             **{k: v for k, v in validated.items() if k not in ("loss", "nmae")}})  # fmt: skip
            self._keep(place, mark)
            report(Epoch(self.epoch, 0.0, trained, validated["loss"], self.best))

    def _late(self) -> bool:
        return 0 < self.recipe.minutes * 60 <= self.seconds

    def _share(self, done: float) -> float:
        """The factor of the learning rate at some part of the epoch. The first half epoch warms up."""
        at = self.epoch + done
        rate = self.rate_cut
        if self.recipe.schedule == "cosine":
            rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, at / self.recipe.epochs)))
        return rate * min(1.0, at / 0.5 + 0.02)

    def _train_epoch(self, report: Callable[[Epoch], None]) -> float:
        self.network.train()
        random = np.random.default_rng([self.recipe.seed, self.epoch])
        torch.manual_seed(self.recipe.seed * 100_003 + self.epoch)
        batches = _batches(self.samples["train"], self.recipe, random)
        total, seen = 0.0, 0
        for number, (members, stacked) in enumerate(self._prepared(batches, random)):
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = group["initial_lr"] * self._share(number / len(batches))
            empty = 0 if number % _NOTHING else _NOTHING
            loss = self._loss([self.samples["train"][k] for k in members], stacked, noise=True, empty=empty)["loss"]
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the loss is {float(loss.detach())} in epoch {self.epoch + 1}: use a smaller learning rate"
                )
            for optimiser in self.optimisers:
                optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            for optimiser in self.optimisers:
                optimiser.step()
            total, seen = total + float(loss.detach()) * len(members), seen + len(members)
            if number % 10 == 0:
                report(Epoch(self.epoch, number / len(batches), total / seen, math.nan, self.best))
        return total / seen

    def _validate(self) -> dict[str, float]:
        self.network.eval()
        sums: dict[str, float] = {}
        samples = self.samples["validation"]
        with torch.inference_mode():
            for members in _batches(samples, self.recipe, None):
                chosen = [samples[k] for k in members]
                for name, value in self._loss(chosen, self._stack(chosen, None), noise=False, empty=1).items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(members)
        return {name: value / len(samples) for name, value in sums.items()}

    def _prepared(
        self, batches: list[list[int]], random: np.random.Generator
    ) -> Iterator[tuple[list[int], tuple[Tensor, Tensor | None]]]:
        """Batches, made in the background while the network works on the one before: always in the same order."""
        samples = self.samples["train"]
        with ThreadPoolExecutor(1) as maker:
            waiting: deque[tuple[list[int], Future]] = deque()
            for members in batches:
                waiting.append((members, maker.submit(self._stack, [samples[k] for k in members], random)))
                if len(waiting) > 4:
                    first, made = waiting.popleft()
                    yield first, made.result()
            for first, made in waiting:
                yield first, made.result()

    def _stack(self, samples: list[_Sample], random: np.random.Generator | None) -> tuple[Tensor, Tensor | None]:
        volumes, atoms = _stack(samples, self.configuration, self.recipe, random)
        if self.device.type == "cuda":  # pinned, so that the copy runs beside the network
            volumes, atoms = volumes.pin_memory(), atoms if atoms is None else atoms.pin_memory()
        return volumes, atoms

    def _loss(
        self, samples: list[_Sample], stacked: tuple[Tensor, Tensor | None], *, noise: bool, empty: int
    ) -> dict[str, Tensor]:
        """Loss of a batch, and what else is worth logging.

        noise: training, with noise in place of rounding the latent and parts of crystals in place of the whole.
        empty: how often the empty part of the padded volume counts; 0 leaves it out.
        """
        volumes, atoms = stacked
        values = volumes.to(self.device, non_blocking=True)
        seen = None if atoms is None else atoms.to(self.device, non_blocking=True)
        means = torch.tensor([s.mean for s in samples], dtype=torch.float32, device=self.device)
        outside: Tensor | None = None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            if isinstance(self.network, network.Lapped):
                latent = self.network.encode(values).float()
                noisy = latent + torch.rand_like(latent) - 0.5 if noise else torch.round(latent)
                decoded = self.network.decode(noisy, seen).float()
            elif self.configuration.boundary == "zero":
                decoded = self.network.corner(values, self.network.background()).float()
                outside = (
                    empty * self.network.nothing(values.shape[2:]) if empty else torch.zeros((), device=self.device)
                )
            else:
                decoded = self.network(values).float()
        error = decoded - values
        nmae = error.abs().mean((1, 2, 3, 4)) / means
        if not isinstance(self.network, network.Lapped):
            if noise and outside is not None:  # what one step does not see of a crystal is like what it sees
                wholes = [s.volume.size / math.prod(self.recipe.seen(s.volume.shape)) for s in samples]
                error = error * torch.tensor(wholes, device=self.device).sqrt()[:, None, None, None, None]
            return self._published_loss(error, outside, samples, nmae)
        bits = _bits(noisy if noise else latent, self.spread).sum((1, 2, 3, 4))
        size = (bits / torch.tensor([s.budget for s in samples], device=self.device)).mean()
        nmae = nmae.mean()
        return {"loss": 100 * nmae + self.recipe.rate * size, "nmae": nmae, "size": size}

    def _published_loss(
        self, error: Tensor, outside: Tensor | None, samples: list[_Sample], nmae: Tensor
    ) -> dict[str, Tensor]:
        """Mean squared error over the padded volume, as published, or over the periodic one.

        outside: squared error summed over what of the padded volume was not computed, all of it empty.
        """
        if outside is None:
            return {"loss": error.square().mean(), "nmae": nmae.mean()}
        whole, inside = self.configuration.most**3, error[0].numel()
        crystal = sum(s.volume.size for s in samples) / len(samples)
        squared = error.square().sum((1, 2, 3, 4)).mean() + outside
        # Times what volumes have on average of their padded one, so that a learning rate suits all spacings.
        return {"loss": squared / crystal, "nmae": nmae.mean() * inside / crystal, "mse": squared / whole}


def _bits(latent: Tensor, spread: Tensor) -> Tensor:
    """Size of quantised values under a Laplace distribution per channel, in bits, differentiable in all."""
    scale = F.softplus(spread).clamp_min(1e-2)[None, :, None, None, None]
    low, high = (latent.abs() - 0.5) / scale, (latent.abs() + 0.5) / scale
    inside = 1 - 0.5 * (torch.exp(-high) + torch.exp(low.clamp_max(0)))  # the interval holds zero
    tail = 0.5 * torch.exp(-low.clamp_min(0)) * (1 - torch.exp(-1 / scale))
    likelihood = torch.where(low < 0, inside, tail)
    # Far out the likelihood underflows; there the bits grow linearly.
    return torch.where(low > 60, (low + math.log(2)) / math.log(2), -torch.log2(likelihood.clamp_min(1e-30)))


def _mixed(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16; CPUs without vector instructions for it take many times longer."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _batches(samples: Sequence[_Sample], recipe: Recipe, random: np.random.Generator | None) -> list[list[int]]:
    """Samples of the same shape, at most `recipe.batch` together; shuffled where `random` is given."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    order = np.arange(len(samples)) if random is None else random.permutation(len(samples))
    for k in order.tolist():
        # Turned about an axis a volume has another shape; batches hold those of the same lengths.
        shape = samples[k].volume.shape
        shapes.setdefault(tuple(sorted(shape if random is None else recipe.seen(shape))), []).append(k)
    most = recipe.batch
    batches = [members[i : i + most] for members in shapes.values() for i in range(0, len(members), most)]
    if random is not None:
        random.shuffle(batches)
    return batches


def _stack(
    samples: Sequence[_Sample], configuration: Configuration, recipe: Recipe, random: np.random.Generator | None
) -> tuple[Tensor, Tensor | None]:
    """Volumes (n, 1, z, y, x) in a random orientation, periodic ones shifted too, and the decoder's context alike.

    All volumes of a batch have the same lengths in some order; they are brought into one. Without `random`, as for
    validation, crystals are whole.
    """
    together: list[np.ndarray] = []
    shape = tuple(random.permutation(sorted(recipe.seen(samples[0].volume.shape)))) if random is not None else ()
    for sample in samples:
        fields = [sample.volume] if sample.atoms is None else [sample.volume, sample.atoms]
        if random is not None:
            fields = _turned(_part(fields, recipe, random), shape, configuration, random)
        elif len(samples) > 1:
            fields = [f.transpose(np.argsort(sample.volume.shape, kind="stable")) for f in fields]
        together.append(np.stack([_cropped(f, configuration) for f in fields]))
    both = torch.from_numpy(np.stack(together))
    return both[:, :1], both[:, 1:] if both.shape[1] > 1 else None


def _part(fields: list[np.ndarray], recipe: Recipe, random: np.random.Generator) -> list[np.ndarray]:
    """The same random part of every field, no longer than the recipe's along any axis."""
    seen = recipe.seen(fields[0].shape)
    if seen == fields[0].shape:
        return fields
    starts = [int(random.integers(n - m + 1)) for n, m in zip(fields[0].shape, seen, strict=True)]
    where = tuple(slice(i, i + m) for i, m in zip(starts, seen, strict=True))
    return [f[where] for f in fields]


def _turned(
    fields: list[np.ndarray], shape: tuple[int, ...], configuration: Configuration, random: np.random.Generator
) -> list[np.ndarray]:
    """The same rotation for every field, such that the shape becomes the one asked for.

    Volumes with padding: one of the paper's twelve rotations. Periodic ones: any permutation and inversion of the
    axes, which is the same crystal in another basis, and any shift of the origin.
    """
    old = fields[0].shape
    if configuration.boundary == "zero":
        fitting = [(a, t) for a, t in _ROTATIONS if _shape_after(old, a, t) == shape]
        if not fitting:  # none of the twelve permutes three different lengths cyclically: a second turn does
            fields = [np.rot90(f, 1, (0, 1)) for f in fields]
            fitting = [(a, t) for a, t in _ROTATIONS if _shape_after(fields[0].shape, a, t) == shape]
        axes, turns = fitting[random.integers(len(fitting))]
        return [np.rot90(f, turns, axes) for f in fields]
    orders = [o for o in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
              if tuple(old[k] for k in o) == shape]  # fmt: skip
    order = orders[random.integers(len(orders))]
    flips = tuple(slice(None, None, -1) if random.integers(2) else slice(None) for _ in range(3))
    shift = tuple(int(random.integers(n)) for n in shape)
    return [np.roll(f.transpose(order)[flips], shift, (0, 1, 2)) for f in fields]


def _shape_after(shape: tuple[int, ...], axes: tuple[int, int], turns: int) -> tuple[int, ...]:
    new = list(shape)
    if turns % 2:
        new[axes[0]], new[axes[1]] = new[axes[1]], new[axes[0]]
    return tuple(new)


def _cropped(volume: np.ndarray, configuration: Configuration) -> np.ndarray:
    """Zero padding by a margin only, up to a multiple of the factor; all that lies beyond is nearly constant."""
    if configuration.boundary == "periodic":
        return np.ascontiguousarray(volume)
    factor, most = configuration.factor, configuration.most
    sizes = [min(most, -(-(n + _MARGIN * factor) // factor) * factor) for n in volume.shape]
    return np.pad(volume, [(0, size - n) for n, size in zip(volume.shape, sizes, strict=True)])
