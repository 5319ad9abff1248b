"""The training materials that a material is most like: what a prediction rests on, and a search by likeness.

Likeness is the correlation that the model's process for moduli expects of two crystals' values (`methods.nearest`), a
distance sqrt(2 - 2 c): 0 for the same crystal, 1.41 where one says nothing about the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import ModelError, Rows
from .methods import nearest

if TYPE_CHECKING:
    from .ensemble import Ensemble

#: Distance within which a material of the same formula is the same crystal: twice what the rounding of stored features
#: and another grid make of it.
SAME = 0.05
#: A crystal of the same formula within this distance is taken for the same at another volume, if the logarithm of the
#: volume differs by more than this. 10 % in volume moves silicon by 0.12 to 0.15, rock salt by 0.3 to 0.4.
_STRAINED, _STRAIN = 0.45, 0.06


@dataclass(frozen=True)
class Neighbour:
    """A training material.

    Attributes
    ----------
    material_id, formula : str
    distance : float
        0 for the same crystal, 1.41 for one that says nothing about the other.
    labels : dict of str to float
        Its known properties, in the units of `chgdb.targets.TARGETS`.
    """

    material_id: str
    formula: str
    distance: float
    labels: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The neighbour as an object for JSON.

        Returns
        -------
        dict[str, Any]
        """
        return {
            "material_id": self.material_id,
            "formula": self.formula,
            "distance": round(self.distance, 4),
            "labels": dict(self.labels),
        }


def of_rows(ensemble: Ensemble, rows: Rows, count: int) -> list[list[Neighbour]]:
    """For each row the training materials that are most like it, the most like first.

    Raises `ModelError` for a model that does not compare materials.
    """
    learner = _learner(ensemble)
    training = learner.space(learner.SIMILAR, len(ensemble.held_out.formulas))
    found = nearest.nearest(learner.located(learner.SIMILAR, rows), training, count)
    return [_listed(ensemble, *one) for one in zip(*found, strict=True)]


def of_material(ensemble: Ensemble, material_id: str, count: int) -> list[Neighbour]:
    """The training materials that are most like one of them, without itself. Raises `ModelError` as `of_rows`."""
    learner = _learner(ensemble)
    training = learner.space(learner.SIMILAR, len(ensemble.held_out.formulas))
    row = np.array([ensemble.held_out.position[material_id]])
    places, similarity = nearest.nearest(training.take(row), training, count + 1)
    return [one for one in _listed(ensemble, places[0], similarity[0]) if one.material_id != material_id][:count]


def strained(ensemble: Ensemble, rows: Rows, near: list[Neighbour]) -> str:
    """The remark on a row that is a training material at another volume; "" for any other.

    near: of `of_rows`. Energies and moduli of stretched or compressed cells are not in any training set.
    """
    learner, known = _learner(ensemble), ensemble.held_out
    alike = [one for one in near if one.formula == rows.formulas[0]]
    if not alike or not SAME <= alike[0].distance < _STRAINED:
        return ""
    volumes, kinds = learner.volumes(None, len(known.formulas))
    row = known.position[alike[0].material_id]
    there, (own, kind) = float(volumes[row]), learner.volumes(rows, 1)
    here = float(own[0])
    if (kind[0] != kinds[row]).any():  # another polymorph
        return ""
    if abs(np.log(here / there)) < _STRAIN:
        return ""
    more = "more" if here > there else "less"
    return (
        f"volume per atom {here:.1f} Å^3, {100 * abs(here / there - 1):.0f} % {more} than that of "
        f"{alike[0].material_id}, which is alike: no stretched or compressed cell was learned, do not compare volumes"
    )


def _learner(ensemble: Ensemble) -> Any:
    learner: Any = ensemble.members[0]
    if not hasattr(learner, "located") or not len(learner.place):
        raise ModelError(f"the model {ensemble.identifier or ensemble.name} does not tell which materials are alike")
    return learner


def _listed(ensemble: Ensemble, places: np.ndarray, similarity: np.ndarray) -> list[Neighbour]:
    known, ids = ensemble.held_out, list(ensemble.held_out.position)
    return [
        Neighbour(
            ids[place],
            known.formulas[place],
            float(np.sqrt(max(2 - 2 * float(alike), 0.0))),
            {n: float(v[place]) for n, v in known.truth.items() if np.isfinite(v[place])},
        )
        for place, alike in zip(places.tolist(), similarity.tolist(), strict=True)
    ]
