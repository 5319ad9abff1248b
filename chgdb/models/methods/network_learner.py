"""A learner around a network on latents or cubes: scaling of what goes in and out, weights on disk.

Torch is loaded for training alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...errors import require
from .. import ModelError, Rows
from ..inference import Applied, Settings, crop, shapes

if TYPE_CHECKING:
    from .networks import Network

_PURPOSE = "a property model on latents"


class LatentLearner:
    """Base of the convolutional models: subclasses say what the network looks like.

    SETTINGS: fields of `inference.Settings`. SINGLE: a network of its own for each target instead of one for all.
    INPUTS: "latent", or "cubes" instead; with "magpie", the composition too.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    INPUTS: ClassVar[tuple[str, ...]] = ("latent",)
    VERSION: ClassVar[int] = 1
    SETTINGS: ClassVar[Mapping[str, Any]] = {}
    SINGLE: ClassVar[bool] = False

    def __init__(self) -> None:
        self.targets: tuple[str, ...] = ()
        self.arrays: dict[str, np.ndarray] = {}  # scales, and the networks' weights under "0." and so on
        self.networks: list[Network | Applied] = []

    @property
    def _with_composition(self) -> bool:
        return "magpie" in self.INPUTS

    def fit(
        self,
        rows: Rows,
        targets: Mapping[str, np.ndarray],
        *,
        validation: np.ndarray,
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """See `Learner.fit`. Each channel of the latents is divided by its deviation in the cells of the training rows
        and bent by arcsinh (the paper divides by the maximum, but single values are hundreds of deviations); MAGPIE
        features and targets are standardised."""
        torch = require("torch", "ml", _PURPOSE)
        from . import networks

        settings = Settings(**self.SETTINGS)
        self.targets = tuple(targets)
        train = ~validation
        values = np.stack([targets[name] for name in self.targets], axis=1)
        mean, std = np.nanmean(values[train], axis=0), np.nanstd(values[train], axis=0)
        self.arrays = {"target_mean": mean, "target_std": std}
        if "latent" in self.INPUTS:
            self.arrays["latent_scale"] = _deviations(rows["latent"], np.flatnonzero(train))
        if self._with_composition:
            table = rows.table("magpie")[train]
            self.arrays |= {"feature_mean": table.mean(axis=0), "feature_std": table.std(axis=0)}
        cropped, features = self._prepared(rows)
        scaled = torch.from_numpy(((values - mean) / std).astype(np.float32))
        groups = [[i] for i in range(len(self.targets))] if self.SINGLE else [list(range(len(self.targets)))]
        self.networks = []
        for group in groups:
            torch.manual_seed(seed)
            network = networks.Network(cropped[0].shape[-4], features.shape[1], len(group), settings)
            known = np.isfinite(values[:, group]).any(axis=1)
            chosen = np.flatnonzero(known)
            label = self.targets[group[0]] if self.SINGLE else "all targets"
            note = (lambda text, label=label: progress(f"{label}: {text}")) if progress else None
            networks.train(
                network,
                [torch.from_numpy(cropped[i]) for i in chosen],
                torch.from_numpy(features[chosen]),
                scaled[chosen][:, group],
                validation[chosen],
                settings,
                seed,
                note,
            )
            self.networks.append(network)

    def _prepared(self, rows: Rows) -> tuple[list[np.ndarray], np.ndarray]:
        """(cropped latents, scaled, or cubes as they are; features (n, k) float32, scaled)."""
        if "latent" in self.INPUTS:
            scale = np.maximum(self.arrays["latent_scale"], 1e-9).astype(np.float32)[:, None, None, None]
            cropped = [np.arcsinh(latent / scale) for latent in crop(rows["latent"])]
        else:
            cropped = [views[:, None] for views in rows["cubes"]]
        if not self._with_composition:
            return cropped, np.zeros((len(rows), 0), np.float32)
        table = (rows.table("magpie") - self.arrays["feature_mean"]) / np.maximum(self.arrays["feature_std"], 1e-9)
        # A constant column of the training rows says nothing of other values.
        table[:, self.arrays["feature_std"] < 1e-9] = 0.0
        return cropped, np.clip(table, -10, 10).astype(np.float32)

    def predict(self, rows: Rows) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """See `Learner.predict`; a single network has no idea of its error, the std is zero."""
        cropped, features = self._prepared(rows)
        found = np.hstack([_inferred(network, cropped, features) for network in self.networks])
        values = found.astype(float) * self.arrays["target_std"] + self.arrays["target_mean"]
        mean = {name: values[:, i] for i, name in enumerate(self.targets)}
        return mean, {name: np.zeros(len(rows)) for name in self.targets}

    def save(self, folder: Path) -> None:
        """weights.safetensors and targets.json."""
        tensors = require("safetensors.numpy", "ml", _PURPOSE)

        arrays = {f"scale.{name}": np.asarray(values, np.float64) for name, values in self.arrays.items()}
        for i, network in enumerate(self.networks):
            arrays |= _weights(network, f"{i}.")
        data = tensors.save({name: np.ascontiguousarray(a) for name, a in arrays.items()})
        (folder / "weights.safetensors").write_bytes(data)  # `save_file` would let nobody else read it
        facts = {"targets": self.targets, "channels": int(arrays["0.stem.weight"].shape[1])}
        (folder / "targets.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> LatentLearner:
        """Torch is not needed. Raises `ModelError` if weights do not fit this version's network."""
        tensors = require("safetensors.numpy", "ml", _PURPOSE)
        facts = json.loads((folder / "targets.json").read_text(encoding="utf-8"))
        arrays = tensors.load_file(folder / "weights.safetensors")
        model, settings = cls(), Settings(**cls.SETTINGS)
        model.targets = tuple(facts["targets"])
        model.arrays = {n.removeprefix("scale."): a for n, a in arrays.items() if n.startswith("scale.")}
        features = len(model.arrays.get("feature_mean", ()))
        sizes = [1] * len(model.targets) if cls.SINGLE else [len(model.targets)]
        for i, size in enumerate(sizes):
            weights = {n.removeprefix(f"{i}."): a for n, a in arrays.items() if n.startswith(f"{i}.")}
            found = {name: values.shape for name, values in weights.items()}
            if found != shapes(facts["channels"], features, size, settings):
                raise ModelError(f"{folder}: the weights do not fit the network of this version of chgdb")
            model.networks.append(Applied(weights, settings))
        return model


def _inferred(network: Network | Applied, latents: list[np.ndarray], features: np.ndarray) -> np.ndarray:
    """(n, outputs), by torch for a network that was trained just now: many rows are quicker so."""
    if isinstance(network, Applied):
        return network.infer(latents, features)
    torch = require("torch", "ml", _PURPOSE)
    from . import networks

    tensors = [torch.from_numpy(latent) for latent in latents]
    return networks.infer(network, tensors, torch.from_numpy(features)).numpy()


def _weights(network: Network | Applied, prefix: str) -> dict[str, np.ndarray]:
    """Weights by name, as stored: float16, the statistics of norms float32."""
    if isinstance(network, Applied):
        state = network.weights
    else:
        state = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    return {
        f"{prefix}{name}": values.astype(np.float32 if "running_" in name else np.float16)
        for name, values in state.items()
        if not name.endswith("num_batches_tracked")
    }


def _deviations(latents: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(channels,) root mean square of what is not zero, row by row: a copy of all of them would be large."""
    square, count = np.zeros(latents.shape[1]), np.zeros(latents.shape[1])
    for row in rows.tolist():
        square += (latents[row].astype(float) ** 2).sum(axis=(1, 2, 3))
        count += np.count_nonzero(latents[row], axis=(1, 2, 3))
    return np.sqrt(square / np.maximum(count, 1))
