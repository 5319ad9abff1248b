"""A learner around a network on latents: scaling of what goes in and out, weights on disk. Loads torch when used."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import require
from . import ModelError, Rows

if TYPE_CHECKING:
    from .networks import Network

_PURPOSE = "a property model on latents"


class LatentLearner:
    """Base of the convolutional models: subclasses say what the network looks like.

    SETTINGS: fields of `networks.Settings`. SINGLE: a network of its own for each target instead of one for all.
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
        self.networks: list[Network] = []

    @property
    def _with_composition(self) -> bool:
        return "magpie" in self.INPUTS

    def _build(self, channels: int, features: int, outputs: int) -> Network:
        from . import networks

        return networks.Network(channels, features, outputs, networks.Settings(**self.SETTINGS))

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

        settings = networks.Settings(**self.SETTINGS)
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
            network = self._build(cropped[0].shape[-4], features.shape[1], len(group))
            known = np.isfinite(values[:, group]).any(axis=1)
            chosen = np.flatnonzero(known)
            label = self.targets[group[0]] if self.SINGLE else "all targets"
            note = (lambda text, label=label: progress(f"{label}: {text}")) if progress else None
            networks.train(
                network,
                [cropped[i] for i in chosen],
                features[chosen],
                scaled[chosen][:, group],
                validation[chosen],
                settings,
                seed,
                note,
            )
            self.networks.append(network)

    def _prepared(self, rows: Rows):
        """(cropped latents, scaled, or cubes as they are; features (n, k) tensor, scaled)."""
        torch = require("torch", "ml", _PURPOSE)
        from . import networks

        if "latent" in self.INPUTS:
            scale = np.maximum(self.arrays["latent_scale"], 1e-9).astype(np.float32)[:, None, None, None]
            cropped = [torch.arcsinh(latent / torch.from_numpy(scale)) for latent in networks.crop(rows["latent"])]
        else:
            cropped = [torch.from_numpy(views[:, None]) for views in rows["cubes"]]
        if not self._with_composition:
            return cropped, torch.zeros(len(rows), 0)
        table = (rows.table("magpie") - self.arrays["feature_mean"]) / np.maximum(self.arrays["feature_std"], 1e-9)
        # A constant column of the training rows says nothing of other values.
        table[:, self.arrays["feature_std"] < 1e-9] = 0.0
        return cropped, torch.from_numpy(np.clip(table, -10, 10).astype(np.float32))

    def predict(self, rows: Rows) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """See `Learner.predict`; a single network has no idea of its error, the std is zero."""
        from . import networks

        cropped, features = self._prepared(rows)
        found = np.hstack([networks.infer(network, cropped, features).numpy() for network in self.networks])
        values = found.astype(float) * self.arrays["target_std"] + self.arrays["target_mean"]
        mean = {name: values[:, i] for i, name in enumerate(self.targets)}
        return mean, {name: np.zeros(len(rows)) for name in self.targets}

    def save(self, folder: Path) -> None:
        """weights.safetensors and targets.json."""
        tensors = require("safetensors.numpy", "ml", _PURPOSE)
        from . import networks

        arrays = {f"scale.{name}": np.asarray(values, np.float64) for name, values in self.arrays.items()}
        for i, network in enumerate(self.networks):
            arrays |= networks.state_arrays(network, f"{i}.")
        data = tensors.save({name: np.ascontiguousarray(a) for name, a in arrays.items()})
        (folder / "weights.safetensors").write_bytes(data)  # `save_file` would let nobody else read it
        facts = {"targets": self.targets, "channels": int(arrays["0.stem.weight"].shape[1])}
        (folder / "targets.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> LatentLearner:
        """Raises `MissingExtraError` without torch, `ModelError` where weights do not fit this version's network."""
        torch = require("torch", "ml", _PURPOSE)
        tensors = require("safetensors.numpy", "ml", _PURPOSE)
        facts = json.loads((folder / "targets.json").read_text(encoding="utf-8"))
        arrays = tensors.load_file(folder / "weights.safetensors")
        model = cls()
        model.targets = tuple(facts["targets"])
        model.arrays = {n.removeprefix("scale."): a for n, a in arrays.items() if n.startswith("scale.")}
        features = len(model.arrays.get("feature_mean", ()))
        sizes = [1] * len(model.targets) if cls.SINGLE else [len(model.targets)]
        for i, size in enumerate(sizes):
            network = model._build(facts["channels"], features, size)
            state = {n.removeprefix(f"{i}."): torch.from_numpy(a) for n, a in arrays.items() if n.startswith(f"{i}.")}
            try:
                found = network.load_state_dict(state, strict=False)
            except RuntimeError as error:
                raise ModelError(f"{folder}: the weights do not fit ({str(error).splitlines()[0]})") from None
            missing = [name for name in found.missing_keys if not name.endswith("num_batches_tracked")]
            if missing or found.unexpected_keys:
                raise ModelError(f"{folder}: the weights do not fit the network of this version of chgdb")
            network.eval()
            model.networks.append(network)
        return model


def _deviations(latents: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(channels,) root mean square of what is not zero, row by row: a copy of all of them would be large."""
    square, count = np.zeros(latents.shape[1]), np.zeros(latents.shape[1])
    for row in rows.tolist():
        square += (latents[row].astype(float) ** 2).sum(axis=(1, 2, 3))
        count += np.count_nonzero(latents[row], axis=(1, 2, 3))
    return np.sqrt(square / np.maximum(count, 1))
