"""Property models: what they predict, what they are given, and where they are found.

A model is a module with `NAME` and a class `Model` (see the protocol below), and a line in the table of `REGISTRY`, so
that models are listed without importing torch, or an entry point of the group `chgdb.models` in another package.
`chgdb.testing.check_model` tests one. A learner gets rows and targets and knows nothing of
splits, units or calibration: `ensemble` trains one learner for each of five folds,
calibrates what they say of their errors and keeps moduli positive and consistent; `evaluation` has the protocols and
metrics, `rows` reads the inputs of a catalog's materials, `storage` writes and checks weights.

    rows (inputs) -> ensemble (folds of a Model, calibration) -> storage (weights, split, versions) -> views, predict
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Protocol

import numpy as np

from ..density import Crystal
from ..errors import ChgdbError
from ..plugins import Registry
from ..targets import SERVED, TARGETS, Target

__all__ = ["SERVED", "TARGETS", "Learner", "ModelError", "Rows", "Target", "get", "names"]


class ModelError(ChgdbError, ValueError):
    """A property model that cannot be trained, loaded or applied as asked."""


#: Inputs that a learner may ask for in `INPUTS`, and the shape of one material's.
INPUTS: dict[str, str] = {
    "magpie": "(132,) float64, chgdb.features.magpie: statistics of elemental properties over the composition",
    "structure": "(k,) float64, chgdb.features.structure: invariants of the crystal structure",
    "density": "(n,) float64, chgdb.features.describe: invariants of the density",
    "latent": "(16, 16, 16, 16) float32, (channel, z, y, x): the autoencoder's latent tensor",
    "cubes": "(8, 20, 20, 20) float16, chgdb.models.cubes: the density in cubes of 6 Å, turned at random, in e/Å^3",
    "applicability": "(5,) float64, chgdb.models.applicability.descriptors: what tells densities unlike training",
}


@dataclass(frozen=True, eq=False)
class Rows:
    """Materials as models see them; row i of everything belongs to material i.

    Attributes
    ----------
    ids : tuple[str, ...]
        Material ids, or file names.
    crystals : tuple[Crystal, ...]
        Their structures.
    inputs : Mapping[str, np.ndarray]
        Name of `INPUTS` -> array (n, ...). Only what was asked for is there.
    versions : Mapping[str, Any]
        "features", "latent", "cubes" -> what made them: a model refuses what others made than those it learned
        from.
    """

    ids: tuple[str, ...]
    crystals: tuple[Crystal, ...]
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self.inputs.items():
            if name not in INPUTS:
                raise ModelError(f"there is no model input {name!r}; there are {', '.join(INPUTS)}")
            if len(values) != len(self.ids):
                raise ModelError(f"the input {name} has {len(values)} rows, but there are {len(self.ids)} materials")
        if len(self.crystals) != len(self.ids):
            raise ModelError(f"{len(self.crystals)} crystals do not go with {len(self.ids)} ids")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, name: str) -> np.ndarray:
        """An input by name. Raises `ModelError` if the rows were made without it."""
        if name not in self.inputs:
            raise ModelError(f"these rows lack the input {name!r}; they have {', '.join(self.inputs) or 'none'}")
        return self.inputs[name]

    def take(self, indices: Sequence[int] | np.ndarray) -> Rows:
        """Some of the rows.

        Parameters
        ----------
        indices : Sequence[int] | np.ndarray
            Positions, or a boolean mask.

        Returns
        -------
        Rows
        """
        positions = np.arange(len(self))[np.asarray(indices)]
        return Rows(
            tuple(self.ids[i] for i in positions),
            tuple(self.crystals[i] for i in positions),
            {name: values[positions] for name, values in self.inputs.items()},
            self.versions,
        )

    def append(self, others: Rows, inputs: Sequence[str]) -> Rows:
        """These rows, then others.

        Parameters
        ----------
        others : Rows
            The rows to append.
        inputs : Sequence[str]
            Names of inputs that both have; only these are kept.

        Returns
        -------
        Rows
        """
        joined = {name: np.concatenate([self[name], others[name]]) for name in inputs}
        return Rows(self.ids + others.ids, self.crystals + others.crystals, joined, self.versions)

    def table(self, *inputs: str) -> np.ndarray:
        """Inputs side by side.

        Parameters
        ----------
        *inputs : str
            Names of inputs with one axis in a row.

        Returns
        -------
        np.ndarray
            (n, sum of their widths) float64.
        """
        return np.hstack([np.asarray(self[name], float).reshape(len(self), -1) for name in inputs])

    @property
    def formulas(self) -> tuple[str, ...]:
        """Reduced formula of every row: what folds are grouped by."""
        return tuple(crystal.formula for crystal in self.crystals)


class Learner(Protocol):
    """What a module's class `Model` is: one learner of one or several targets, made without arguments.

    REFIT (optional, False unless declared): weights are large, so one learner of all rows is kept instead of those of
    the folds, which then serve for calibration and out-of-fold predictions alone. PARTIAL (optional, False unless
    declared): rows of structures without a density may train it; what of their inputs needs the density is NaN.

    A learner works on the scale of `Target.forward`: what it is given and what it returns are natural logarithms where
    the target is `log`. It must be deterministic given the seed, and no statistic of its preprocessing may come from
    rows that `fit` was not given.

    Attributes
    ----------
    NAME : ClassVar[str]
        The module's NAME.
    TITLE : ClassVar[str]
        How tables call it.
    INPUTS : ClassVar[tuple[str, ...]]
        Names of the inputs it reads from its rows.
    VERSION : ClassVar[int]
        Raised whenever the same training data would give another model.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    INPUTS: ClassVar[tuple[str, ...]]
    VERSION: ClassVar[int]

    def fit(
        self,
        rows: Rows,
        targets: Mapping[str, np.ndarray],
        *,
        validation: np.ndarray,
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Learn from rows.

        Parameters
        ----------
        rows : Rows
            Materials with their inputs.
        targets : Mapping[str, np.ndarray]
            Name -> (n,) float64 on the scale of `Target.forward`, NaN where a row has no label.
        validation : np.ndarray
            (n,) bool, the rows for early stopping and for choosing parameters: about a tenth, grouped by formula.
        seed : int
            Seed of all random numbers.
        progress : Callable[[str], None] | None
            Called with one line of text from time to time.
        """

    def predict(self, rows: Rows) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Predict the targets that the learner was fitted to, on the scale of `Target.forward`.

        The standard deviation is the learner's own idea of its error, up to a common factor (such as the spread of an
        inner ensemble), or zeros where it has none. `ensemble` calibrates it on out-of-fold residuals.

        Parameters
        ----------
        rows : Rows
            Materials with their inputs.

        Returns
        -------
        tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
            (mean, std), each with name of the target -> (n,) float64.
        """

    def save(self, folder: Path) -> None:
        """Write the weights as LightGBM text (may be .gz), safetensors or JSON. Pickles are not allowed.

        Parameters
        ----------
        folder : Path
            A folder that exists.
        """

    @classmethod
    def load(cls, folder: Path) -> Learner:
        """Load a learner that `save` wrote.

        Parameters
        ----------
        folder : Path
            Folder of the weights.

        Returns
        -------
        Learner

        Raises
        ------
        MissingExtraError
            If a package that the learner needs is not installed.
        """


REGISTRY = Registry(
    kind="property model",
    group="chgdb.models",
    package=f"{__name__}.learners",
    table={
        "attention": "attention",
        "invariant": "invariant",
        "latent_cnn": "latent_cnn",
        "lightgbm": "latent_lightgbm",
        "lightgbm_512": "latent_lightgbm_512",
        "magpie": "magpie",
        "multitarget": "multitarget",
        "singletarget": "singletarget",
    },
    error=ModelError,
    required=("NAME", "Model"),
)


def names() -> tuple[str, ...]:
    """Names of all property models, chgdb's own first. None of them is imported.

    Returns
    -------
    tuple[str, ...]
    """
    return REGISTRY.names()


def get(name: str) -> ModuleType:
    """Import the module of a model. Raises `ModelError` with the names there are."""
    return REGISTRY.get(name)
