"""`chgdb.predict`: properties of one density or structure, and how far to trust them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .density import Crystal, Density
from .derived import DERIVED, HULL_DISTANCE, derive, mean_mass
from .elements import SYMBOLS
from .errors import UnknownMaterialError
from .formulas import common_formula
from .hull import Hull
from .plugins import models_folder
from .targets import SERVED, TARGETS
from .urls import is_url, public

if TYPE_CHECKING:
    import ase
    import pymatgen.core

    from .catalog import Record
    from .estimation import Estimate
    from .models import Rows
    from .models.ensemble import Ensemble
    from .models.neighbours import Neighbour

__all__ = ["DEFAULT_MODEL", "Predicted", "Prediction", "load_model", "predict"]

#: The model that predicts unless another is named.
DEFAULT_MODEL = "invariant"
#: Standard deviations on either side within which 90 % of true values lie.
NINETY_PERCENT = 1.645
_NORMAL_HALF = 0.6745
#: Training materials that a prediction names.
NEAREST = 8
#: Columns of a catalog that say what its own calculation found, and are shown beside what is predicted.
COMPUTED = ("formation_energy_dft", "hull_distance", "band_gap", "magnetic_moment_per_atom")


@dataclass(frozen=True)
class Predicted:
    """One predicted property.

    Attributes
    ----------
    value, std : float
        In `unit`. 90 % of true values lie within 1.645 standard deviations of the value.
    unit : str
    half : float
        50 % of true values lie within this of the value; NaN where the model does not say.
    """

    value: float
    std: float
    unit: str
    half: float = math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the interval that holds 90 % of true values."""
        return self.value - NINETY_PERCENT * self.std, self.value + NINETY_PERCENT * self.std

    @property
    def interval_50(self) -> tuple[float, float]:
        """Lower and upper end of what holds 50 % of true values."""
        return self.value - self.half, self.value + self.half

    def to_dict(self) -> dict[str, Any]:
        """The prediction as an object for JSON.

        Returns
        -------
        dict[str, Any]
        """
        half = {"half_width_50": self.half} if math.isfinite(self.half) else {}
        return {"value": self.value, "std": self.std, **half, "unit": self.unit}

    def __str__(self) -> str:
        return f"{' ± '.join(self.rounded())} {self.unit}"

    def rounded(self) -> tuple[str, str]:
        """Value and standard deviation as texts, both to the second digit of the standard deviation.

        Returns
        -------
        tuple[str, str]

        Examples
        --------
        >>> Predicted(97.8321, 8.4412, "GPa").rounded(), Predicted(-0.001, 0.2, "eV").rounded()
        (('97.8', '8.4'), ('0.00', '0.20'))
        >>> Predicted(415.3, 163.2, "GPa").rounded()
        ('415', '160')
        """
        digits = 3 if not self.std > 0 else max(0, 1 - math.floor(math.log10(self.std)))
        # Adding zero makes a negative zero positive.
        std = float(f"{self.std:.2g}") if self.std > 0 else self.std
        return f"{round(self.value, digits) + 0.0:.{digits}f}", f"{std:.{digits}f}"


