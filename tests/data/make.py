"""Write the files of this folder: small densities in the exact layout of each program, with numbers of our own.

    python tests/data/make.py

Sums of Gaussians around atoms, written value by value as VASP, Gaussian and pymatgen write them; nothing of chgdb's
writers is used. NiO_spin.CHGCAR has augmentation occupancies and the line of each ion's moment between its two grids,
MnO_noncollinear.CHGCAR four grids and occupancies with an imaginary part, SiC.CHG ten values a line.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "formats"))

from vasp_text import augmentation, block  # noqa: E402

FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
BOHR = 0.529177210903


def density(cell: np.ndarray, atoms: list[tuple[float, tuple[float, ...]]], grid: tuple[int, int, int]) -> np.ndarray:
    """ρ·V of Gaussians 0.8 Å wide, (charge, fractional position) each, over the nearest images; eleven digits."""
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij"), axis=-1)
    total = np.zeros(grid)
    for charge, position in atoms:
        gaussian = np.zeros(grid)
        for image in np.ndindex(5, 5, 5):
            shift = (points - np.array(position) + np.array(image) - 2) @ cell
            gaussian += np.exp(-(shift**2).sum(axis=-1) / (2 * 0.8**2))
        total += charge * gaussian / gaussian.mean()
    return np.vectorize(lambda value: float(f"{value:.10e}"))(total)


def header(comment: str, lattice: float, symbols: str, counts: str, positions: list[tuple[float, ...]]) -> str:
    rows = "".join("  " + "".join(f"{x:12.6f}" for x in row) + "\n" for row in FCC * lattice)
    sites = "".join("".join(f"{x:10.6f}" for x in position) + "\n" for position in positions)
    names = "".join(f"   {symbol:<2}" for symbol in symbols.split())
    numbers = "".join(f"{int(count):6d}" for count in counts.split())
    return f"{comment}\n   1.00000000000000     \n{rows}{names}\n{numbers}\nDirect\n{sites} \n"


def moments(values: list[float]) -> str:
    """The line of the ions' moments that VASP writes after the augmentation occupancies: 5 (1X,E18.12) a line."""
    parts = [f"{abs(value):.11e}".split("e") for value in values]
    fields = [
        f" {'-' if value < 0 else ' '}0.{m.replace('.', '')}E{int(e) + 1:+03d}"
        for value, (m, e) in zip(values, parts, strict=True)
    ]
    return "".join(fields) + "\n"


def main() -> None:
    sites = [(0.0, 0.0, 0.0), (0.5, 0.5, 0.5)]
    grid = (10, 10, 12)
    occupancies = augmentation(1, 33) + augmentation(2, 8)

    cell = FCC * 4.17
    total = density(cell, [(16, sites[0]), (6, sites[1])], grid)
    spin = density(cell, [(1.7, sites[0]), (-0.1, sites[1])], grid)
    text = header("NiO, ferromagnetic", 4.17, "Ni O", "1 1", sites) + block(total) + occupancies
    text += moments([1.6, 0.05]) + block(spin) + augmentation(1, 33, 1) + augmentation(2, 8, 1)
    (HERE / "NiO_spin.CHGCAR").write_text(text)

    cell = FCC * 4.44
    channels = [density(cell, [(13, sites[0]), (6, sites[1])], grid)]
    channels += [density(cell, [(moment, sites[0])], grid) for moment in (0.4, -1.2, 4.1)]
    imaginary = occupancies.replace("occupancies", "occupancies (imaginary part)")
    text = header("MnO, noncollinear", 4.44, "Mn O", "1 1", sites)
    for number, values in enumerate(channels):
        text += (moments([0.1 * number, 0.0]) if number else "") + block(values) + occupancies + imaginary
    (HERE / "MnO_noncollinear.CHGCAR").write_text(text)

    sites = [(0.0, 0.0, 0.0), (0.25, 0.25, 0.25)]
    cell, grid = FCC * 4.38, (12, 12, 12)
    total = density(cell, [(4, sites[0]), (4, sites[1])], grid)
    plain = header("SiC", 4.38, "Si C", "1 1", sites)
    (HERE / "SiC.CHGCAR").write_text(plain + block(total) + augmentation(1, 8) + augmentation(2, 8))
    fields = [f"{value:12.5E}" for value in total.T.reshape(-1)]  # 10(1X,G11.5)
    lines = ["".join(fields[start : start + 10]) for start in range(0, len(fields), 10)]
    (HERE / "SiC.CHG").write_text(plain + "".join(f"{n:5d}" for n in grid) + "\n" + "\n".join(lines) + "\n")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymatgen.io.vasp.outputs import Chgcar

        document = Chgcar.from_file(str(HERE / "NiO_spin.CHGCAR"))
    (HERE / "NiO_spin.json").write_text(document.to_json() + "\n")

    cell, grid = np.diag([4.0, 4.4, 5.0]), (8, 9, 10)
    atoms = [(1, (0.1, 0.2, 0.3)), (7, (0.6, 0.7, 0.8))]
    values = density(cell, atoms, grid) / np.linalg.det(cell / BOHR)  # e/Bohr^3
    text = " LiF\n OUTER LOOP: X, MIDDLE LOOP: Y, INNER LOOP: Z\n    2    0.000000    0.000000    0.000000\n"
    for n, row in zip(grid, cell, strict=True):
        text += f"{n:5d}" + "".join(f"{x:12.6f}" for x in row / n / BOHR) + "\n"
    for number, (_, position) in zip((3, 9), atoms, strict=True):
        text += f"{number:5d}{number:12.6f}" + "".join(f"{x:12.6f}" for x in np.array(position) @ cell / BOHR) + "\n"
    for row in values.reshape(-1, grid[2]):
        lines = ["".join(f"{value:13.5E}" for value in row[start : start + 6]) for start in range(0, grid[2], 6)]
        text += "\n".join(lines) + "\n"
    (HERE / "LiF.cube").write_text(text)


if __name__ == "__main__":
    main()
