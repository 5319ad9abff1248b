"""The search for groups and layouts by which the augmentation occupancies of a crystal turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..density import Crystal
from ..symmetry import SpaceGroup, find
from .bits import BitWriter
from .groups import same_group, write_group
from .layouts import Layout, Turning, candidates, places
from .levels import Kind, Part, blocks_of

if TYPE_CHECKING:
    from .occupancies import Occupancies

#: Part of the tolerance by which a symmetry operation may miss the numbers.
_MISSED = 0.7
MOST_IMAGES = 30_000_000  # largest number of operations times pairs of atoms that is tried
_MOST_SEARCHED = 1600  # numbers of an atom; layouts of more are not searched
_LITTLE = 4_000_000  # count of numbers that are turned in little time
#: Code of a group that is not one of the payload's.
OWN = 3


@dataclass(frozen=True, eq=False)
class Choice:
    """The group of a part. code: 0 none, 1 and 2 a group of the payload, 3 a group of its own."""

    code: int
    group: SpaceGroup
    kinds: list[Kind]
    opposite: bool = False

    @cached_property
    def _turnings(self) -> dict[bool, Turning]:
        return {}

    def turning(self, part: Part, crystal: Crystal) -> Turning:
        if part.axial not in self._turnings:
            self._turnings[part.axial] = Turning(self.group, crystal, part.axial, self.opposite)
        return self._turnings[part.axial]

    def cost(self, part: Part, crystal: Crystal) -> float:
        """A rough number of bits."""
        turning = self.turning(part, crystal)
        bits = 0.0
        if self.code == OWN:
            own = BitWriter()
            write_group(own, self.group)
            bits = len(own)
        for kind in self.kinds:
            if kind.layout is None:
                bits += 4 * len(kind.atoms) * kind.count * len(part.channels)
                continue
            for members in turning.orbits(kind.atoms):
                for ell, place in places(kind.layout).items():
                    free = round(float(np.trace(turning.onto(members[0], members[0], ell))))
                    bits += (9 if ell == 0 else 2) * free * len(place)
        return bits


class LayoutSearch:
    """The search for groups and layouts by which the numbers turn."""

    def __init__(
        self, occupancies: Occupancies, crystal: Crystal, bounds: np.ndarray, groups: Sequence[SpaceGroup]
    ) -> None:
        self.occupancies, self.crystal, self.bounds = occupancies, crystal, bounds
        self.groups: list[tuple[int, SpaceGroup]] = []
        pairs = len(crystal) ** 2
        for code, group in [*enumerate(groups[:2], 1), (OWN, find(crystal))]:
            fits = len(group) > 1 and len(group) * pairs <= MOST_IMAGES
            if fits and (code == OWN or not any(same_group(group, other) for _, other in self.groups)):
                self.groups.append((code, group))

    def total(self, part: Part, kinds: list[Kind]) -> Choice:
        """Group and layouts, chosen by the first part."""
        choices, whole = [Choice(0, SpaceGroup.trivial(), kinds)], 0
        for code, group in self.groups:
            if len(group) <= whole:
                continue
            for opposite in (False, True):
                choice = self._first(part, kinds, Choice(code, group, kinds, opposite))
                if any(kind.layout is not None for kind in choice.kinds):
                    choices.append(choice)
                if all(kind.layout is not None for kind in choice.kinds):
                    whole = len(choice.group)
                    break
        return min(choices, key=lambda choice: choice.cost(part, self.crystal))

    def _first(self, part: Part, kinds: list[Kind], choice: Choice) -> Choice:
        """The layouts for a group. A group of its own keeps only operations that turn the numbers."""
        if choice.code == OWN:
            near = np.ones(len(choice.group), bool)
            for kind in kinds:
                layout, own = self._layout(part, kind, choice, whole=False)
                near &= own if layout is not None else True
            choice = replace(choice, group=choice.group.subgroup(near))
        if len(choice.group) == 1:
            return choice
        layouts = [self._layout(part, kind, choice, whole=True)[0] for kind in kinds]
        return replace(choice, kinds=[replace(k, layout=found) for k, found in zip(kinds, layouts, strict=True)])

    def rest(self, part: Part, first: Choice) -> Choice:
        """The group of a magnetisation, with the signs of its operations. The layouts are known."""
        kinds, opposite = first.kinds, first.opposite
        turned = [kind for kind in kinds if kind.layout is not None]
        choices = [Choice(0, SpaceGroup.trivial(), kinds, opposite)]
        for code, group in self.groups if turned else ():
            turning = Turning(group, self.crystal, part.axial, opposite)
            missed = np.max([self._missed(part, kind, turning) for kind in turned], axis=0)
            if code != OWN:
                if (missed[np.arange(len(group)), group.flips] <= _MISSED).all():
                    choices.append(Choice(code, group, kinds, opposite))
                continue
            flips = (missed[:, 1] < missed[:, 0]).astype(np.int64)
            near = missed.min(axis=1) <= _MISSED
            near[0], flips[0] = True, 0
            own = group.with_flips(flips).subgroup(near)
            if len(own) > 1:
                choices.append(Choice(code, own, kinds, opposite))
        return min(choices, key=lambda choice: choice.cost(part, self.crystal))

    def _layout(self, part: Part, kind: Kind, choice: Choice, whole: bool) -> tuple[Layout | None, np.ndarray]:
        """The layout that leaves the fewest numbers free, and the operations by which the numbers turn with it.

        None where the numbers turn by no operation but the identity. whole: only layouts that turn by all operations.
        """
        group = choice.group
        turning = choice.turning(part, self.crystal)
        best: tuple[int, Layout | None, np.ndarray] = (kind.count * len(kind.atoms), None, np.zeros(len(group), bool))
        turnings: dict[bytes, Turning] = {}
        for trial in self._promising(part, kind, choice, whole):
            near = self._near(part, trial, turning, whole)
            if near.sum() == 1 or (whole and not near.all()):
                continue
            if near.tobytes() not in turnings:
                own = replace(choice, group=group if near.all() else group.subgroup(near))
                turnings[near.tobytes()] = own.turning(part, self.crystal)
            free = _free(trial, turnings[near.tobytes()])
            if free < best[0]:
                best = free, trial.layout, near
        return best[1:]

    def _promising(self, part: Part, kind: Kind, choice: Choice, whole: bool) -> list[Kind]:
        """A kind with each layout that is worth trying with all operations.

        These are the layouts with which most generators of the group turn the numbers, or all layouts where that takes
        little time. whole: only layouts with which all generators turn them.
        """
        few = replace(choice, group=choice.group.generators()).turning(part, self.crystal)
        layouts = candidates(kind.count) if kind.count <= _MOST_SEARCHED else ()
        trials = [replace(kind, layout=layout) for layout in layouts]
        if not whole and len(trials) * len(choice.group) * len(kind.atoms) * kind.count <= _LITTLE:
            return trials
        turned = [int(self._near(part, trial, few, whole).sum()) for trial in trials]
        most = len(few.group) if whole else max(turned, default=0)
        return [trial for trial, number in zip(trials, turned, strict=True) if number == most]

    def _near(self, part: Part, kind: Kind, turning: Turning, whole: bool = False) -> np.ndarray:
        """The operations by which the numbers turn, with their flips, (operations,) bool.

        whole: the caller asks for all or none, so that the search ends with the first that fails.
        """
        near = np.ones(len(turning.group), bool)
        for missed in self._missed_by_degree(part, kind, turning, both=False):
            near &= missed[np.arange(len(missed)), turning.group.flips] <= _MISSED
            # The numbers always turn by the identity, which says nothing of a layout.
            if near.sum() <= turning.identities or (whole and not near.all()):
                break
        return near

    def _missed(self, part: Part, kind: Kind, turning: Turning) -> np.ndarray:
        """By how much each operation misses the numbers, in parts of the tolerance, (operations, 2).

        The first column is without, the second with a change of sign.
        """
        return np.max(list(self._missed_by_degree(part, kind, turning, both=True)), axis=0)

    def _missed_by_degree(self, part: Part, kind: Kind, turning: Turning, both: bool) -> Iterator[np.ndarray]:
        """`_missed` of the numbers of one L after the other.

        both: False computes only the column that the operation's flip asks for, and leaves the other at 0.
        """
        values = part.values(self.occupancies, kind)
        bounds = self.bounds[min(part.channels[0], 1)][list(kind.atoms)]
        index = np.full(len(self.crystal), -1)
        index[list(kind.atoms)] = np.arange(len(kind.atoms))
        images = index[turning.images[:, list(kind.atoms)]]
        strangers = (images < 0).any(axis=1)
        assert kind.layout is not None
        for ell, place in places(kind.layout).items():
            own = np.array([blocks_of(atom, place) for atom in values])
            turned = np.einsum("nij,abj->nabi", turning.matrices(ell), own)
            there, limit = own[images], bounds[images][:, :, None, None]
            missed = np.zeros((len(images), 2))
            if both:
                for k, sign in enumerate((1, -1)):
                    missed[:, k] = (np.abs(there - sign * turned) / limit).max(axis=(1, 2, 3))
            else:
                worst = np.abs(there - turning.signs[:, None, None, None] * turned) / limit
                missed[np.arange(len(missed)), turning.group.flips] = worst.max(axis=(1, 2, 3))
            missed[strangers] = np.inf
            yield missed


def _free(kind: Kind, turning: Turning) -> int:
    """How many numbers of all orbits are free."""
    assert kind.layout is not None
    ranks = {
        ell: sum(round(float(np.trace(turning.onto(o[0], o[0], ell)))) for o in turning.orbits(kind.atoms))
        for ell in places(kind.layout)
    }
    return sum(ranks[ell] * len(place) for ell, place in places(kind.layout).items())