@dataclass(frozen=True, eq=False)
class Prediction(Mapping[str, Predicted]):
    """Predicted properties of one density or structure: a mapping from the names of `targets.SERVED`, in their order.

    Attributes
    ----------
    source : str
        The file, URL or material id; "" for a density or structure in memory.
    formula : str
        Reduced formula.
    model : str
        Identifier of the model and its weights.
    properties : dict of str to Predicted
    unlike_training : tuple of str
        One line for each way in which the input lies outside of the applicability domain of the model, or of the model
        that estimated the density. Standard deviations are then no smaller than those of the whole training set.
    density : str
        "given", or "estimated" from the structure.
    density_model : str
        Identifier of the model that estimated the density; "" for one that was given.
    density_error, density_limit : float
        Expected NMAE of an estimated density, and the NMAE below which 9 of 10 stay, as in `Estimate`; NaN for a
        density that was given.
    derived : dict of str to Predicted
        What follows from the predicted properties and the structure, by the names of `chgdb.derived.DERIVED`.
    computed : dict of str to Predicted
        Of a material of the catalog what its own calculation found, by the names of its columns; nothing of others. No
        error of it is known: `std` is NaN.
    trained_as : str
        Id of the training material that this is, by formula, structure and density; "" where it is none.
    out_of_fold : dict of str to Predicted
        For a training material what a model says that had not seen its formula: the honest prediction of it.
    nearest : tuple of Neighbour
        The training materials that are most like this one, the most like first.
    crystal : Crystal or None
        The structure that was predicted.

    Examples
    --------
    >>> found = chgdb.predict("CHGCAR")                       # doctest: +SKIP
    >>> found["bulk_modulus"].value, found["bulk_modulus"].std  # doctest: +SKIP
    (88.1, 10.6)
    >>> print(found)                                            # doctest: +SKIP
    """

    source: str
    formula: str
    model: str
    properties: dict[str, Predicted]
    unlike_training: tuple[str, ...] = ()
    density: str = "given"
    density_model: str = ""
    density_error: float = math.nan
    density_limit: float = math.nan
    derived: dict[str, Predicted] = field(default_factory=dict)
    trained_as: str = ""
    out_of_fold: dict[str, Predicted] = field(default_factory=dict)
    nearest: tuple[Neighbour, ...] = ()
    computed: dict[str, Predicted] = field(default_factory=dict)
    crystal: Crystal | None = None

    def __getitem__(self, name: str) -> Predicted:
        return self.properties[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.properties)

    def __len__(self) -> int:
        return len(self.properties)

    def __repr__(self) -> str:
        return f"<chgdb.Prediction {self.formula} by {self.model}: {', '.join(self)}>"

    def __str__(self) -> str:
        rows = self.table()
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{common_formula(self.formula)}  {self.source}".rstrip()]
        lines += [
            f"  {label:<{widths[0]}}  {v:>{widths[1]}} ± {s:<{widths[2]}}  {u}".rstrip() for label, v, s, u in rows
        ]
        lines += [f"Model {self.model}; 90 % of true values within {NINETY_PERCENT} standard deviations (±)"]
        if self.density_note:
            lines.append(f"Density {self.density_note}")
        if self.trained_as:
            lines.append(self.training_note)
        return "\n".join(lines + [f"Unlike the training set: {remark}" for remark in self.unlike_training])

    @property
    def density_note(self) -> str:
        """One line on an estimated density, its error and its model; "" for one that was given."""
        if self.density != "estimated":
            return ""
        from .estimation import summary

        return f"{summary(self.density_error, self.density_limit)} ({self.density_model})"

    @property
    def training_note(self) -> str:
        """One line on a material that trained the model, and what is said of it without; "" for any other."""
        if not self.trained_as:
            return ""
        said = ", ".join(f"{TARGETS[name].label} {found}" for name, found in self.out_of_fold.items())
        return f"{self.trained_as} trained the model; without its formula: {said or 'nothing'}"

    def table(self) -> list[tuple[str, str, str, str]]:
        """Label, value, standard deviation and unit of every property, as texts.

        Returns
        -------
        list[tuple[str, str, str, str]]
        """
        return [(TARGETS[name].label, *found.rounded(), found.unit) for name, found in self.items()]

    def derived_table(self) -> list[tuple[str, str, str, str]]:
        """Label, value, standard deviation and unit of every derived property, as texts.

        Empirical relations are marked so. Results of the catalog's own calculation follow where there is one, without a
        standard deviation.

        Returns
        -------
        list[tuple[str, str, str, str]]
        """
        found = [
            (
                f"{DERIVED[n].label} (empirical)" if DERIVED[n].empirical else DERIVED[n].label,
                *found.rounded(),
                found.unit,
            )
            for n, found in self.derived.items()
        ]
        own = [(f"{n.replace('_', ' ')} (computed)", f"{x.value:.4g}", "", x.unit) for n, x in self.computed.items()]
        return found + own

    def to_dict(self) -> dict[str, Any]:
        """The object that `chgdb predict --json` prints.

        `unlike_training` is there only where something is unlike, `density_estimate` only where the density was
        estimated.

        Returns
        -------
        dict[str, Any]
        """
        facts: dict[str, Any] = {
            "file": self.source,
            "formula": self.formula,
            "density": self.density,
            "properties": {name: {**found.to_dict(), "model": self.model} for name, found in self.items()},
        }
        if self.derived:
            facts["derived"] = {
                name: {**found.to_dict(), "empirical": DERIVED[name].empirical, "source": DERIVED[name].source}
                for name, found in self.derived.items()
            }
        if self.computed:
            facts["computed"] = {
                name: {"value": found.value, "unit": found.unit} for name, found in self.computed.items()
            }
        if self.trained_as:
            out_of_fold = {name: found.to_dict() for name, found in self.out_of_fold.items()}
            facts["trained_the_model"] = {"material_id": self.trained_as, "out_of_fold": out_of_fold}
        if self.density == "estimated":
            facts["density_estimate"] = {
                "nmae_expected": self.density_error if math.isfinite(self.density_error) else None,
                "nmae_90": self.density_limit if math.isfinite(self.density_limit) else None,
                "model": self.density_model,
            }
        if self.unlike_training:
            facts["unlike_training"] = list(self.unlike_training)
        return facts

    def to_json(self) -> str:
        """`to_dict` as JSON text.

        Returns
        -------
        str
        """
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)


