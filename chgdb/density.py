"""Density: the one value that everything in chgdb passes around, with its `Crystal`.

Conventions, once for the whole package: lengths in Å; rows of `cell` are lattice vectors; positions are fractional;
densities in e/Å^3; grid arrays have the shape (nx, ny, nz) and grid point i sits at the fractional coordinate i/n.
Values may be negative: a pseudo-density is, near some cores, and a magnetisation anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from . import cells, interop, symmetry, transformations
from . import channels as fields
from .channels import CHANNELS as CHANNELS
from .crystal import Crystal as Crystal
from .crystal import check_cells, joined
from .errors import DensityError, require
from .grids import resample, shifted

if TYPE_CHECKING:
    import ase
    import pymatgen.io.vasp
    import xarray

    from .charges import Charges

#: Cells are the same up to this part of the squares of their lengths: VASP prints six decimals.
_SAME_CELL = 1e-4


@dataclass(frozen=True, eq=False)
class Density:
    """An electronic charge density on a periodic grid, with the crystal it belongs to.

    Attributes
    ----------
    crystal : Crystal
        The structure.
    channels : Mapping[str, np.ndarray]
        Name -> (nx, ny, nz) float array in e/Å^3. The keys are those of `CHANNELS`: "total" first, then
        "magnetization" (collinear, μB/Å^3 up minus down) or "magnetization_x/y/z" (noncollinear).
    extras : Mapping[str, Any]
        What a file held beside the values and gets back when it is written (see `formats`), such as the augmentation
        occupancies of a CHGCAR. Nothing else looks into it.

    Raises
    ------
    DensityError
        If a value is not finite, shapes disagree or the channels are not one of `CHANNELS`.
    """

    crystal: Crystal
    channels: Mapping[str, np.ndarray]
    extras: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = tuple(self.channels)
        if names != CHANNELS.get(len(names)):
            expected = " or ".join(", ".join(known) for known in CHANNELS.values())
            raise DensityError(f"channels are {', '.join(names) or 'missing'}; expected {expected}")
        checked = {}
        for name, values in self.channels.items():
            values = np.asarray(values)
            if values.dtype not in (np.float32, np.float64):
                values = values.astype(float)
            if values.ndim != 3 or values.size == 0:
                raise DensityError(f"channel {name} has the shape {values.shape}, expected (nx, ny, nz)")
            # One pass without a temporary the size of the grid: a sum is finite only where every term is.
            with np.errstate(over="ignore", invalid="ignore"):
                total = values.sum()
            if not np.isfinite(total) and not np.isfinite(values).all():
                where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
                raise DensityError(f"channel {name} is {values[where]} at grid point {where}; expected finite numbers")
            checked[name] = values
        shapes = {values.shape for values in checked.values()}
        if len(shapes) > 1:
            raise DensityError(f"channels have different grids: {sorted(shapes)}")
        object.__setattr__(self, "channels", checked)

    def __repr__(self) -> str:
        grid = "x".join(map(str, self.grid))
        return f"<chgdb.Density {self.crystal.formula}: {', '.join(self.channels)} on {grid}>"

    def _repr_html_(self) -> str:
        """The value as HTML, for notebooks."""
        from .cards import card, cell_text

        rows = [
            ("Atoms", f"{len(self.crystal)} in a cell of {self.crystal.volume:.4f} Å³"),
            ("Cell", cell_text(self.crystal.cell.tolist())),
            ("Grid", " x ".join(map(str, self.grid))),
            ("Channels", ", ".join(self.channels)),
            ("Electrons", f"{self.n_electrons:.6f}"),
            ("Values", f"{self.total.min():.4g} to {self.total.max():.4g} e/Å³"),
        ]
        quantity = self.quantity.capitalize() if isinstance(self, ScalarField) else "Density"
        return card(f"{quantity} of {self.crystal.formula}", rows)

    def view(self) -> Any:
        """Crystal, isosurfaces, slices and profiles in a notebook.

        Returns
        -------
        chgdb.web.widget.Viewer
            A widget, shown by the last line of a cell.

        Raises
        ------
        MissingExtraError
            If anywidget is not installed.

        Examples
        --------
        >>> chgdb.open()["mp-149"].density.view()     # doctest: +SKIP
        """
        require("anywidget", "notebook", "Density.view")
        return require("chgdb.web.widget", "notebook", "Density.view").view(self)

    @property
    def total(self) -> np.ndarray:
        """The total density, (nx, ny, nz) in e/Å^3."""
        return self.channels["total"]

    @property
    def spin_up(self) -> np.ndarray:
        """The density of spin-up electrons, (nx, ny, nz) in e/Å^3: half of the total plus the magnetisation.

        Half of the total without spin polarisation. Raises `DensityError` if spins are noncollinear.
        """
        return self.channel("spin_up")

    @property
    def spin_down(self) -> np.ndarray:
        """The density of spin-down electrons, as `spin_up`."""
        return self.channel("spin_down")

    @property
    def magnetization(self) -> np.ndarray:
        """The magnetisation density in μB/Å^3: (nx, ny, nz), spin up minus spin down, or (3, nx, ny, nz), a vector in
        Cartesian coordinates, where spins are noncollinear; zero without spin polarisation."""
        if len(self.channels) == 4:
            return np.stack([self.channels[f"magnetization_{axis}"] for axis in "xyz"])
        return self.channels.get("magnetization", np.zeros(self.grid))

    @property
    def magnetization_norm(self) -> np.ndarray:
        """The length of the magnetisation density, (nx, ny, nz) in μB/Å^3, never negative."""
        return self.channel("magnetization_norm")

    def channel(self, name: str) -> np.ndarray:
        """One scalar field of the density.

        Parameters
        ----------
        name : str
            A key of `channels`, or spin_up, spin_down or magnetization_norm.

        Returns
        -------
        np.ndarray
            (nx, ny, nz) in e/Å^3 or μB/Å^3.

        Raises
        ------
        DensityError
            If the density has no such field.
        """
        return fields.scalar(self.channels, name)

    def only(self, name: str) -> Density:
        """One scalar field as a value of its own, as `chgdb convert --channel` writes it.

        Parameters
        ----------
        name : str
            As for `channel`.

        Returns
        -------
        Density
            A `ScalarField`, unless it is the total density.

        Raises
        ------
        DensityError
            If the density has no such field.
        """
        values, kept = self.channel(name), _without_augmentation(self.extras)
        if name == "total" or isinstance(self, ScalarField):
            if name == "total" and "total" in self.extras.get("after", {}):
                kept["after"] = {"total": self.extras["after"]["total"]}
            return replace(self, channels={"total": values}, extras=kept)
        return ScalarField(self.crystal, {"total": values}, kept, fields.QUANTITIES[name])

    def __add__(self, other: object) -> Density:
        return combine([(1.0, self), (1.0, other)]) if isinstance(other, Density) else NotImplemented

    def __radd__(self, other: object) -> Density:  # of sum(), which begins with 0
        return self if isinstance(other, Real) and other == 0 else NotImplemented

    def __sub__(self, other: object) -> Density:
        return combine([(1.0, self), (-1.0, other)]) if isinstance(other, Density) else NotImplemented

    def __neg__(self) -> Density:
        return combine([(-1.0, self)])

    def __mul__(self, factor: object) -> Density:
        return combine([(float(factor), self)]) if isinstance(factor, Real) else NotImplemented

    __rmul__ = __mul__
    __array_ufunc__ = None  # numpy leaves `np.float64(2) * density` to the density

    def __truediv__(self, divisor: object) -> Density:
        return combine([(1.0 / float(divisor), self)]) if isinstance(divisor, Real) else NotImplemented

    @property
    def grid(self) -> tuple[int, int, int]:
        """Grid points along each lattice vector."""
        nx, ny, nz = self.total.shape
        return nx, ny, nz

    @property
    def n_electrons(self) -> float:
        """Integral of the total density over the cell."""
        return float(self.total.mean(dtype=float)) * self.crystal.volume

    def charges(
        self,
        method: str = "hirshfeld",
        *,
        reference: Density | None = None,
        valence: Mapping[str, float] | None = None,
        radii: Mapping[str, float] | None = None,
        of_catalog: bool = False,
    ) -> Charges:
        """Electrons, net charge and volume of each atom.

        Parameters
        ----------
        method : str
            "bader", "hirshfeld" or "voronoi"; see `chgdb.charges.METHODS`.
        reference : Density | None
            For Bader: the all-electron density whose basins are taken, VASP's AECCAR0 + AECCAR2. This density is
            interpolated to its grid.
        valence : Mapping[str, float] | None
            Element -> valence electrons of its potential (ZVAL of a POTCAR), from which net charges are counted;
            unless given, the usual ones that add up to the integral.
        radii : Mapping[str, float] | None
            For Voronoi: element -> Å, by which cells are larger or smaller.
        of_catalog : bool
            Whether the density is made by the recipe of chgdb's catalog: free atoms then turn it into an all-electron
            density near the nuclei. `Record.charges` says so by itself.

        Returns
        -------
        chgdb.charges.Charges

        Raises
        ------
        DensityError
            For a `ScalarField`, a structure without atoms, an element that is not known, a valence that is not clear,
            a reference of another cell or with other atoms.

        Examples
        --------
        >>> chgdb.open()["mp-22862"].density.charges("bader", of_catalog=True).net   # doctest: +SKIP
        """
        from .charges import check_reference, partition

        check_density(self, "charges are those of a total density")
        if reference is not None:
            check_density(reference, "basins are those of a total density")
            check_cells(self.crystal, reference.crystal, _SAME_CELL, "divided by the basins of each other")
            check_reference(self.crystal, reference.crystal)
        return partition(
            self.crystal,
            self.total,
            self.channels.get("magnetization"),
            method,
            reference=None if reference is None else reference.total,
            valences=valence,
            radii=radii,
            of_catalog=of_catalog,
        )

    def resample(self, grid: tuple[int, int, int]) -> Density:
        """The same density on another grid, by Fourier interpolation. The electron count is kept exactly.

        `extras` are kept, because they belong to the atoms.

        Parameters
        ----------
        grid : tuple[int, int, int]
            Grid points along each lattice vector.

        Returns
        -------
        Density
        """
        return replace(self, channels={name: resample(values, grid) for name, values in self.channels.items()})

    def shifted(self, shift: Sequence[float]) -> Density:
        """The same density and its atoms moved by fractions of the lattice vectors, as `chgdb convert --shift` does.

        Parameters
        ----------
        shift : Sequence[float]
            Three fractions.

        Returns
        -------
        Density
            On the same grid, by Fourier series (`grids.shifted`); `extras` stay with the atoms.

        Raises
        ------
        DensityError
            For anything but three finite numbers.
        """
        offset = np.asarray(shift, float)
        if offset.shape != (3,) or not np.isfinite(offset).all():
            raise DensityError(f"{shift!r} is not a shift: expected three fractions of the lattice vectors")
        crystal = Crystal(self.crystal.cell, self.crystal.positions + offset, self.crystal.numbers)
        channels = {name: shifted(values, offset.tolist()) for name, values in self.channels.items()}
        return replace(self, crystal=crystal, channels=channels)

    def transformed(
        self, matrix: Any, *, grid: Sequence[int] | None = None, tolerance: float = transformations.TOLERANCE
    ) -> Density:
        """The same density in another cell of the same crystal, which is neither turned nor moved.

        Parameters
        ----------
        matrix : array_like
            (3, 3): its rows are the new lattice vectors in terms of the old ones, as `scaling_matrix` in pymatgen and
            `P` in `ase.build.make_supercell`. A number or three of them for a diagonal matrix. Whole numbers make a
            supercell; fractions a smaller cell that the density repeats with.
        grid : Sequence[int] | None
            Points along the new lattice vectors. By default nothing is lost: values are repeated where the old cell is
            repeated along its own vectors, else the grid is the smallest that holds all Fourier coefficients.
        tolerance : float
            How much of each field may belong to no field that repeats with the new vectors: its root mean square as
            part of that of the field.

        Returns
        -------
        Density
            Copies of an atom follow each other. Augmentation occupancies go with the atoms.

        Raises
        ------
        DensityError
            If rows are no lattice vectors, density or atoms do not repeat with them, or memory does not do.

        Examples
        --------
        >>> crystal = Crystal(np.eye(3) * 4, [[0, 0, 0]], [14])
        >>> flat = Density(crystal, {"total": np.full((4, 4, 4), 4 / 64)})
        >>> flat.transformed([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
        <chgdb.Density Si: total on 1x1x1>
        >>> flat.transformed(2).n_electrons
        32.0
        """
        return self._in_basis(transformations.Basis.parse(matrix), grid, tolerance)

    def _in_basis(
        self,
        basis: transformations.Basis,
        grid: Sequence[int] | None = None,
        tolerance: float = transformations.TOLERANCE,
    ) -> Density:
        if basis.is_identity and grid is None:
            return self
        channels = transformations.channels_in(self.channels, basis, grid, tolerance)
        crystal, source = transformations.crystal_in(self.crystal, basis)
        extras = transformations.extras_in(self.extras, source, len(self.crystal))
        return replace(self, crystal=crystal, channels=channels, extras=extras)

    def supercell(self, scaling: Any) -> Density:
        """A supercell.

        Parameters
        ----------
        scaling : int, sequence of int or np.ndarray
            A whole number, three, or a (3, 3) matrix of whole numbers whose rows are the new lattice vectors.

        Returns
        -------
        Density

        Raises
        ------
        DensityError
            For other numbers, and as `transformed`.
        """
        basis = transformations.Basis.parse(scaling)
        if basis.denominator > 1:
            raise DensityError(f"{scaling!r} is no supercell: expected whole numbers")
        return self._in_basis(basis)

    def primitive(self, symprec: float = cells.SYMPREC) -> Density:
        """The density in the primitive cell, the smallest with which crystal, density and magnetisation repeat.

        A density whose cell is primitive is returned as it is. A magnetisation may repeat with only some of the
        translations of the crystal, as in antiferromagnets: then the cell is the magnetic primitive cell.

        Parameters
        ----------
        symprec : float
            Tolerance of the symmetry search, Å.

        Returns
        -------
        Density

        Raises
        ------
        DensityError
            If there are no atoms, or spglib finds no symmetry.
        """
        basis = cells.basis(self.crystal, "primitive", symprec)
        try:
            return self._in_basis(basis)
        except DensityError:
            if basis.is_identity:
                raise
        found = [t for t in symmetry.translations(self.crystal, symprec) if transformations.repeats(self.channels, t)]
        if len(found) < 2:
            return self
        return self._in_basis(cells.primitive_of(np.array(found), self.crystal.cell))

    def conventional(self, symprec: float = cells.SYMPREC) -> Density:
        """The density in the conventional cell of the International Tables.

        The vectors are not turned to standard directions (`aligned` does that), and the origin stays.

        Parameters
        ----------
        symprec : float
            Tolerance of the symmetry search, Å.

        Returns
        -------
        Density

        Raises
        ------
        DensityError
            If there are no atoms, or spglib finds no symmetry.
        """
        return self._in_basis(cells.basis(self.crystal, "conventional", symprec))

    def niggli(self) -> Density:
        """The density in the Niggli-reduced cell of the same volume.

        Returns
        -------
        Density

        Raises
        ------
        DensityError
            If spglib finds none.
        """
        return self._in_basis(cells.basis(self.crystal, "niggli"))

    def orthogonal(self) -> Density:
        """The density in the smallest supercell with three right angles.

        Returns
        -------
        Density

        Raises
        ------
        DensityError
            If no supercell of up to 64 cells has right angles.
        """
        return self._in_basis(cells.basis(self.crystal, "orthogonal"))

    def rotated(self, rotation: Any) -> Density:
        """The same crystal and density turned about the origin, with vectors of a noncollinear magnetisation.

        The grid turns with the cell, so that values stay as they are. Augmentation occupancies, which are written about
        Cartesian axes, are left out.

        Parameters
        ----------
        rotation : np.ndarray
            (3, 3), r' = R r in Cartesian coordinates; `transformations.rotation_about` makes one.

        Returns
        -------
        Density

        Raises
        ------
        DensityError
            For a matrix that is no rotation.
        """
        matrix = transformations.check_rotation(rotation)
        crystal = Crystal(self.crystal.cell @ matrix.T, self.crystal.positions, self.crystal.numbers)
        channels = transformations.rotated_channels(self.channels, matrix)
        return replace(self, crystal=crystal, channels=channels, extras=_without_augmentation(self.extras))

    def aligned(self) -> Density:
        """The density turned so that a is along x and b in the xy plane.

        Returns
        -------
        Density
        """
        return self.rotated(transformations.standard_orientation(self.crystal.cell))

    def to_xarray(self) -> xarray.Dataset:
        """An `xarray.Dataset` with one variable for each channel.

        The dimensions are (a, b, c), with fractional coordinates. Cell and atoms are in the attributes.

        Returns
        -------
        xarray.Dataset
        """
        return interop.dataset(self.crystal, self.channels)

    def to_ase(self) -> tuple[ase.Atoms, np.ndarray]:
        """`ase.Atoms` and the total density in e/Å^3, as `ase.io.cube.write_cube` and others take them.

        Returns
        -------
        tuple[ase.Atoms, np.ndarray]
        """
        return self.crystal.to_ase(), self.total

    @classmethod
    def from_ase(cls, atoms: ase.Atoms, total: np.ndarray) -> Density:
        """The density of `ase.Atoms` and a grid.

        Parameters
        ----------
        atoms : ase.Atoms
            Atoms with a cell of three independent vectors.
        total : np.ndarray
            (nx, ny, nz) total density in e/Å^3.

        Returns
        -------
        Density
        """
        return cls(Crystal.from_ase(atoms), {"total": total})

    def to_pymatgen(self) -> pymatgen.io.vasp.Chgcar:
        """A pymatgen `Chgcar`, which holds ρ·V, with comment and augmentation occupancies of a CHGCAR.

        A noncollinear magnetisation becomes its diff_x, diff_y and diff_z. pymatgen makes diff of them: their norm with
        the sign of a fixed direction.

        Returns
        -------
        pymatgen.io.vasp.Chgcar
        """
        return interop.chgcar(self.crystal, self.channels, self.extras)

    @classmethod
    def from_pymatgen(cls, volumetric: pymatgen.io.vasp.Chgcar) -> Density:
        """The density of a pymatgen `Chgcar`, or of a user's own class that holds ρ·V.

        Parameters
        ----------
        volumetric : pymatgen.io.vasp.Chgcar
            Volumetric data whose values are ρ·V.

        Returns
        -------
        Density

        Raises
        ------
        DensityError
            For pymatgen's Locpot, Elfcar and bare VolumetricData, whose values are something else.
        """
        return cls(*interop.from_chgcar(volumetric))


@dataclass(frozen=True, eq=False, repr=False)
class ScalarField(Density):
    """Values on the grid of a crystal that are not its total density: a difference, or a spin density.

    Everything that works on values accepts one: files, pictures, comparisons. Codecs, predictions and estimates need a
    density and refuse it.

    Attributes
    ----------
    quantity : str
        What the values are, such as "density difference"; one of `channels.QUANTITIES`.
    crystal : Crystal
        The structure.
    channels : Mapping[str, np.ndarray]
        As of a `Density`.
    extras : Mapping[str, Any]
        As of a `Density`.
    """

    quantity: str = fields.DIFFERENCE

    def __repr__(self) -> str:
        grid = "x".join(map(str, self.grid))
        return f"<chgdb.ScalarField {self.crystal.formula}: {self.quantity}, {', '.join(self.channels)} on {grid}>"


def check_density(density: Density, purpose: str) -> None:
    """Raises `DensityError` for a `ScalarField`. purpose: what needs a density, as the end of a sentence."""
    if isinstance(density, ScalarField):
        raise DensityError(f"a {density.quantity} of {density.crystal.formula} is not the density of it: {purpose}")


def has_sign(values: np.ndarray) -> bool:
    """Whether values are no density, whatever their file calls them: a quarter of them or more, by size, is negative.

    >>> has_sign(np.array([1.0, -1.0])), has_sign(np.array([1.0, -0.1])), has_sign(np.zeros(2))
    (True, False, False)
    """
    return bool(values.sum() < 0.5 * np.abs(values).sum())


def check_sign(density: Density, purpose: str) -> None:
    """Raises `DensityError` as `check_density`, and where values cancel: other programs do not say what they wrote."""
    check_density(density, purpose)
    if has_sign(density.total):
        raise DensityError(
            f"the values integrate to {density.n_electrons:.3g} electrons and without their signs to "
            f"{np.abs(density.total).mean() * density.crystal.volume:.3g}: a difference or spin density, and {purpose}"
        )


def combine(terms: Sequence[tuple[float, Density]]) -> Density:
    """A linear combination of densities of one cell: `a - b`, `2 * a` and `sum(densities)` are short for it.

    Parameters
    ----------
    terms : Sequence[tuple[float, Density]]
        (weight, density). If grids differ, all are interpolated to the finest along each axis, by Fourier series.
        A density without spin counts as one whose magnetisation is zero.

    Returns
    -------
    Density
        A `ScalarField` where a weight is negative or a term is one. Its atoms are those of all terms with a positive
        weight, each place once, the first term's first. Augmentation occupancies are left out.

    Raises
    ------
    DensityError
        If cells differ, spins are collinear here and noncollinear there, or a weight is not a finite number.

    Examples
    --------
    >>> crystal = Crystal(np.eye(3) * 4, [[0, 0, 0]], [14])
    >>> flat = Density(crystal, {"total": np.full((4, 4, 4), 0.5)})
    >>> float((3 * flat - flat).total.max())
    1.0
    """
    if not terms:
        raise DensityError("no densities to combine: give at least one")
    first = terms[0][1]
    for weight, density in terms:
        if not np.isfinite(weight):
            raise DensityError(f"a weight of {weight} is not a finite number")
        check_cells(first.crystal, density.crystal, _SAME_CELL, "added or subtracted; compute both in one")
    nx, ny, nz = (max(lengths) for lengths in zip(*(density.grid for _, density in terms), strict=True))
    values = fields.linear([(weight, density.channels) for weight, density in terms], (nx, ny, nz))
    crystal = first.crystal
    for weight, density in terms:
        if weight > 0:
            crystal = (
                density.crystal if terms[0][0] <= 0 and crystal is first.crystal else joined(crystal, density.crystal)
            )
    extras = _without_augmentation(first.extras)
    if crystal is not first.crystal:
        extras = {key: value for key, value in extras.items() if key in ("comment", "line_end")}
    quantities = {density.quantity if isinstance(density, ScalarField) else "" for _, density in terms}
    signed = any(weight < 0 for weight, _ in terms)
    if quantities == {""} and not signed:
        return Density(crystal, values, extras)
    same = quantities.pop() if len(quantities) == 1 else ""
    return ScalarField(crystal, values, extras, same or (fields.DIFFERENCE if signed else fields.SUM))


def _without_augmentation(extras: Mapping[str, Any]) -> dict[str, Any]:
    """Extras that stay true for other values of the same atoms."""
    return {key: value for key, value in extras.items() if key not in ("after", "steps")}
