"""Criteria for materials: options that `search`, `fetch` and `subset` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chgdb_cli.arguments import complete_criterion, complete_prediction

if TYPE_CHECKING:
    from chgdb import Catalog

OccurOption = Annotated[str | None, typer.Option("--elements", metavar="El,El", help="All of these elements occur.")]
OnlyOption = Annotated[str | None, typer.Option("--only", metavar="El,El", help="These elements occur and no others.")]
FormulaOption = Annotated[
    str | None, typer.Option("--formula", metavar="FORMULA", help="The same reduced formula, in any order.")
]
SpaceGroupOption = Annotated[
    int | None, typer.Option("--space-group", metavar="NUMBER", min=1, max=230, help="Number of the space group.")
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        autocompletion=complete_criterion,
        metavar="COLUMN:RANGE",
        help="Such as band_gap:1..3, volume:..50, code:GPAW; may be repeated.",
    ),
]
PredictedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--predicted",
        autocompletion=complete_prediction,
        metavar="PROPERTY:RANGE",
        help="Such as bulk_modulus:200.., in what a model predicts; may be repeated.",
    ),
]


@dataclass(frozen=True)
class Criteria:
    """The criteria that the options give. where, predicted: (column, wanted values)."""

    elements: str | None
    only: str | None
    formula: str | None
    where: tuple[tuple[str, Any], ...]
    predicted: tuple[tuple[str, Any], ...]

    @classmethod
    def of(
        cls,
        elements: str | None,
        only: str | None,
        formula: str | None,
        space_group: int | None,
        where: list[str] | None,
        predicted: list[str] | None,
    ) -> Criteria:
        """The criteria of the options. Raises `typer.BadParameter` where one cannot be read."""
        columns = _parsed(where, "--where")
        if space_group is not None:
            columns.append(("space_group", space_group))
        return cls(elements, only, formula, tuple(columns), tuple(_parsed(predicted, "--predicted")))

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return any((self.elements, self.only, self.formula, self.where, self.predicted))

    def find(self, catalog: Catalog) -> list[str]:
        """Ids of the materials that meet all of them; says on standard error where predictions are of another model
        than the installed one."""
        found = catalog.search(
            elements=self.elements,
            chemical_system=self.only,
            formula=self.formula,
            predicted=self.predicted,
            where=self.where,
        )
        if self.predicted:
            warn_of_stale_view(catalog)
        return found


def chosen(catalog: Catalog, ids: list[str] | None, criteria: Criteria) -> list[str]:
    """The materials that a command is to take: those named, or those that meet criteria.

    Raises `typer.BadParameter` where both are given or neither, `CriterionError` where no material meets them.
    """
    if bool(ids) == bool(criteria):
        both = "not both" if ids else "such as --formula SiO2 or --where band_gap:1..3"
        raise typer.BadParameter(f"name materials, or say what they are to meet, {both}", param_hint="ID")
    if ids:
        return list(dict.fromkeys(ids))
    found = criteria.find(catalog)
    if not found:
        from chgdb.errors import CriterionError

        raise CriterionError(f"{catalog.path}: none of its {len(catalog)} materials meets all of this")
    return found


def warn_of_stale_view(catalog: Catalog) -> None:
    """Say on standard error where predictions were made by another version of the model than the one installed."""
    from chgdb.views import PROPERTIES, View
    from chgdb_cli.output import message

    stale = View(catalog, PROPERTIES).stale
    if stale:
        message(f"note: {stale}")


def _parsed(texts: list[str] | None, option: str) -> list[tuple[str, Any]]:
    """Parse the values of --where or --predicted."""
    from chgdb.criteria import parse
    from chgdb.errors import CriterionError

    try:
        found = [parse(text) for text in texts or []]
    except CriterionError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    if option == "--where" and any(name == "predicted" for name, _ in found):
        raise typer.BadParameter("what is predicted is asked for as --predicted bulk_modulus:200..", param_hint=option)
    return found