def predict(
    density_or_path: Density | Record | Crystal | ase.Atoms | pymatgen.core.Structure | str | os.PathLike[str],
    *,
    model: str = DEFAULT_MODEL,
    models: str | os.PathLike[str] | None = None,
    format: str | None = None,
    elements: Sequence[str] | None = None,
    catalog: str | os.PathLike[str] | None = None,
) -> Prediction:
    """Predict the properties of a charge density, or of a structure, whose density is then estimated by `estimate`.

    Parameters
    ----------
    density_or_path : Density, Record, Crystal, ase.Atoms, pymatgen.core.Structure, str or path
        A density in e/Å^3 with its structure; a record of a catalog; a structure; a file or URL of a density (CHGCAR,
        cube, ...) or of a structure (POSCAR, CIF, ...); or the id of a material of the catalog, where no file has this
        name. A given density is used as it is.
    model : str
        A name of `chgdb.models.names()`.
    models : path, optional
        Folder of trained models, instead of those of the embedded catalog.
    format : str, optional
        Format of the file; guessed from its name or content unless given.
    elements : sequence of str, optional
        Symbol of each species, for files of VASP 4, which do not name them.
    catalog : path or URL, optional
        Store that ids are looked up in; the embedded catalog unless given.

    Returns
    -------
    Prediction
        A mapping from property to value, standard deviation and unit, that prints as a table.

    Raises
    ------
    FormatError
        For a file that cannot be read.
    DensityError
        For a density without a structure, or one whose total cannot be the number of electrons of its atoms: another
        unit, or a spin density. For a structure for which no density can be estimated.
    UnknownMaterialError
        For what is neither a file nor an id of the catalog.
    ModelError, ChecksumError, MissingExtraError
        For a model that does not exist, is damaged, or needs a package that is not installed.

    Examples
    --------
    >>> print(chgdb.predict("CHGCAR"))                       # doctest: +SKIP
    """
    from .models.applicability import check_units
    from .models.rows import from_densities

    ensemble = load_model(model, None if models is None else Path(models))
    source, density, guess = density_of(density_or_path, format, elements, catalog)
    check_units(density)
    rows = from_densities([source], [density], ensemble.inputs)
    found = ensemble.predict(rows)
    likeness = _likeness(ensemble, rows, source)
    outside = [*filter(None, [likeness.pop("strained", "")]), *(guess.remarks if guess else ())]
    remarks = tuple(dict.fromkeys([*found.remarks[0], *outside]))
    properties = {}
    for name in (name for name in SERVED if name in ensemble.targets):
        std, half = float(found.std[name][0]), float(found.half[name][0]) if name in found.half else math.nan
        if outside:  # as the model itself does for what is outside of its domain
            std = max(std, float(ensemble.calibration[name].spread))
            half = max(half, _NORMAL_HALF * std)
        properties[name] = Predicted(float(found.mean[name][0]), std, TARGETS[name].units, half)
    prediction = Prediction(
        source, density.crystal.formula, ensemble.identifier, properties, remarks,
        derived=_derived(properties, density.crystal) | _above_hull(properties, density.crystal, catalog),
        computed=_computed(likeness.get("trained_as") or source, density.crystal, catalog), crystal=density.crystal,
        **likeness,
    )  # fmt: skip
    if guess is None:
        return prediction
    return replace(
        prediction,
        density="estimated",
        density_model=guess.model,
        density_error=guess.error,
        density_limit=guess.limit,
    )


def _derived(properties: Mapping[str, Predicted], crystal: Crystal) -> dict[str, Predicted]:
    """The properties that follow from the moduli; none without moduli."""
    from .features.cells import canonical

    if not {"bulk_modulus", "shear_modulus"} <= set(properties):
        return {}
    bulk, shear = (properties[name] for name in ("bulk_modulus", "shear_modulus"))
    small = canonical(crystal).crystal
    numbers = (mean_mass(small.numbers), small.volume / len(small), float(len(small)))
    mass, volume, atoms = (np.array([x]) for x in numbers)
    moduli = [(np.array([one.value]), np.array([one.std])) for one in (bulk, shear)]
    found = derive(moduli[0], moduli[1], mass, volume, atoms)
    return {n: Predicted(float(v[0]), float(s[0]), DERIVED[n].units) for n, (v, s) in found.items() if v[0] == v[0]}


def _above_hull(
    properties: Mapping[str, Predicted], crystal: Crystal, catalog: str | os.PathLike[str] | None
) -> dict[str, Predicted]:
    """The predicted formation energy above the hull of a catalog's phases; nothing if the catalog has no energies."""
    from .catalog import open_catalog

    own, energies = open_catalog(catalog), COMPUTED[0]
    if "formation_energy" not in properties or energies not in own.columns:
        return {}
    symbols = {SYMBOLS[int(z)] for z in crystal.numbers}
    rows = [row for row, text in enumerate(own.column("elements").tolist()) if symbols.issuperset(text.split())]
    hull = Hull(own.column("formula")[rows].tolist(), own.column(energies)[rows])
    one = properties["formation_energy"]
    above = one.value - hull.energy(crystal.formula)
    return {HULL_DISTANCE: Predicted(above, one.std, DERIVED[HULL_DISTANCE].units, one.half)}


