"""`chgdb combine`: sums and differences of densities."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chgdb.urls import file_name
from chgdb_cli.arguments import CatalogOption, ElementsOption, ForceOption, JsonOption, check_free, complete_id, load
from chgdb_cli.output import grid as grid_text
from chgdb_cli.output import message, print_json, show

if TYPE_CHECKING:
    from chgdb import Density


def register(app: typer.Typer) -> None:
    app.command(
        epilog="""\b
Examples:
  chgdb combine AB.CHGCAR - A.CHGCAR - B.CHGCAR -o diff.CHGCAR
  chgdb combine AECCAR0 + AECCAR2 -o CHGCAR_sum    the all-electron density
  chgdb combine CHGCAR - mp-149 -o diff.cube       a file and a material of the catalog
  chgdb combine 0.5 x a/CHGCAR + 0.5 x b/CHGCAR -o mean.CHGCAR
  chgdb combine a/CHGCAR - b/CHGCAR --shift 2=0.5,0.5,0 -o diff.CHGCAR""",
    )(combine)


def combine(
    expression: Annotated[
        list[str],
        typer.Argument(
            metavar="A [+|- B]...",
            help="Files or material ids, each perhaps after a number and x.",
            autocompletion=complete_id,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PATH", help="File to write; its name tells the format.")
    ],
    shift: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N=X,Y,Z", help="Move the Nth density, counted from 1, by fractions of the lattice vectors first."
        ),
    ] = None,
    elements: ElementsOption = None,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add and subtract densities of the same cell, channel by channel.

    If grids differ, all are interpolated to the finest. A result with a minus is no density: the file says so, and
    predict, estimate and build refuse it. Its atoms are those of the densities with a plus.
    """
    from chgdb.comparison import moved
    from chgdb.density import ScalarField
    from chgdb.density import combine as combined
    from chgdb.formats import left_out, write
    from chgdb.formulas import common_formula

    terms = _parse(expression)
    shifts = _parse_shifts(shift or [], len(terms))
    check_free(output, force)
    loaded: list[tuple[float, Density]] = []
    for number, (weight, source) in enumerate(terms):
        density = load(source, catalog, elements)
        loaded.append((weight, moved(density, shifts[number]) if number in shifts else density))
    result = combined(loaded)
    _tell_unmatched(terms, loaded, result)
    text = _text(terms)
    result = _commented(result, text)
    missing = left_out(output, result)
    write(output, result)
    if missing:
        message(f"{output}: without {', '.join(missing)}, as a cube holds one field")
    what = result.quantity if isinstance(result, ScalarField) else "density"
    moved_electrons = float(abs(result.total).mean()) * result.crystal.volume / 2
    if as_json:
        print_json(
            {
                "file": str(output),
                "expression": text,
                "quantity": what,
                "formula": result.crystal.formula,
                "channels": list(result.channels),
                "grid": list(result.grid),
                "n_electrons": result.n_electrons,
                "minimum": float(result.total.min()),
                "maximum": float(result.total.max()),
            }
        )
        return
    show(f"{output}: {what} of {common_formula(result.crystal.formula)}, {text}")
    show(
        f"{result.n_electrons + 0.0:.6f} electrons, from {result.total.min():.4g} to {result.total.max():.4g} e/Å^3, "
        f"grid {grid_text(result.grid)}"
    )
    if what == "density difference":
        show(f"Half of the integral of its absolute value: {moved_electrons:.4g} electrons")


def _tell_unmatched(
    terms: Sequence[tuple[float, str]], loaded: Sequence[tuple[float, Density]], result: Density
) -> None:
    """Say which densities with a minus have atoms that the result has not."""
    from chgdb.comparison import unmatched
    from chgdb.crystal import CLOSE

    for (weight, source), (_, density) in zip(terms, loaded, strict=True):
        distance = unmatched(result.crystal, density.crystal)
        if weight < 0 and math.isinf(distance):
            message(f"{source}: {density.crystal.formula} has elements that no density with a plus has")
        elif weight < 0 and distance > CLOSE:
            message(
                f"{source}: atoms lie up to {distance:.2f} Å from those of the result, so that the difference holds "
                "that, too"
            )


def _commented(result: Density, text: str) -> Density:
    from dataclasses import replace

    return replace(result, extras={**result.extras, "comment": f"{result.crystal.formula} = {text}"})


def _text(terms: Sequence[tuple[float, str]]) -> str:
    """
    >>> _text([(1.0, "runs/AB.CHGCAR"), (-0.5, "mp-149")])
    'AB.CHGCAR - 0.5 x mp-149'
    """
    parts: list[str] = []
    for weight, source in terms:
        sign = "-" if weight < 0 else "+" if parts else ""
        factor = "" if abs(weight) == 1 else f"{abs(weight):g} x "
        parts.append(f"{sign} {factor}{file_name(source)}".strip())
    return " ".join(parts)


def _parse(words: Sequence[str]) -> list[tuple[float, str]]:
    """Weights and sources of an expression.

    >>> _parse(["AB", "-", "A", "-", "0.5", "x", "B"]), _parse(["2*A", "+", "B"])
    ([(1.0, 'AB'), (-1.0, 'A'), (-0.5, 'B')], [(2.0, 'A'), (1.0, 'B')])
    """
    terms: list[tuple[float, str]] = []
    rest = list(words)
    while rest:
        sign = 1.0
        if rest[0] in ("+", "-"):
            sign = -1.0 if rest.pop(0) == "-" else 1.0
        elif terms:
            raise _wrong(words, f"there is no + or - before {rest[0]!r}")
        factor = 1.0
        joined = None if not rest or os.path.lexists(rest[0]) else re.fullmatch(r"([\d.][\d.eE+-]*)[*x×](.+)", rest[0])
        if len(rest) > 2 and rest[1] in ("x", "*", "×"):
            factor = _number(words, rest[0])
            rest = rest[2:]
        elif joined and _is_number(joined[1]):
            factor, rest[0] = float(joined[1]), joined[2]
        if not rest or rest[0] in ("+", "-"):
            raise _wrong(words, "a file or a material id is missing after a sign")
        terms.append((sign * factor, rest.pop(0)))
    return terms


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _number(words: Sequence[str], text: str) -> float:
    if not _is_number(text):
        raise _wrong(words, f"{text!r} is not a number")
    return float(text)


def _wrong(words: Sequence[str], reason: str) -> typer.BadParameter:
    return typer.BadParameter(f"{' '.join(words)!r}: {reason}; write it as AB - A - 0.5 x B", param_hint="A [+|- B]...")


def _parse_shifts(texts: Sequence[str], count: int) -> dict[int, tuple[float, float, float]]:
    """Number of a density, from 0, -> fractions of the lattice vectors.

    >>> _parse_shifts(["2=0.5,0,-0.25"], 2)
    {1: (0.5, 0.0, -0.25)}
    """
    found = {}
    for text in texts:
        number, _, fractions = text.partition("=")
        parts = fractions.split(",")
        if len(parts) != 3 or not all(map(_is_number, parts)) or not re.fullmatch(r"[1-9]\d{0,5}", number):
            raise typer.BadParameter(f"{text!r} is not a shift such as 2=0.5,0,0", param_hint="--shift")
        if int(number) > count:
            raise typer.BadParameter(f"{text!r}: there are only {count} densities", param_hint="--shift")
        x, y, z = map(float, parts)
        found[int(number) - 1] = x, y, z
    return found