def _computed(material_id: str, crystal: Crystal, catalog: str | os.PathLike[str] | None) -> dict[str, Predicted]:
    """`Prediction.computed`: the calculated values of a material of the catalog; nothing for any other input."""
    from .catalog import open_catalog

    own = open_catalog(catalog)
    if material_id not in own or own[material_id].formula != crystal.formula:
        return {}
    facts, columns = own[material_id].metadata, own.columns
    return {
        name: Predicted(float(facts[name]), math.nan, columns[name].get("units", ""))
        for name in COMPUTED
        if math.isfinite(facts.get(name, math.nan))
    }


def _likeness(ensemble: Ensemble, rows: Rows, source: str) -> dict[str, Any]:
    """Fields of `Prediction` on the training materials: those that the input is like, and the one that it is."""
    from .models import ModelError, neighbours, volumes

    try:
        near = neighbours.of_rows(ensemble, rows, NEAREST)[0]
    except ModelError:  # a model that does not compare materials
        return {}
    same = [
        n for n in near if n.formula == rows.formulas[0] and (n.distance < neighbours.SAME or n.material_id == source)
    ]
    facts: dict[str, Any] = {"nearest": tuple(near)}
    if not same and (remark := neighbours.strained(ensemble, rows, near) or volumes.remark(ensemble, rows)):
        facts["strained"] = remark
    if same:
        known, row = ensemble.held_out, ensemble.held_out.position[same[0].material_id]
        facts["trained_as"] = same[0].material_id
        facts["out_of_fold"] = {
            name: Predicted(
                float(known.mean[name][row]),
                float(known.std[name][row]),
                TARGETS[name].units,
                float(known.half[name][row]) if name in known.half else math.nan,
            )
            for name in SERVED
            if name in known.mean and math.isfinite(known.mean[name][row])
        }
    return facts


def density_of(
    given: Any,
    format: str | None,
    elements: Sequence[str] | None,
    catalog: str | os.PathLike[str] | None,
) -> tuple[str, Density, Estimate | None]:
    """A name for the input, its density, and the estimate that the density is from if only a structure was given.

    The one place that decides what can be predicted from.
    """
    source, found = "", given
    if isinstance(given, str | os.PathLike):
        record = _record(given, catalog)
        if record is None:
            from .formats import read_any

            source, found = public(os.fspath(given)), read_any(given, format=format, elements=elements)
        else:
            source, found = record.material_id, record.density
    elif isinstance(density := getattr(given, "density", None), Density):  # a record
        source, found = given.material_id, density
    if isinstance(found, Density):
        return source, found, None
    from .estimation import as_crystal, estimate

    try:
        crystal = as_crystal(found)
    except TypeError:
        raise TypeError(
            f"properties are predicted of a density, a structure, a record or a file, not of {type(given).__name__}"
        ) from None
    guess = estimate(crystal)
    return source, guess.density, guess


def _record(name: str | os.PathLike[str], catalog: str | os.PathLike[str] | None) -> Record | None:
    """The material of this id; None for what is a path that leads somewhere, a path with folders, or a URL."""
    if not isinstance(name, str) or is_url(name) or os.path.lexists(name) or os.path.basename(name) != name or not name:
        return None
    from .catalog import open_catalog

    try:
        return open_catalog(catalog)[name]
    except UnknownMaterialError as error:
        raise UnknownMaterialError(f"{name}: there is no such file, and {error}") from None


def load_model(name: str = DEFAULT_MODEL, folder: Path | None = None) -> Ensemble:
    """A trained property model; kept in memory until its folder changes.

    Parameters
    ----------
    name : str
        A name of `chgdb.models.names()`.
    folder : path, optional
        Folder of the models, instead of those of the embedded catalog.

    Returns
    -------
    chgdb.models.ensemble.Ensemble

    Raises
    ------
    ModelError
        For an unknown name, or where there is no such model.
    ChecksumError
        If it is damaged.
    MissingExtraError
        If a package that it needs is not installed.
    """
    from .models import REGISTRY

    REGISTRY.check(name)
    place = (folder or models_folder("properties")) / name
    try:
        status = (place / "model.json").stat()
    except OSError:
        return _loaded(place, ())  # says what is wrong
    return _loaded(place, (status.st_ino, status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=2)
def _loaded(place: Path, version: tuple[int, ...]) -> Ensemble:
    from .models.ensemble import Ensemble

    return Ensemble.load(place)
